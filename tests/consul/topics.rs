//! The tests: one for each file of the record, and what has to be true of all of them.

use std::fs;
use std::path::PathBuf;

use super::live;
use super::player::Player;
use super::rules;
use super::transcript::{self, Block};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/consul")
}

fn fixture(topic: &str) -> String {
    fs::read_to_string(fixtures().join(format!("{topic}.txt"))).unwrap()
}

fn blocks(topic: &str) -> Vec<Block> {
    transcript::parse(topic, &fixture(topic))
}

/// Plays files, one after the other, against one set of agents. Fails over every block that is not
/// answered as recorded, and every rule that does not apply as often as it says.
fn replay(profile: &str, topics: &[&str]) {
    let mut rules = rules::load();
    let told = live::program().map(|consul| retold(profile, topics, consul));
    let mut player = Player::start(profile, None);
    super::stubs::start(player.stage.place.0);
    let mut complaints = Vec::new();
    for (at, topic) in topics.iter().enumerate() {
        player.topic(topic);
        let recorded = blocks(topic);
        let blocks = told.as_ref().map_or(&recorded, |told| &told[at]);
        let played: Vec<String> =
            blocks.iter().filter_map(|block| player.play(&rules.apply(block, blocks))).collect();
        if !played.is_empty() {
            let (unequal, of) = (played.len(), blocks.len());
            complaints.extend(played);
            complaints.push(format!("{topic}: {unequal} of {of} blocks differ"));
        }
        // A Consul of another version makes some rules needless.
        if *blocks == recorded {
            complaints.extend(rules.miscounted(topic));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The files as a real Consul answers them now.
fn retold(profile: &str, topics: &[&str], consul: PathBuf) -> Vec<Vec<Block>> {
    let mut player = Player::start(profile, Some(consul));
    super::stubs::start(player.stage.place.0);
    let mut retell = |topic: &&str| {
        player.topic(topic);
        let recorded = blocks(topic);
        let told: Vec<Block> = recorded.iter().map(|block| player.retell(block)).collect();
        let other = recorded.iter().zip(&told).filter(|(block, told)| block != told).count();
        println!("{topic}: {other} of {} are not answered as they were recorded", told.len());
        told
    };
    topics.iter().map(&mut retell).collect()
}

macro_rules! topics {
    ($($test:ident $profile:literal $($topic:literal),+;)*) => {
        const TOPICS: &[&str] = &[$($($topic),+),*];
        $(
            #[test]
            fn $test() {
                replay($profile, &[$($topic),+]);
            }
        )*
    };
}

topics! {
    http_as_recorded "default" "http";
    agent_as_recorded "default" "agent";
    agent_services_as_recorded "default" "agent-service";
    maintenance_as_recorded "default" "agent-maintenance";
    checks_as_recorded "default" "agent-check";
    runs_of_checks_as_recorded "default" "agent-check-runs";
    aliases_of_nodes_as_recorded "default" "agent-check-alias-node";
    reaping_as_recorded "default" "agent-check-reap";
    agent_health_as_recorded "default" "agent-health";
    catalog_as_recorded "default" "catalog";
    anti_entropy_as_recorded "default" "anti-entropy";
    health_as_recorded "default" "health";
    keys_as_recorded "default" "kv";
    locks_as_recorded "default" "kv-locks";
    sessions_as_recorded "default" "session";
    transactions_as_recorded "default" "txn";
    events_as_recorded "default" "event";
    status_as_recorded "default" "status";
    operators_as_recorded "default" "coordinate-operator";
    mesh_as_recorded "default" "connect-config";
    snapshots_as_recorded "default" "snapshot";
    queries_as_recorded "default" "query";
    waiting_for_keys_as_recorded "default" "blocking-kv";
    waiting_for_services_as_recorded "default" "blocking-services";
    filters_as_recorded "default" "filter";
    nodes_in_dns_as_recorded "default" "dns-node";
    services_in_dns_as_recorded "default" "dns-service";
    apex_of_dns_as_recorded "default" "dns-apex-errors";
    queries_in_dns_as_recorded "default" "dns-query";
    limits_of_dns_as_recorded "default" "dns-limits";
    acls_off_as_recorded "default" "acl-disabled";
    acls_as_recorded "acl" "acl", "acl-denied";
    tuned_http_as_recorded "tuned" "tuned-http";
    tuned_dns_as_recorded "tuned" "tuned-dns";
    dev_as_recorded "dev" "dev";
    clusters_as_recorded "cluster" "cluster";
    no_leader_as_recorded "noleader" "noleader";
    lost_as_recorded "lost" "lost";
}

#[test]
fn all_of_the_recorded_answers_are_here() {
    let count: usize = TOPICS.iter().map(|topic| blocks(topic).len()).sum();
    assert_eq!(count, 2792);
    let files = fs::read_dir(fixtures()).unwrap().count();
    assert_eq!(files, TOPICS.len(), "files of tests/fixtures/consul, and tests that play them");
}

#[test]
fn the_rules_are_few() {
    let rules = rules::load().0.len();
    assert!(rules <= 80, "{rules} rules");
}

#[test]
fn the_document_lists_the_rules() {
    rules::DOCUMENT.is_up_to_date(&rules::load());
}
