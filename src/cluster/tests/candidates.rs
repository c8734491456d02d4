//! Candidates in every order: restarts, lost messages, one-way links, and never two foundings.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::cluster::founding::{Candidate, Decision, Met, decide};
use crate::identity::{Pledge, Promise};
use crate::model::NodeName;

fn name(agent: usize) -> NodeName {
    NodeName::new(&format!("n{agent}")).unwrap()
}

fn addr(agent: usize) -> std::net::SocketAddr {
    ([127, 0, 0, 1], 1000 + u16::try_from(agent).unwrap()).into()
}

/// What an agent says of itself.
#[derive(Debug, Clone)]
enum Said {
    Candidate(Candidate),
    Member,
}

#[derive(Debug)]
struct Agent {
    /// What a restart finds.
    durable: Candidate,
    founded: bool,
    joined: bool,
    /// Decided, and not yet durable, let alone said.
    pending: Option<Decision>,
    /// The answers of the look that is under way.
    look: BTreeMap<usize, Said>,
}

/// One thing that can happen next.
#[derive(Debug, Clone)]
enum Event {
    /// Asks some of the others (bits), hears them all and decides; and it may be durable at once.
    Try(usize, u8, bool),
    /// Begins to look, and forgets a look that was under way.
    Look(usize),
    /// An agent is asked by another now; its answer arrives whenever `Hear` says.
    Ask(usize, usize),
    /// The oldest answer on its way to an agent arrives, or any later one first.
    Hear(usize, usize),
    Lose(usize, usize),
    /// Decides on what it has heard.
    Decide(usize),
    /// What was decided is durable, and from now on it is said.
    Sync(usize),
    /// Restarts: what is pending is lost, or has just become durable.
    Restart(usize, bool),
    /// Whether the first reaches the second.
    Link(usize, usize, bool),
}

struct World {
    agents: Vec<Agent>,
    /// Answers under way to each agent, from earlier looks too.
    answers: Vec<Vec<(usize, Said)>>,
    cut: BTreeMap<(usize, usize), bool>,
    foundings: usize,
    /// All that each agent has ever said of itself.
    told: Vec<Vec<Said>>,
}

/// Chance that a seed repeats (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn some_of(&mut self, agents: usize, size: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..agents).collect();
        while all.len() > size {
            all.remove(self.below(all.len()));
        }
        all
    }
}

impl World {
    fn new(agents: usize, expect: u32) -> World {
        let agent = |n| Agent {
            durable: Candidate {
                name: name(n),
                nonce: 100 + n as u128,
                expect,
                promise: Promise::default(),
            },
            founded: false,
            joined: false,
            pending: None,
            look: BTreeMap::new(),
        };
        let answers = (0..agents).map(|_| Vec::new()).collect();
        let agents: Vec<Agent> = (0..agents).map(agent).collect();
        let first = |agent: &Agent| vec![Said::Candidate(agent.durable.clone())];
        let told = agents.iter().map(first).collect();
        World { agents, answers, cut: BTreeMap::new(), foundings: 0, told }
    }

    fn said(&self, agent: usize) -> Said {
        let agent = &self.agents[agent];
        if agent.founded || agent.joined {
            Said::Member
        } else {
            Said::Candidate(agent.durable.clone())
        }
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.get(&(from, to)).copied().unwrap_or_default()
    }

    fn ask(&mut self, from: usize, to: usize) {
        if from != to && !self.is_cut(from, to) {
            let said = self.said(to);
            self.answers[from].push((to, said));
        }
    }

    fn decide(&mut self, agent: usize) {
        let me = &self.agents[agent];
        if me.founded || me.joined || me.pending.is_some() {
            return;
        }
        let others = (0..self.agents.len()).filter(|other| *other != agent);
        let met = others.map(|other| match me.look.get(&other) {
            None => Met::Nobody("silent".to_owned()),
            Some(Said::Candidate(candidate)) => Met::Newcomer(addr(other), Some(candidate.clone())),
            Some(Said::Member) => Met::Member(addr(other), super::founding::introduction(1)),
        });
        let decision = decide(Some(&me.durable), met.collect());
        self.agents[agent].pending = Some(decision);
    }

    fn sync(&mut self, agent: usize) {
        let me = &mut self.agents[agent];
        match me.pending.take() {
            Some(Decision::Promise(promise)) => {
                assert!(promise.round > me.durable.promise.round, "rounds only rise");
                me.durable.promise = promise;
            }
            Some(Decision::Found) => {
                me.founded = true;
                self.foundings += 1;
            }
            Some(Decision::Join(..)) => me.joined = true,
            Some(Decision::Wait(_)) | None => return,
        }
        let said = self.said(agent);
        self.told[agent].push(said);
    }

    /// One of those who hear each other at present looks around and decides. Of the others it
    /// hears nothing, or an answer that was under way for long.
    fn turn(&mut self, camp: &[usize], dice: &mut Dice) {
        let agent = camp[dice.below(camp.len())];
        if dice.below(20) == 0 {
            return self.happen(&Event::Restart(agent, dice.below(2) == 0));
        }
        self.happen(&Event::Sync(agent));
        self.happen(&Event::Look(agent));
        for other in (0..self.agents.len()).filter(|other| *other != agent) {
            let heard = match (camp.contains(&other), dice.below(20)) {
                (true, 1..) => Some(self.said(other)),
                (false, 0..6) => {
                    let (_, earlier) = self.told[other].split_last().unwrap();
                    let chosen = earlier.len().checked_sub(1).map(|last| dice.below(last + 1));
                    chosen.map(|chosen| earlier[chosen].clone())
                }
                _ => None,
            };
            if let Some(said) = heard {
                self.agents[agent].look.insert(other, said);
            }
        }
        self.happen(&Event::Decide(agent));
        if dice.below(5) > 0 {
            self.happen(&Event::Sync(agent));
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Try(agent, asked, durable) => {
                self.agents[agent].look.clear();
                for other in (0..self.agents.len()).filter(|other| asked & (1 << other) != 0) {
                    self.ask(agent, other);
                    if let Some((from, said)) = self.answers[agent].pop() {
                        self.agents[agent].look.insert(from, said);
                    }
                }
                self.decide(agent);
                if durable {
                    self.sync(agent);
                }
            }
            Event::Look(agent) => self.agents[agent].look.clear(),
            Event::Ask(from, to) => self.ask(from, to),
            Event::Hear(agent, which) => {
                let count = self.answers[agent].len();
                if count > 0 {
                    let (from, said) = self.answers[agent].remove(which % count);
                    self.agents[agent].look.insert(from, said);
                }
            }
            Event::Lose(agent, which) => {
                let count = self.answers[agent].len();
                if count > 0 {
                    self.answers[agent].remove(which % count);
                }
            }
            Event::Decide(agent) => self.decide(agent),
            Event::Sync(agent) => self.sync(agent),
            Event::Restart(agent, durable) => {
                if durable {
                    self.sync(agent);
                }
                self.agents[agent].pending = None;
                self.agents[agent].look.clear();
            }
            Event::Link(from, to, cut) => drop(self.cut.insert((from, to), cut)),
        }
        assert!(self.foundings <= 1, "two clusters");
    }

    /// Everybody runs and can talk, one after the other.
    fn heal(&mut self) {
        self.cut.clear();
        for _ in 0..8 * self.agents.len() {
            for agent in 0..self.agents.len() {
                self.happen(&Event::Look(agent));
                self.answers[agent].clear();
                for other in 0..self.agents.len() {
                    self.happen(&Event::Ask(agent, other));
                    self.happen(&Event::Hear(agent, 0));
                }
                self.happen(&Event::Sync(agent));
                self.happen(&Event::Decide(agent));
                self.happen(&Event::Sync(agent));
            }
        }
        assert_eq!(self.foundings, 1, "one cluster once everybody can talk");
        let settled = self.agents.iter().all(|agent| agent.founded || agent.joined);
        assert!(settled, "everybody belongs to it: {:?}", self.agents);
    }
}

fn event(agents: usize) -> impl Strategy<Value = Event> {
    let one = 0..agents;
    let two = (0..agents, 0..agents);
    let asked = prop_oneof![3 => Just(u8::MAX), 2 => any::<u8>()];
    let tried = prop::bool::weighted(0.8);
    prop_oneof![
        20 => (one.clone(), asked, tried).prop_map(|(n, asked, now)| Event::Try(n, asked, now)),
        2 => one.clone().prop_map(Event::Look),
        12 => two.clone().prop_map(|(from, to)| Event::Ask(from, to)),
        12 => (one.clone(), 0..8usize).prop_map(|(agent, which)| Event::Hear(agent, which)),
        2 => (one.clone(), 0..8usize).prop_map(|(agent, which)| Event::Lose(agent, which)),
        8 => one.clone().prop_map(Event::Decide),
        8 => one.clone().prop_map(Event::Sync),
        1 => (one.clone(), any::<bool>()).prop_map(|(agent, kept)| Event::Restart(agent, kept)),
        2 => (two, any::<bool>()).prop_map(|((from, to), cut)| Event::Link(from, to, cut)),
    ]
}

/// How many candidates there are, how many are expected, and what happens to them.
fn story() -> impl Strategy<Value = (usize, u32, Vec<Event>)> {
    let sizes = (3usize..=5).prop_flat_map(|agents| {
        let least = agents / 2 + 1;
        (Just(agents), least.max(3)..=agents)
    });
    sizes.prop_flat_map(|(agents, expect)| {
        let expect = u32::try_from(expect).unwrap();
        (Just(agents), Just(expect), prop::collection::vec(event(agents), 0..200))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn never_two_clusters_and_one_in_the_end((agents, expect, events) in story()) {
        let mut world = World::new(agents, expect);
        for event in &events {
            world.happen(event);
        }
        world.heal();
    }
}

/// Candidates that are more than are expected, which meet in parties of just so many: one that
/// is of two parties, and pledges in both, is enough for two clusters.
const NEAR: [(usize, u32); 8] = [(5, 3), (5, 3), (5, 3), (5, 3), (5, 3), (4, 3), (4, 3), (5, 4)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn parties_that_share_members_never_found_two_clusters(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let (agents, expect) = NEAR[dice.below(NEAR.len())];
        let mut world = World::new(agents, expect);
        for _ in 0..4 {
            let camp = dice.some_of(agents, expect as usize);
            for _ in 0..camp.len() + dice.below(16) {
                world.turn(&camp, &mut dice);
            }
        }
        world.heal();
    }
}

fn candidate(agent: usize) -> Candidate {
    Candidate {
        name: name(agent),
        nonce: 100 + agent as u128,
        expect: 3,
        promise: Promise::default(),
    }
}

fn met(candidates: &[Candidate]) -> Vec<Met> {
    candidates.iter().map(|one| Met::Newcomer(addr(1), Some(one.clone()))).collect()
}

fn why(decision: Decision) -> String {
    match decision {
        Decision::Wait(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_stands_in_the_way_is_said() {
    let me = candidate(1);
    assert!(why(decide(Some(&me), met(&[candidate(2)]))).contains("met 2 of 3 agents: n1, n2"));
    let namesake = Candidate { nonce: 7, ..candidate(2) };
    let said = why(decide(Some(&me), met(&[candidate(2), namesake])));
    assert!(said.contains("two agents are called n2"), "{said}");
    let other = Candidate { expect: 5, ..candidate(3) };
    let said = why(decide(Some(&me), met(&[candidate(2), other])));
    assert!(said.contains("cluster.expect is 5 at n3 and 3 here"), "{said}");
    let many: Vec<Candidate> = (2..7).map(candidate).collect();
    assert!(why(decide(Some(&me), met(&many))).contains("more than half"));
    let simple = vec![Met::Newcomer(addr(2), None)];
    assert!(why(decide(Some(&me), simple.clone())).contains("no cluster.expect"));
    let said = why(decide(None, simple));
    assert!(said.contains("set cluster.expect") && said.contains("empty cluster.join"), "{said}");
}

#[test]
fn the_same_agent_behind_two_names_counts_once() {
    let me = candidate(1);
    let twice = met(&[candidate(2), candidate(2), candidate(1)]);
    assert!(why(decide(Some(&me), twice)).contains("met 2 of 3"));
}

fn pledged(agent: usize, round: u64, to: usize, held: u64) -> Candidate {
    let one = candidate(agent);
    let pledge = Pledge { name: name(to), nonce: 100 + to as u128, round: held };
    Candidate { promise: Promise { round, pledge: Some(pledge) }, ..one }
}

/// As the rules are, nobody stands twice; that pledges to an earlier stand do not count must not
/// depend on it.
#[test]
fn a_pledge_counts_for_the_round_that_it_names() {
    let me = pledged(1, 3, 1, 3);
    let now = [pledged(2, 1, 1, 3), pledged(3, 1, 1, 3)];
    assert_eq!(decide(Some(&me), met(&now)), Decision::Found);
    let one_earlier = [pledged(2, 1, 1, 3), pledged(3, 1, 1, 1)];
    let said = why(decide(Some(&me), met(&one_earlier)));
    assert!(said.contains("2 of 3 agents have pledged to this one"), "{said}");
}

#[test]
fn nothing_but_a_later_promise_of_the_holder_releases() {
    let me = pledged(3, 1, 2, 1);
    let (lowest, holder) = (pledged(1, 1, 1, 1), pledged(2, 1, 2, 1));
    let of = |holder: &Candidate| decide(Some(&me), met(&[lowest.clone(), holder.clone()]));
    let before = candidate(2);
    for holder in [&holder, &before] {
        assert!(why(of(holder)).contains("pledged to n2"), "{holder:?}");
    }
    let silent = decide(Some(&me), met(&[lowest.clone(), candidate(4)]));
    assert!(why(silent).contains("n2, which alone can release"));
    let Decision::Promise(promise) = of(&pledged(2, 2, 1, 1)) else { panic!("it is released") };
    assert_eq!((promise.round, promise.pledge.map(|pledge| pledge.name)), (2, Some(name(1))));
}
