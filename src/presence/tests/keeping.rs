//! The promise is kept: set back, found again after a restart, withdrawn, given up.

use std::time::Duration;

use crate::model::{CheckDef, CheckKind, Folded, Health, NodeName, Role, ServiceDef, Source};
use crate::presence::PresenceError;
use crate::state::{Admission, CatalogOp, Command, NodeDef, Outcome};

use super::house::{House, NODE, service, ttl};

fn node() -> Folded {
    Folded::new(NODE)
}

fn remove(id: &str) -> CatalogOp {
    CatalogOp::RemoveInstance { node: node(), id: id.into() }
}

#[tokio::test(start_paused = true)]
async fn what_the_config_promises_is_set_back_at_once() {
    let house = House::open(vec![(service("w1"), vec![ttl(15)])]).await;
    house.presence.report("service:w1", Health::Passing, String::new()).await.unwrap();

    house.catalog(remove("w1")).await;
    house.until("the instance is back with its status", |house| house.healthy() == 1).await;

    let mut changed = service("w1");
    changed.port = 1;
    house
        .catalog(CatalogOp::PutInstance { node: node(), def: changed, source: Source::Catalog })
        .await;
    let port = |house: &House| house.state().instance(&node(), "w1").map(|row| row.def.port);
    house.until("the port is set back", |house| port(house) == Some(8080)).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_instance_that_somebody_removed_stays_removed() {
    let house = House::open(vec![(service("config"), vec![])]).await;
    house.presence.register(service("api"), vec![ttl(15)], false).await.unwrap();

    house.catalog(remove("api")).await;
    house.catalog(remove("config")).await;
    house.until("the configured one is back", |house| house.has("config")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!house.has("api"));
    let gone = house.presence.report("service:api", Health::Passing, String::new()).await;
    assert_eq!(gone, Err(PresenceError::UnknownCheck("service:api".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_api_instance_that_was_changed_by_others_is_set_back() {
    let house = House::open(vec![]).await;
    house.presence.register(service("api"), vec![], false).await.unwrap();
    let mut changed = service("api");
    changed.tags = vec!["theirs".into()];
    let put = CatalogOp::PutInstance { node: node(), def: changed, source: Source::Catalog };
    house.catalog(put).await;
    let back = |house: &House| {
        house.state().instance(&node(), "api").is_some_and(|row| row.source == Source::Api)
    };
    house.until("it is ours again", back).await;
    assert!(house.state().instance(&node(), "api").unwrap().def.tags.is_empty());
}

#[tokio::test(start_paused = true)]
async fn overridden_tags_are_taken_over() {
    let house = House::open(vec![]).await;
    let mut def = service("api");
    def.enable_tag_override = true;
    house.presence.register(def.clone(), vec![], false).await.unwrap();
    def.tags = vec!["theirs".into()];
    def.port = 1;
    house.catalog(CatalogOp::PutInstance { node: node(), def, source: Source::Catalog }).await;
    let port = |house: &House| house.state().instance(&node(), "api").map(|row| row.def.port);
    house.until("the port is set back", |house| port(house) == Some(8080)).await;
    let state = house.state();
    assert!(state.instance(&node(), "api").unwrap().def.has_tag("theirs"));
}

#[tokio::test(start_paused = true)]
async fn rows_of_others_on_this_node_stay() {
    let house = House::open(vec![]).await;
    let def = ServiceDef::new("foreign", "foreign");
    house.catalog(CatalogOp::PutInstance { node: node(), def, source: Source::Catalog }).await;
    house.presence.register(service("api"), vec![], false).await.unwrap();
    let house = house.restart(vec![]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(house.has("foreign"));
    assert!(house.has("api"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_comes_back_with_everything() {
    let house = House::open(vec![(service("config"), vec![])]).await;
    house.presence.register(service("api"), vec![], false).await.unwrap();
    house.catalog(CatalogOp::RemoveNode(node())).await;
    house.until("all is back", |house| house.healthy() == 2).await;
    assert!(house.has("consul"));
}

#[tokio::test(start_paused = true)]
async fn a_node_taken_over_by_the_catalog_is_set_back() {
    let house = House::open(vec![]).await;
    let def = house.state().node(NODE).unwrap().def.clone();
    let theirs = NodeDef { agent: None, address: "192.0.2.1".into(), ..def.clone() };
    house.catalog(CatalogOp::PutNode(theirs)).await;
    house.until("the node is ours", |house| house.state().node(NODE).unwrap().def == def).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_found_dead_is_alive_again_at_once() {
    let house = House::open(vec![(service("w1"), vec![])]).await;
    let dead = CatalogOp::Report {
        node: node(),
        check: "serfHealth".into(),
        status: Health::Critical,
        output: "The agent's heartbeat has stopped".to_owned(),
    };
    house.catalog(dead).await;
    assert_eq!(house.healthy(), 0);
    house.until("the node is alive", |house| house.healthy() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_finds_its_api_instances_critical_until_proven() {
    let house = House::open(vec![(service("old"), vec![ttl(15)])]).await;
    house.presence.register(service("api"), vec![ttl(15)], false).await.unwrap();
    house.presence.report("service:api", Health::Passing, "up".to_owned()).await.unwrap();
    assert_eq!(house.healthy(), 1);

    let house = house.restart(vec![(service("new"), vec![])]).await;
    assert!(!house.has("old"), "it has left the config");
    assert_eq!(house.status("service:old"), None);
    assert!(house.has("new"));
    assert_eq!(house.status("service:api"), Some(Health::Critical));

    house.presence.report("service:api", Health::Passing, "up".to_owned()).await.unwrap();
    assert_eq!(house.healthy(), 2);
    house.presence.deregister("api").await.unwrap();
    assert!(!house.has("api"));
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_check_outlives_a_restart() {
    let house = House::open(vec![(service("w1"), vec![])]).await;
    let check = CheckDef::new("_node_maintenance", "Node Maintenance Mode", CheckKind::Maintenance);
    house.presence.register_check(check).await.unwrap();
    assert_eq!(house.healthy(), 0);
    let house = house.restart(vec![(service("w1"), vec![])]).await;
    assert_eq!(house.healthy(), 0);
    house.presence.deregister_check("_node_maintenance").await.unwrap();
    assert_eq!(house.healthy(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_the_answers_and_the_next_start_comes_back() {
    let house = House::open(vec![(service("config"), vec![])]).await;
    house.presence.register(service("api"), vec![], false).await.unwrap();
    house.presence.withdraw().await.unwrap();
    assert_eq!(house.healthy(), 0);
    assert!(!house.has("config") && !house.has("consul"), "what the config promised is gone");
    assert!(house.has("api"), "what the API registered waits for the next start");
    assert_eq!(house.check("serfHealth"), Some((Health::Critical, "Agent has left".to_owned())));

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(house.healthy(), 0, "nothing brings it back");
    let late = house.presence.register(service("late"), vec![], false).await;
    assert_eq!(late, Err(PresenceError::Stopped));

    let house = house.restart(vec![(service("config"), vec![])]).await;
    assert_eq!(house.healthy(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stays_critical_is_deregistered_on_time() {
    let house = House::open(vec![]).await;
    let mut check = ttl(10);
    check.deregister_after = Some(Duration::from_secs(5));
    check.initial = Health::Passing;
    house.presence.register(service("w1"), vec![check], false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(14_900)).await;
    assert_eq!(house.status("service:w1"), Some(Health::Critical));
    assert!(house.has("w1"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!house.has("w1"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_recovers_in_time_stays() {
    let house = House::open(vec![]).await;
    let mut check = ttl(10);
    check.deregister_after = Some(Duration::from_secs(5));
    check.initial = Health::Passing;
    house.presence.register(service("w1"), vec![check], false).await.unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    house.presence.report("service:w1", Health::Passing, String::new()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(house.has("w1"));
}

/// While another agent owns the node nothing can be promised; what was found out meanwhile is told
/// as soon as it can be.
#[tokio::test(start_paused = true)]
async fn what_the_catalog_refuses_is_said_and_tried_again() {
    let house = House::open(vec![]).await;
    house.presence.register(service("w1"), vec![ttl(15)], false).await.unwrap();
    house.presence.report("service:w1", Health::Passing, String::new()).await.unwrap();
    let other = Admission {
        name: NodeName::new("other").unwrap(),
        nonce: 2,
        role: Role::Edge,
        peer_addr: ([127, 0, 0, 1], 1).into(),
        client_urls: vec![],
        version: String::new(),
        level: crate::state::LEVEL,
        token: None,
    };
    let admitted = house.cluster.propose(Command::Admit(other)).await.unwrap();
    let Outcome::Admitted { id, .. } = admitted else { panic!("{admitted:?}") };
    let mine = house.state().node(NODE).unwrap().def.clone();
    house.catalog(CatalogOp::PutNode(NodeDef { agent: Some(id), ..mine })).await;

    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = house.presence.register(service("w2"), vec![], false).await;
    assert!(matches!(refused, Err(PresenceError::Refused(_))), "{refused:?}");
    assert!(!house.has("w2"));
    let board = house.life.board.entries();
    assert!(board.iter().any(|(_, entry)| entry.text.contains("belongs to agent")), "{board:?}");
    tokio::time::sleep(Duration::from_secs(15)).await;

    house.cluster.propose(Command::Retire(id)).await.unwrap();
    let expired = |house: &House| house.status("service:w1") == Some(Health::Critical);
    house.until("the silence of the app is told", expired).await;
    let quiet = |house: &House| {
        house.life.board.entries().iter().all(|(_, entry)| !entry.text.contains("belongs"))
    };
    house.until("the trouble is over", quiet).await;
}
