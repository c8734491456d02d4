//! What can go wrong, and in which order it does: decided by the seed alone.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// One thing that goes wrong and is put right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of the leader, started again.
    KillLeader,
    /// `kill -9` of a server that follows, started again.
    KillFollower,
    /// `kill -9` of every server at once, all started again.
    KillAll,
    /// `kill -9` of the edge, started again.
    KillEdge,
    /// SIGSTOP of the leader, SIGCONT once another leads.
    PauseLeader,
    /// SIGSTOP of a server that follows.
    PauseFollower,
    /// Nothing between the leader and the other servers, either way.
    IsolateLeader,
    /// The leader hears no other server, though they hear it.
    DeafLeader,
    /// No other server hears the leader, though it hears them.
    MuteLeader,
    /// The link between the leader and one follower is cut; both have theirs to the third.
    CutOneLink,
    /// Every server is stopped cleanly and started again, one after the other.
    RollingRestart,
    /// The disk of one server has no byte left.
    FullDisk,
    /// The next fsync of the leader fails.
    LeaderSyncFails,
    /// The next fsync of a follower fails.
    FollowerSyncFails,
    /// Each fsync of the leader takes long.
    SlowLeaderDisk,
    /// A server comes back with nothing on its disk.
    WipedDisk,
    /// All are stopped, and every one has another address when it starts.
    NewAddresses,
}

use Fault::*;

pub const ALL: [Fault; 17] = [
    KillLeader,
    KillFollower,
    KillAll,
    KillEdge,
    PauseLeader,
    PauseFollower,
    IsolateLeader,
    DeafLeader,
    MuteLeader,
    CutOneLink,
    RollingRestart,
    FullDisk,
    LeaderSyncFails,
    FollowerSyncFails,
    SlowLeaderDisk,
    WipedDisk,
    NewAddresses,
];

/// Those of a short round: the ones that least resemble each other.
pub const SHORT: [Fault; 8] = [
    KillLeader,
    PauseLeader,
    IsolateLeader,
    MuteLeader,
    CutOneLink,
    FullDisk,
    LeaderSyncFails,
    NewAddresses,
];

/// Those of a short round of clients that hold streams open: the ones that break streams, the ones
/// that make leaders of whom two believe that they lead, and a server that begins with nothing.
pub const STREAMS: [Fault; 8] = [
    KillLeader,
    KillEdge,
    KillAll,
    PauseLeader,
    PauseFollower,
    IsolateLeader,
    MuteLeader,
    WipedDisk,
];

/// A shuffled deck of faults, dealt again and again, and the dice for what a fault leaves open.
pub struct Dealer {
    dice: StdRng,
    deck: Vec<Fault>,
    left: Vec<Fault>,
}

impl Dealer {
    pub fn new(deck: &[Fault], seed: u64) -> Dealer {
        Dealer { dice: StdRng::seed_from_u64(seed), deck: deck.to_vec(), left: Vec::new() }
    }

    pub fn next(&mut self) -> Fault {
        if self.left.is_empty() {
            self.left = self.deck.clone();
            self.left.shuffle(&mut self.dice);
        }
        self.left.pop().expect("a deck holds a fault")
    }

    /// One of `count` things.
    pub fn pick(&mut self, count: usize) -> usize {
        self.dice.random_range(0..count)
    }
}

#[test]
fn a_seed_deals_the_same_faults_and_each_of_them() {
    let deal = |seed| {
        let mut dealer = Dealer::new(&ALL, seed);
        (0..ALL.len()).map(|_| dealer.next()).collect::<Vec<_>>()
    };
    assert_eq!(deal(7), deal(7));
    assert_ne!(deal(7), deal(8));
    let mut all = deal(7);
    all.sort();
    assert_eq!(all, ALL);
}
