//! What must hold at every moment, whatever clients see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use remora::cluster::RaftRole;
use remora::state::Part;

use super::clock::Now;
use super::host::Host;
use super::trace::Trace;

const PACE: Duration = Duration::from_millis(10);
const SUMS: Duration = Duration::from_millis(400);

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics on this thread are kept, for tasks swallow theirs.
pub fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
    PANICS.take();
}

#[derive(Default)]
pub struct Watchdog {
    next: Now,
    sums_at: Now,
    leaders: BTreeMap<u64, usize>,
    members: BTreeMap<u64, (String, u128)>,
    sums: BTreeMap<u64, (u32, usize)>,
    voters: Vec<u64>,
    pub wrong: Vec<String>,
    /// Terms that had a leader.
    pub elections: u64,
}

impl Watchdog {
    pub fn step(&mut self, now: Now, hosts: &[Host], trace: &mut Trace) {
        if now < self.next {
            return;
        }
        self.next = now + PACE;
        for host in hosts {
            self.look_at(host, trace);
        }
        if self.sums_at <= now {
            self.sums_at = now + SUMS;
            hosts.iter().filter(|host| host.is_server()).for_each(|host| self.compare(host));
        }
        self.wrong.extend(PANICS.take().into_iter().map(|panic| format!("a panic: {panic}")));
    }

    fn look_at(&mut self, host: &Host, trace: &mut Trace) {
        match host.agent() {
            // It says what its disk lacks, and is started again once that is there.
            Some(Err(_)) if !host.disk.is_well() => return,
            Some(Err(why)) => self.wrong.push(format!("h{} does not start: {why}", host.index)),
            None => return,
            Some(Ok(_)) => {}
        }
        let Some(cluster) = host.cluster() else { return };
        let Some(standing) = host.standing() else { return };
        if standing.raft == Some(RaftRole::Leader) {
            let led = self.leaders.entry(standing.term).or_insert_with(|| {
                self.elections += 1;
                trace.note(format!("h{} leads in term {}", host.index, standing.term));
                host.index
            });
            if *led != host.index {
                let both = format!("h{led} and h{}", host.index);
                self.wrong.push(format!("term {} has two leaders: {both}", standing.term));
            }
            let voters: Vec<u64> = standing.voters.iter().map(|id| id.0).collect();
            if voters != self.voters {
                trace.note(format!("voters: {voters:?}"));
                self.voters = voters;
            }
        }
        for member in cluster.snapshot().members() {
            let (name, nonce) = (member.name.to_string(), member.nonce);
            let known = self.members.entry(member.id.0).or_insert_with(|| {
                trace.note(format!("{name} is member {}", member.id.0));
                (name.clone(), nonce)
            });
            if *known != (name.clone(), nonce) {
                let (id, before) = (member.id.0, &known.0);
                self.wrong.push(format!("id {id} was {before}'s and is {name}'s"));
                *known = (name, nonce);
            }
        }
    }

    /// Who has applied the same has the same.
    fn compare(&mut self, host: &Host) {
        let Some(cluster) = host.cluster() else { return };
        let state = cluster.snapshot();
        let (index, sum) = (state.applied().index, state.checksum(Part::Server));
        let (other, first) = *self.sums.entry(index).or_insert((sum, host.index));
        if other != sum {
            self.wrong.push(format!("h{first} and h{} differ at entry {index}", host.index));
        }
    }
}
