//! What a real etcd 3.5.30 answered, asked of Remora again: 837 recorded answers, block by block.
//!
//! Every file of `tests/fixtures/etcd` is played against agents of its own. What the recorder did
//! beside its blocks is in `setup.rs`, what differs from run to run in `mask.rs`, and what differs
//! on purpose in `rules.txt`, of which `docs/etcd-differences.md` is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod abridge;
mod body;
#[allow(dead_code, unused_imports, reason = "shared: another binary uses the rest")]
#[path = "../it/house/mod.rs"]
mod house;
mod mask;
mod player;
#[path = "../record/mod.rs"]
mod record;
mod rules;
mod setup;
mod transcript;
mod wire;

use std::fs;
use std::path::PathBuf;

use player::Player;
use transcript::Block;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/etcd")
}

fn fixture(topic: &str) -> String {
    fs::read_to_string(fixtures().join(format!("{topic}.txt"))).unwrap()
}

/// Plays a file and fails over every block that is not answered as recorded, and every rule that
/// does not apply as often as it says.
fn replay(topic: &str) {
    let blocks = transcript::parse(&fixture(topic));
    let mut rules = rules::load();
    let mut player = Player::start(topic, &blocks);
    let mut complaints = Vec::new();
    for recorded in &blocks {
        let expected = rules.apply(recorded);
        let answered = player.play(&expected.block);
        let answered = expected.let_pass(answered);
        if let Some(difference) = difference(&expected.block, &answered, &mut player) {
            complaints.push(difference);
        }
    }
    let unequal = complaints.len();
    complaints.extend(rules.miscounted(topic));
    let sum = format!("{topic}: {unequal} of {} blocks differ", blocks.len());
    assert!(complaints.is_empty(), "\n{}\n{sum}", complaints.join("\n"));
}

/// The lines that only one of the two has, both masked.
fn difference(expected: &Block, answered: &Block, player: &mut Player) -> Option<String> {
    let left = player.recorded.lines(expected);
    let right = player.answered.lines(answered);
    record::difference(&format!("{} {}", expected.id, expected.note), &left, &right)
}

macro_rules! topics {
    ($($test:ident $topic:literal,)*) => {
        const TOPICS: &[&str] = &[$($topic),*];
        $(
            #[test]
            fn $test() {
                replay($topic);
            }
        )*
    };
}

topics! {
    keys_as_recorded "kv",
    ranges_as_recorded "range",
    transactions_as_recorded "txn",
    compactions_as_recorded "compact",
    watches_as_recorded "watch",
    leases_as_recorded "lease",
    locks_as_recorded "lock",
    elections_as_recorded "election",
    limits_as_recorded "limits",
    authentication_as_recorded "auth",
    maintenance_as_recorded "maintenance",
    members_as_recorded "cluster",
    three_servers_as_recorded "cluster3",
    errors_as_recorded "errors",
    http_as_recorded "http",
}

#[test]
fn all_of_the_recorded_answers_are_here() {
    let blocks = TOPICS.iter().map(|topic| transcript::parse(&fixture(topic)).len());
    assert_eq!(blocks.sum::<usize>(), 837);
    let files = fs::read_dir(fixtures()).unwrap().count();
    assert_eq!(files, TOPICS.len(), "files of tests/fixtures/etcd, and tests that play them");
}

#[test]
fn the_document_lists_the_rules() {
    rules::DOCUMENT.is_up_to_date(&rules::load());
}
