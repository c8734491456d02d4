//! Who the clients of a run are, what they must have come to see, and when they go home.

use std::time::Duration;

use super::clients::{self, PREFIX};
use super::etcd::board::Board;
use super::etcd::{self, Caller};
use super::fault::{ALL, Fault, SHORT, STREAMS};
use super::history::History;
use super::load::Load;
use super::wait::eventually;
use super::wire::Way;

/// Of each kind: more than agents, so that each agent has some.
const CALLERS: usize = 5;
const HOLDERS: usize = 6;
/// One with each agent, and some through the gateway.
const WATCHERS: [(&str, usize, Way); 2] = [("watch", 4, Way::Grpc), ("watch-json", 2, Way::Json)];
/// One with each agent.
const HERALDS: usize = 4;
const CLOSING: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// One request after the other: etcd's gateway and Consul's keys.
    Callers,
    /// etcd's own protocol, with its streams: watches, keep-alives, locks.
    Streams,
}

impl Crowd {
    /// The faults that it is led through.
    pub fn faults(self, long: bool) -> &'static [Fault] {
        match self {
            _ if long => &ALL,
            Crowd::Callers => &SHORT,
            Crowd::Streams => &STREAMS,
        }
    }

    /// Sets everyone to work.
    pub fn start(self, load: &mut Load) {
        match self {
            Crowd::Callers => {
                load.send("etcd", CALLERS, clients::etcd);
                load.send("cas", CALLERS, clients::compare_and_set);
                load.send("consul", CALLERS, clients::consul);
                load.send("watcher", 1, clients::watcher);
            }
            Crowd::Streams => {
                let board = Board::new();
                load.send("keys", CALLERS, |visitor| etcd::keys::client(Caller::new(visitor)));
                load.send("lease", HOLDERS, |visitor| {
                    etcd::leases::client(Caller::new(visitor), board.clone())
                });
                load.send("lock", HOLDERS, |visitor| {
                    etcd::locks::client(Caller::new(visitor), board.clone())
                });
                for (kind, count, way) in WATCHERS {
                    load.follow(kind, count, |visitor| {
                        etcd::watches::recorder(Caller::new(visitor), way)
                    });
                }
                for (kind, of_locks) in [("lease-herald", false), ("lock-herald", true)] {
                    load.follow(kind, HERALDS, |visitor| {
                        etcd::watches::herald(Caller::new(visitor), board.clone(), of_locks)
                    });
                }
            }
        }
    }

    /// Sends everyone home: who writes, and then who follows, once they have seen the last write.
    pub fn stop(self, load: &mut Load) {
        load.stop();
        if self == Crowd::Streams {
            let mut closing = load.visitor("closing");
            let goal = eventually("the last write is acknowledged", CLOSING, || {
                let key = format!("{PREFIX}shared/last");
                load.run(clients::put_through(&mut closing, key)).ok_or("it is not".to_owned())
            });
            load.catch_up(goal);
        }
    }

    /// Complains where a run saw too little to say anything.
    pub fn thin(self, history: &History) -> Vec<String> {
        let mut counts = vec![("writes", history.acknowledged(), 100)];
        if self == Crowd::Streams {
            let watches = &history.watches;
            let least = watches.iter().map(|watch| watch.events.len()).min().unwrap_or(0);
            let marks: usize = watches.iter().map(|watch| watch.bookmarks.len()).sum();
            let resumed: usize = watches.iter().map(|watch| watch.resumed.len()).sum();
            let renewed = |lease: &&super::history::Lease| lease.renewed.len() > 1;
            let ended = history.leases.iter().filter(|lease| lease.gone.is_some());
            counts.extend([
                ("watches", watches.len(), WATCHERS.iter().map(|(_, count, _)| count).sum()),
                ("events of each watch", least, 100),
                ("bookmarks", marks, 10),
                ("resumptions", resumed, 5),
                ("ended leases that were kept alive", ended.filter(renewed).count(), 5),
                ("holders of locks", history.holds.len(), 5),
            ]);
        }
        let told: Vec<String> = counts.iter().map(|(of, n, _)| format!("{n} {of}")).collect();
        println!("chaos: {}", told.join(", "));
        let few = counts.into_iter().filter(|(_, count, least)| count < least);
        few.map(|(of, count, _)| format!("a run of only {count} {of} says nothing")).collect()
    }
}
