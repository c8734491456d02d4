//! Whether picks stay inside the set, spread by weight, and prefer the faster.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const POLICIES: [Policy; 3] = [Policy::P2c, Policy::LeastRequest, Policy::RoundRobin];

struct Fake {
    id: usize,
    weight: u16,
    load: Arc<Load>,
}

impl Member for Fake {
    fn weight(&self) -> u16 {
        self.weight
    }

    fn load(&self) -> &Load {
        &self.load
    }
}

fn set(policy: Policy, weights: &[u16]) -> Set<Fake> {
    let fake = |(id, weight): (usize, &u16)| Fake { id, weight: *weight, load: Arc::default() };
    Set::new(policy, weights.iter().enumerate().map(fake).collect())
}

/// Shares of `rounds` picks, each of which ends before the next.
fn shares(set: &Set<Fake>, rounds: usize, latency: impl Fn(usize) -> Duration) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut counts = vec![0usize; set.members().len()];
    for round in 0..rounds {
        let now = Duration::from_millis(round as u64);
        let member = set.pick(now, &mut rng, |_| true).unwrap();
        counts[member.id] += 1;
        member.load.observe(now, latency(member.id));
    }
    counts.iter().map(|count| *count as f64 / rounds as f64).collect()
}

#[test]
fn equal_endpoints_get_their_weights_share() {
    for policy in [Policy::P2c, Policy::RoundRobin] {
        for weights in [&[1, 1][..], &[1, 3], &[5, 1, 4], &[1, 1, 1, 1, 1], &[100, 1]] {
            let set = set(policy, weights);
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let got = shares(&set, 20_000, |_| Duration::from_millis(5));
            for (weight, share) in weights.iter().zip(&got) {
                let want = f64::from(*weight) / total;
                assert!((share - want).abs() < 0.02, "{policy}, {weights:?}: {got:?}");
            }
        }
    }
}

#[test]
fn shares_hold_while_many_requests_are_under_way() {
    for policy in [Policy::P2c, Policy::LeastRequest] {
        let set = set(policy, &[1, 3]);
        let mut rng = StdRng::seed_from_u64(3);
        let mut held = std::collections::VecDeque::new();
        let mut heavy = 0;
        for round in 0..20_000u64 {
            let now = Duration::from_micros(round * 100);
            let member = set.pick(now, &mut rng, |_| true).unwrap();
            heavy += usize::from(member.id == 1);
            member.load.observe(now, Duration::from_millis(5));
            held.push_back(Outstanding::new(member.load.clone()));
            if held.len() > 64 {
                held.pop_front();
            }
        }
        let share = heavy as f64 / 20_000.0;
        assert!((share - 0.75).abs() < 0.03, "{policy}: {share}");
    }
}

#[test]
fn the_faster_is_preferred_and_the_slower_still_tried() {
    let set = set(Policy::P2c, &[1, 1, 1]);
    let latency = |id| Duration::from_millis(if id == 2 { 50 } else { 5 });
    let got = shares(&set, 50_000, latency);
    assert!(got[2] < 0.03, "{got:?}");
    assert!(got[2] > 0.0, "{got:?}");
    assert!((got[0] - got[1]).abs() < 0.05, "{got:?}");
}

#[test]
fn a_failure_is_avoided_and_then_forgiven() {
    let set = set(Policy::P2c, &[1, 1]);
    let mut rng = StdRng::seed_from_u64(1);
    let failed = &set.members()[0];
    failed.load.observe_failure(Duration::from_secs(1));
    let hits = |rng: &mut StdRng, at: Duration| {
        (0..1000).filter(|_| set.pick(at, rng, |_| true).unwrap().id == 0).count()
    };
    assert!(hits(&mut rng, Duration::from_secs(3)) < 5);
    assert!(hits(&mut rng, Duration::from_secs(15)) > 400);
}

#[test]
fn a_peak_counts_at_once_and_fades_slowly() {
    let load = Load::default();
    let second = Duration::from_secs(1);
    load.observe(second, Duration::from_millis(1));
    load.observe(second, Duration::from_millis(100));
    let peak = load.cost(second, 1.0);
    assert!(peak > 100e6);
    let soon = second + second / 10;
    load.observe(soon, Duration::from_millis(1));
    let later = load.cost(soon, 1.0);
    assert!(later < peak && later > peak * 0.8, "{peak} {later}");
}

#[test]
fn outstanding_counts_until_dropped() {
    let load = Arc::new(Load::default());
    let first = Outstanding::new(load.clone());
    let second = Outstanding::new(load.clone());
    assert_eq!(load.outstanding(), 2);
    drop((first, second));
    assert_eq!(load.outstanding(), 0);
}

#[test]
fn round_robin_over_equals_takes_turns() {
    let set = set(Policy::RoundRobin, &[1, 1, 1]);
    let mut rng = StdRng::seed_from_u64(1);
    let ids = (0..6).map(|_| set.pick(Duration::ZERO, &mut rng, |_| true).unwrap().id);
    assert_eq!(ids.collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn names_of_policies_are_read_back() {
    for policy in POLICIES {
        assert_eq!(policy.as_str().parse(), Ok(policy));
    }
    assert!("p3c".parse::<Policy>().unwrap_err().to_string().contains("least_request"));
}

proptest! {
    /// Weight 0 gets nothing unless all have it, whatever the loads.
    #[test]
    fn picks_only_members_with_weight(
        weights in prop::collection::vec(0u16..5, 0..8),
        loads in prop::collection::vec((0u64..2000, 0u8..4), 8),
        seed: u64,
    ) {
        for policy in POLICIES {
            let set = set(policy, &weights);
            let mut rng = StdRng::seed_from_u64(seed);
            let mut held = Vec::new();
            for (member, (millis, outstanding)) in set.members().iter().zip(&loads) {
                member.load.observe(Duration::from_secs(1), Duration::from_millis(*millis));
                held.extend((0..*outstanding).map(|_| Outstanding::new(member.load.clone())));
            }
            for _ in 0..50 {
                let picked = set.pick(Duration::from_secs(2), &mut rng, |_| true);
                prop_assert_eq!(picked.is_some(), !weights.is_empty());
                let Some(picked) = picked else { continue };
                let all_zero = weights.iter().all(|weight| *weight == 0);
                prop_assert!(all_zero || weights[picked.id] > 0);
            }
        }
    }

    /// What was tried is never picked again while something else is left.
    #[test]
    fn picks_only_what_is_usable(
        weights in prop::collection::vec(0u16..5, 1..8),
        usable in prop::collection::vec(any::<bool>(), 8),
        seed: u64,
    ) {
        for policy in POLICIES {
            let set = set(policy, &weights);
            let mut rng = StdRng::seed_from_u64(seed);
            let left = set.members().iter().any(|member| usable[member.id]);
            for _ in 0..20 {
                let picked = set.pick(Duration::ZERO, &mut rng, |member| usable[member.id]);
                prop_assert_eq!(picked.is_some(), left);
                prop_assert!(picked.is_none_or(|member| usable[member.id]));
            }
        }
    }
}
