//! Registering, reporting and deregistering through the handle.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::model::{CheckDef, CheckKind, Health, NodeName};
use crate::presence::{PresenceError, start};
use crate::telemetry::Metrics;

use super::house::{self, House, service, ttl};

#[tokio::test(start_paused = true)]
async fn the_agent_is_there_with_its_node_and_its_configured_services() {
    let house = House::open(vec![(service("w1"), vec![])]).await;
    let state = house.state();
    assert_eq!(state.node("web-1").unwrap().def.address.as_ref(), "10.0.0.1");
    assert_eq!(house.status("serfHealth"), Some(Health::Passing));
    assert_eq!(state.instances("consul").next().unwrap().instance.def.port, 8300);
    assert_eq!(house.healthy(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_to_stop_promises_nothing() {
    // It would not do so each time.
    for _ in 0..64 {
        let cluster = Cluster::solo(NodeName::new(house::NODE).unwrap());
        let life = Life::default();
        life.shutdown.begin();
        let config = house::config(vec![(service("w1"), vec![])]);
        let _presence = start(config, cluster.clone(), life.clone(), &Metrics::default()).unwrap();
        assert!(life.tasks.join(Duration::from_secs(5)).await);
        assert_eq!(cluster.snapshot().nodes().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_follows_its_reports_and_its_deadline() {
    let house = House::open(vec![]).await;
    house.presence.register(service("w1"), vec![ttl(15)], false).await.unwrap();
    assert_eq!(house.status("service:w1"), Some(Health::Critical));
    assert_eq!(house.healthy(), 0);

    house.presence.report("service:w1", Health::Passing, "fine".to_owned()).await.unwrap();
    assert_eq!(house.check("service:w1"), Some((Health::Passing, "fine".to_owned())));
    assert_eq!(house.healthy(), 1);

    tokio::time::sleep(Duration::from_secs(14)).await;
    house.presence.report("service:w1", Health::Passing, "fine".to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(house.healthy(), 1, "the report has moved the deadline");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = "TTL expired (last output before timeout follows): fine".to_owned();
    assert_eq!(house.check("service:w1"), Some((Health::Critical, said)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_said_to_be_unknown() {
    let house = House::open(vec![]).await;
    let presence = &house.presence;
    let unknown = PresenceError::UnknownService("nope".to_owned());
    assert_eq!(presence.deregister("nope").await, Err(unknown.clone()));
    let mut check = CheckDef::new("c", "c", CheckKind::Static);
    check.service_id = Some("nope".into());
    assert_eq!(presence.register_check(check).await, Err(unknown));
    let report = presence.report("nope", Health::Passing, String::new()).await;
    assert_eq!(report, Err(PresenceError::UnknownCheck("nope".to_owned())));
    let report = presence.report("serfHealth", Health::Passing, String::new()).await;
    assert_eq!(report, Err(PresenceError::NotTtl("serfHealth".to_owned())));
    let taken = presence.deregister("consul").await;
    assert_eq!(taken, Err(PresenceError::Reserved("consul".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn registering_again_replaces_the_whole_but_keeps_the_status_of_its_checks() {
    let house = House::open(vec![]).await;
    let mut first = service("w1");
    first.tags = vec!["v1".into()];
    house.presence.register(first, vec![ttl(15), ttl(20)], false).await.unwrap();
    house.presence.report("service:w1:2", Health::Warning, "hm".to_owned()).await.unwrap();

    house.presence.register(service("w1"), vec![ttl(30), ttl(40)], true).await.unwrap();
    let state = house.state();
    assert!(state.instances("web").next().unwrap().instance.def.tags.is_empty());
    assert_eq!(house.check("service:w1:2"), Some((Health::Warning, "hm".to_owned())));

    house.presence.register(service("w1"), vec![ttl(30)], true).await.unwrap();
    assert_eq!(house.status("service:w1:2"), None, "checks not listed are dropped");
    assert_eq!(house.status("service:w1"), Some(Health::Critical));
}

#[tokio::test(start_paused = true)]
async fn repeated_reports_and_registrations_are_not_logged() {
    let house = House::open(vec![]).await;
    house.presence.register(service("w1"), vec![ttl(15)], false).await.unwrap();
    house.presence.report("service:w1", Health::Passing, String::new()).await.unwrap();
    let applied = house.state().applied();
    for _ in 0..10 {
        house.presence.report("service:w1", Health::Passing, String::new()).await.unwrap();
        house.presence.register(service("w1"), vec![ttl(15)], false).await.unwrap();
    }
    assert_eq!(house.state().applied(), applied);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_changes_with_every_report_is_shown_once_a_minute() {
    let house = House::open(vec![]).await;
    house.presence.register(service("w1"), vec![ttl(15)], false).await.unwrap();
    house.presence.report("service:w1", Health::Passing, "0".to_owned()).await.unwrap();
    let before = house.state().index();
    for tick in 1..=120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.presence.report("service:w1", Health::Passing, tick.to_string()).await.unwrap();
    }
    house.until("the output has rested", |house| house.state().index() > before + 1).await;
    let logged = house.state().index() - before;
    assert!((2..=3).contains(&logged), "{logged} changes for 120 outputs");
}
