//! Remora beside a real etcd: the same random scripts on both, and equal answers.
//!
//! `AGAINST_SEED=n` runs one script alone, `AGAINST_SCRIPTS=n` so many from `AGAINST_FIRST` on, and
//! each pair of servers stops after `AGAINST_MOST` differences; `AGAINST_ETCD` names another etcd
//! (`scripts/compare-etcd` does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod ctl;
mod etcd;
mod extremes;
mod generate;
#[allow(dead_code, unused_imports, reason = "shared: another binary uses the rest")]
#[path = "../it/house/mod.rs"]
mod house;
mod normal;
mod play;
#[allow(dead_code, unused_imports, reason = "the product's own")]
#[path = "../../src/etcd/proto/mod.rs"]
mod proto;
mod rules;
mod script;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use etcd::Etcd;
use house::{Agent, AgentSpec};
use play::play;
use rules::Rules;
use script::{Script, Step};
use wire::Server;

/// Scripts of every test run.
const SCRIPTS: u64 = 2000;
/// Pairs of servers that work at once: each waits for long.
const PAIRS: usize = 5;
/// For making a failing script smaller.
const PATIENCE: Duration = Duration::from_secs(30);
/// A script that takes longer is told of.
const SLOW: Duration = Duration::from_secs(3);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// An etcd and a Remora for scripts one after the other.
struct Pair {
    etcd: Etcd,
    agent: Agent,
    version: String,
}

/// Nothing here asks what a crash leaves, and a disk may be slow.
fn in_memory() -> AgentSpec {
    AgentSpec { in_memory: true, ..AgentSpec::server("server") }
}

impl Pair {
    fn start() -> Pair {
        let (etcd, version) = (Etcd::start(), etcd::version());
        Pair { etcd, agent: Agent::start(in_memory()), version }
    }

    /// The first difference, if there is one: the answer's number, etcd's and Remora's.
    async fn differ(&self, script: &Script, rules: &mut Rules) -> Option<(usize, Value, Value)> {
        let etcd = Server::at(&self.etcd.authority());
        let remora = Server::at(&self.agent.spec.place.http());
        let (mut theirs, ours) = tokio::join!(play(&etcd, script), play(&remora, script));
        rules.apply(script, &mut theirs);
        let differ = |n: &usize| theirs.get(*n) != ours.get(*n);
        let first = (0..theirs.len().max(ours.len())).find(differ)?;
        let at = |answers: &[Value]| answers.get(first).cloned().unwrap_or_default();
        Some((first, at(&theirs), at(&ours)))
    }

    /// A script without the steps that the difference does not need.
    async fn shrink(&self, script: Script) -> Script {
        let mut small = script;
        let begun = Instant::now();
        let mut at = small.steps.len();
        while at > 0 && begun.elapsed() < PATIENCE {
            at -= 1;
            // Whose turn it is would not be known any more.
            if matches!(small.steps[at], Step::Queue { .. }) {
                continue;
            }
            let mut smaller = small.clone();
            smaller.steps.remove(at);
            if self.differ(&smaller, &mut Rules::of(&self.version)).await.is_some() {
                small = smaller;
            }
        }
        small
    }

    async fn complain(&self, script: &Script, first: (usize, Value, Value)) -> String {
        let small = self.shrink(script.clone()).await;
        let again = self.differ(&small, &mut Rules::of(&self.version)).await;
        let small = again.map(|again| shown(&small, &again)).unwrap_or_default();
        format!("{}made smaller, {small}", shown(script, &first))
    }
}

fn shown(script: &Script, (n, theirs, ours): &(usize, Value, Value)) -> String {
    format!("{script}at {n}\n  etcd    {theirs}\n  Remora  {ours}\n")
}

/// What one pair found.
async fn work(next: &AtomicU64, end: u64, most: usize) -> (Vec<String>, Rules) {
    let mut pair = Pair::start();
    let (mut complaints, mut rules) = (Vec::new(), Rules::of(&pair.version));
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || complaints.len() >= most {
            return (complaints, rules);
        }
        let script = generate::script(seed);
        let begun = Instant::now();
        let differ = pair.differ(&script, &mut rules).await;
        if begun.elapsed() > SLOW {
            println!("seed {seed} takes {:.1} s", begun.elapsed().as_secs_f64());
        }
        if let Some(difference) = differ {
            let crashed = pair.etcd.has_ended();
            complaints.push(match &crashed {
                Some(log) => format!("{}etcd is gone: {log}", shown(&script, &difference)),
                None => pair.complain(&script, difference).await,
            });
            if crashed.is_some() || pair.etcd.has_ended().is_some() {
                pair = Pair::start();
            }
        }
    }
}

#[test]
fn etcd_and_remora_answer_random_scripts_alike() {
    let begun = Instant::now();
    let alone = setting("AGAINST_SEED");
    let count = setting("AGAINST_SCRIPTS").unwrap_or(SCRIPTS);
    let most = setting("AGAINST_MOST").unwrap_or(3).try_into().unwrap();
    let begin = setting("AGAINST_FIRST").unwrap_or(0);
    let (first, end) = alone.map_or((begin, begin + count), |seed| (seed, seed + 1));
    let next = AtomicU64::new(first);
    let pairs = if alone.is_some() { 1 } else { PAIRS };
    let found: Vec<(Vec<String>, Rules)> = std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(work(&next, end, most))
        };
        let threads: Vec<_> = (0..pairs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut rules = Rules::of(&etcd::version());
    let mut complaints = Vec::new();
    for (said, used) in found {
        complaints.extend(said);
        rules.take(used);
    }
    println!("{} scripts, {:.1} s", end - first, begun.elapsed().as_secs_f64());
    rules.tell();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    let unused = rules.unused();
    assert!(alone.is_some() || unused.is_empty(), "rules that nothing needs: {unused:?}");
}
