//! Rounds of faults: a short one with every test run, long ones by `scripts/chaos`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::crowd::Crowd;
use super::fault::{ALL, Dealer, Fault};
use super::inject::inject;
use super::judge::judge;
use super::load::{Field, Load};
use super::stage;
use super::wait::eventually;

/// A run with less load before a fault says nothing about it.
const LOAD: u64 = 50;
const LOADED: Duration = Duration::from_secs(20);
/// Minutes of a long run; 0 or none: the short round.
const MINUTES: &str = "REMORA_CHAOS_MINUTES";
const SEED: &str = "REMORA_CHAOS_SEED";
/// Names of faults, separated by commas; none: all of them.
const FAULTS: &str = "REMORA_CHAOS_FAULTS";

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str) -> Option<u64> {
    let text = setting(name)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn deck(crowd: Crowd, long: bool) -> Vec<Fault> {
    let Some(names) = setting(FAULTS) else { return crowd.faults(long).to_vec() };
    let find = |name: &str| {
        let found = ALL.into_iter().find(|fault| format!("{fault:?}") == name.trim());
        found.unwrap_or_else(|| panic!("{FAULTS}: {name} is none of {ALL:?}"))
    };
    names.split(',').map(find).collect()
}

#[test]
fn faults_upon_faults_and_nothing_is_lost() {
    run("rounds::faults_upon_faults_and_nothing_is_lost", Crowd::Callers);
}

#[test]
fn watches_leases_and_locks_keep_their_word_through_faults() {
    run("rounds::watches_leases_and_locks_keep_their_word_through_faults", Crowd::Streams);
}

fn run(test: &str, crowd: Crowd) {
    let Some(dir) = stage::enter(test) else { return };
    let seed = number(SEED).unwrap_or(1);
    let minutes = Duration::from_secs(60 * number(MINUTES).unwrap_or(0));
    let deck = deck(crowd, !minutes.is_zero());
    println!("chaos: {crowd:?}, seed {seed}, {} kinds of faults", deck.len());
    let mut dealer = Dealer::new(&deck, seed);
    let begun = Instant::now();
    let (mut crew, mut load) = Crew::start(&dir);
    crowd.start(&mut load);
    let mut count = 0;
    let done = catch_unwind(AssertUnwindSafe(|| {
        while count < deck.len() || begun.elapsed() < minutes {
            happen(dealer.next(), &mut crew, &load, &mut dealer);
            count += 1;
        }
        finish(crowd, &crew, &mut load);
    }));
    if let Err(panic) = done {
        println!("chaos: failed with seed {seed}, after {count} faults\n{}", crew.logs());
        resume_unwind(panic);
    }
    let writes = load.field.acknowledged();
    println!("chaos: {count} faults, {writes} writes acknowledged, in {:.0?}", begun.elapsed());
}

/// One fault under load, put right.
fn happen(fault: Fault, crew: &mut Crew, load: &Load, dealer: &mut Dealer) {
    let from = load.field.acknowledged();
    eventually("load before the fault", LOADED, || enough(&load.field, from));
    load.field.longest_gap();
    let begun = Instant::now();
    inject(fault, crew, load, dealer);
    let lasted = begun.elapsed();
    crew.settle(load);
    let (gap, whole) = (load.field.longest_gap(), begun.elapsed());
    println!("  {fault:?}: {lasted:.1?}, well after {whole:.1?}, no write for {gap:.2?}");
}

fn enough(field: &Field, from: u64) -> Result<(), String> {
    match field.acknowledged() - from {
        LOAD.. => Ok(()),
        few => Err(format!("{few} writes acknowledged")),
    }
}

fn finish(crowd: Crowd, crew: &Crew, load: &mut Load) {
    crowd.stop(load);
    crew.settle(load);
    let agents: Vec<String> = (0..crew.nodes.len()).map(|i| load.field.authority(i)).collect();
    judge(crowd, load, &agents);
}
