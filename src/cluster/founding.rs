//! Decides whether an agent founds a cluster, joins one, pledges or waits. Pure.
//!
//! With `expect: N` the candidates choose one of them. One that has met N names, its own included,
//! pledges to the lowest, and nobody founds with fewer than N pledges. A promise is durable before
//! anybody hears of it, and each candidate has given at most one pledge at any time: it never
//! takes one back, but is released when it sees that the one who holds it has made another promise
//! since. So as long as fewer than 2N agents are candidates, two can never have N pledges each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::{Pledge, Promise};
use crate::model::{Folded, NodeName};

use super::asks::Introduction;

/// An agent that would found a cluster with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidate {
    pub name: NodeName,
    /// Tells it from another one of its name; as durable as its promise.
    pub nonce: u128,
    /// Pledges that are needed.
    pub expect: u32,
    pub promise: Promise,
}

impl Candidate {
    fn is_held_by(&self, holder: &Candidate) -> bool {
        let held =
            |pledge: &Pledge| (pledge.nonce, pledge.round) == (holder.nonce, holder.promise.round);
        self.promise.pledge.as_ref().is_some_and(held)
    }

    /// Whether it gathers pledges: it is pledged to itself.
    fn stands(&self) -> bool {
        self.is_held_by(self)
    }

    fn pledged_to(&self, other: &Candidate) -> Promise {
        let round = self.promise.round + 1;
        let own = other.nonce == self.nonce;
        let held = if own { round } else { other.promise.round };
        let pledge = Pledge { name: other.name.clone(), nonce: other.nonce, round: held };
        Promise { round, pledge: Some(pledge) }
    }
}

/// What answered behind one entry of `join`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// This agent itself: it does not count.
    Myself,
    /// An agent that has not found its own place yet.
    Newcomer(SocketAddr, Option<Candidate>),
    Member(SocketAddr, Introduction),
    /// The name or what should be behind it, and why it did not answer.
    Nobody(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Found,
    /// To be made durable, and only then said.
    Promise(Promise),
    /// Ask there.
    Join(SocketAddr, Introduction),
    /// Nothing can be done now; why.
    Wait(String),
}

/// `me`: with `expect`, this agent as a candidate.
pub(super) fn decide(me: Option<&Candidate>, met: Vec<Met>) -> Decision {
    let mut whys = Vec::new();
    let mut newcomers = Vec::new();
    for one in met {
        match one {
            Met::Myself => {}
            // A cluster that stands wins over every founding.
            Met::Member(addr, introduction) => return Decision::Join(addr, introduction),
            Met::Newcomer(addr, candidate) => newcomers.push((addr, candidate)),
            Met::Nobody(why) => whys.push(why),
        }
    }
    match me {
        Some(me) => choose(me, newcomers, whys),
        None if newcomers.is_empty() && whys.is_empty() => Decision::Found,
        None => {
            let newcomers = newcomers.iter();
            whys.extend(newcomers.map(|(addr, _)| format!("{addr} belongs to no cluster yet")));
            let advice = "if none of them ever will, set cluster.expect on each to the number \
                          of servers, or start one with an empty cluster.join";
            Decision::Wait(format!("{}; {advice}", whys.join("; ")))
        }
    }
}

fn choose(
    me: &Candidate,
    newcomers: Vec<(SocketAddr, Option<Candidate>)>,
    mut whys: Vec<String>,
) -> Decision {
    let mut seen = BTreeMap::new();
    for (addr, candidate) in newcomers {
        match candidate {
            Some(other) if other.expect != me.expect => whys.push(format!(
                "cluster.expect is {} at {} and {} here: set it to the same on each",
                other.expect, other.name, me.expect
            )),
            Some(other) => drop(seen.insert(other.nonce, other)),
            None => whys.push(format!("{addr} has no cluster.expect: it founds with nobody")),
        }
    }
    seen.remove(&me.nonce);
    let mut names: BTreeMap<Folded, &Candidate> = BTreeMap::from([(me.name.folded(), me)]);
    for other in seen.values() {
        if names.insert(other.name.folded(), other).is_some() {
            let why = format!("two agents are called {}: give each its own `node`", other.name);
            return Decision::Wait(why);
        }
    }
    let expect = me.expect as usize;
    if names.len() >= 2 * expect {
        return Decision::Wait(format!(
            "{} agents would found a cluster, which could become two: cluster.expect is {expect}, \
             and must be more than half of them",
            names.len(),
        ));
    }
    match &me.promise.pledge {
        Some(_) if me.stands() => gather(me, &names, &whys),
        Some(pledge) => match seen.get(&pledge.nonce) {
            Some(holder) if holder.promise.round > pledge.round => pledge_to(me, &names, &whys),
            Some(holder) => wait(format!("pledged to {}, which is to found", holder.name), &whys),
            None => wait(
                format!("pledged to {}, which alone can release this agent", pledge.name),
                &whys,
            ),
        },
        None => pledge_to(me, &names, &whys),
    }
}

fn wait(why: String, whys: &[String]) -> Decision {
    let all: Vec<&str> = std::iter::once(&why).chain(whys).map(String::as_str).collect();
    Decision::Wait(all.join("; "))
}

/// What one does that is pledged to itself: it founds, gives way, or waits for more.
fn gather(me: &Candidate, names: &BTreeMap<Folded, &Candidate>, whys: &[String]) -> Decision {
    let pledged = names.values().filter(|one| one.is_held_by(me)).count();
    if pledged >= me.expect as usize {
        return Decision::Found;
    }
    match names.values().find(|one| one.stands()) {
        Some(lower) if lower.nonce != me.nonce => Decision::Promise(me.pledged_to(lower)),
        _ => wait(format!("{pledged} of {} agents have pledged to this one", me.expect), whys),
    }
}

fn pledge_to(me: &Candidate, names: &BTreeMap<Folded, &Candidate>, whys: &[String]) -> Decision {
    if names.len() < me.expect as usize {
        let met: Vec<&str> = names.values().map(|one| one.name.as_str()).collect();
        let met = met.join(", ");
        return wait(format!("met {} of {} agents: {met}", names.len(), me.expect), whys);
    }
    match names.values().next() {
        Some(lowest) if lowest.nonce == me.nonce || lowest.stands() => {
            Decision::Promise(me.pledged_to(lowest))
        }
        Some(lowest) => wait(format!("{} has yet to meet the others", lowest.name), whys),
        None => wait("nobody is here".to_owned(), whys),
    }
}
