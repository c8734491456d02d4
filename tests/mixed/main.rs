//! Both families of clients on the same keys: random scripts over `/v1/kv`, `/v1/txn`, sessions and
//! etcd's JSON, and after every step both views are what one small model says.
//!
//! The agent is the shipped one without listeners, in one thread and under a clock that stands still
//! unless it is moved, so that leases and sessions end when the script says. `MIXED_SEED=n` plays one
//! script alone, `MIXED_SCRIPTS=n` so many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod house;
mod model;
mod play;
mod script;
mod views;

use remora::lifecycle::chance;
use tokio::runtime::Builder;

use house::House;

/// Scripts of every test run.
const SCRIPTS: u64 = 24;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// On a thread of its own: what is drawn there follows from the seed.
fn run(seed: u64) -> Result<(), String> {
    let played = std::thread::spawn(move || {
        chance::seed(seed);
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let house = House::start().await;
            play::play(&house, seed).await
        })
    });
    played.join().unwrap_or_else(|_| Err("it panicked".to_owned()))
}

#[test]
fn both_views_are_the_models_after_every_step() {
    let seeds = match setting("MIXED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..setting("MIXED_SCRIPTS").unwrap_or(SCRIPTS) + 1,
    };
    for seed in seeds {
        if let Err(why) = run(seed) {
            panic!("MIXED_SEED={seed}: {why}");
        }
    }
}
