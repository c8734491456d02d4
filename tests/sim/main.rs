//! A whole cluster in one thread under faults, seeded: the shipped code on a simulated network,
//! disk and clock. `scripts/sim` runs many seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod clients;
mod clock;
mod disk;
mod faults;
#[allow(dead_code, reason = "shared: another binary uses the rest")]
#[path = "../history/mod.rs"]
mod history;
mod host;
mod leases;
mod net;
mod pipe;
mod run;
mod stalled;
mod trace;
mod watchdog;
mod watchers;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use run::{Report, run};

/// Seeds that every test run goes through.
const SEEDS: u64 = 50;

fn setting(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().map_or(or, |text| text.parse().unwrap())
}

/// In a thread of its own, which it leaves with its seed.
fn apart(seed: u64) -> Report {
    std::thread::spawn(move || run(seed)).join().unwrap()
}

fn tell(report: &Report) {
    let Report { seed, wrong, trace, .. } = report;
    let tail = trace.len().saturating_sub(30);
    println!("--- seed {seed}, the end of its trace:");
    trace[tail..].iter().for_each(|line| println!("{line}"));
    println!("--- seed {seed} is wrong:");
    wrong.iter().take(12).for_each(|why| println!("  {why}"));
    println!("--- again, with all of its trace: REMORA_SIM_TRACE=1 scripts/sim 1 {seed}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (one, other) = (apart(1), apart(1));
    let pairs = one.trace.iter().zip(&other.trace);
    for (number, (a, b)) in pairs.enumerate() {
        assert_eq!(a, b, "line {number} of two runs of one seed");
    }
    assert_eq!(one.trace.len(), other.trace.len());
    assert!(one.trace.len() > 200, "a trace of {} lines shows nothing", one.trace.len());
    assert_ne!(one.trace, apart(2).trace);
}

#[test]
fn nothing_is_lost_whatever_happens() {
    let (first, count) = (setting("REMORA_SIM_FIRST", 1), setting("REMORA_SIM_SEEDS", SEEDS));
    let (next, reports) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let report = apart(seed);
                    if !report.wrong.is_empty() {
                        // What comes after the first failure is of no interest.
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|report| report.seed);
    let failed: Vec<u64> =
        reports.iter().filter(|report| !report.wrong.is_empty()).map(|r| r.seed).collect();
    reports.iter().filter(|report| !report.wrong.is_empty()).for_each(tell);
    figures(&reports, began.elapsed());
    assert_eq!(failed, Vec::<u64>::new(), "seeds that went wrong");
}

fn figures(reports: &[Report], took: Duration) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let time: Duration = reports.iter().map(|report| report.virtual_time).sum();
    println!(
        "{} seeds: {:.3} simulated hours, {} faults, {} operations, {} writes acknowledged, {} \
         keep-alives, {} terms with a leader, {} snapshots installed; {:.2} s a seed",
        reports.len(),
        time.as_secs_f64() / 3600.0,
        sum(|report| report.faults),
        sum(|report| report.operations as u64),
        sum(|report| report.acknowledged as u64),
        sum(|report| report.renewals),
        sum(|report| report.elections),
        sum(|report| report.installed),
        took.as_secs_f64() / reports.len().max(1) as f64,
    );
}
