//! The identity module, tested: time is given, disks are temporary directories.

mod access;
mod authority;
mod files;
mod judging;
mod passwords;
mod tokens;

use std::time::{Duration, SystemTime};

use super::{Authority, Key, Leaf, Lifetimes, Offline};
use crate::lifecycle::chance;
use crate::model::{NodeId, Role};

/// Some day in 2026, in whole seconds as certificates count.
fn day() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An hour, with ten minutes of grace and one of skew.
fn short() -> Lifetimes {
    Lifetimes { leaf: seconds(3600), grace: seconds(600), skew: seconds(60) }
}

/// What the agent `node` shows after `authority` has let it in on that day.
fn member(authority: &Authority, role: Role, node: u64) -> Leaf {
    let key = Key::generate().unwrap();
    let request = key.request().unwrap();
    let chain = authority.issue(&request, role, NodeId(node), &short(), day()).unwrap();
    Leaf::new(key, chain).unwrap()
}

fn slices(chain: &[Vec<u8>]) -> Vec<&[u8]> {
    chain.iter().map(Vec::as_slice).collect()
}

/// In a simulation; elsewhere no two keys are equal.
#[test]
fn keys_and_tokens_follow_from_a_seed() {
    let made = |seed: u64| {
        chance::seed(seed);
        let tokens = Offline::generate().unwrap();
        (Key::generate().unwrap().digest(), tokens.relay.reveal())
    };
    let fresh = (Key::generate().unwrap(), Key::generate().unwrap());
    assert_ne!(fresh.0.digest(), fresh.1.digest());
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}
