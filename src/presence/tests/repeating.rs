//! Checks that say what others say, and checks that would run programs.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{CheckDef, CheckKind, Folded, Health, Source, Target};
use crate::presence::PresenceError;
use crate::state::{CatalogOp, NodeDef};

use super::house::{House, config, service, ttl};

fn alias(id: &str, node: Option<&str>, service: Option<&str>) -> CheckDef {
    let (node, service) = (node.map(Arc::from), service.map(Arc::from));
    CheckDef::new(id, id, CheckKind::Alias { node, service })
}

fn said(status: Health, output: &str) -> Option<(Health, String)> {
    Some((status, output.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_the_checks_of_an_instance() {
    let house = House::open(vec![]).await;
    house.presence.register(service("target"), vec![ttl(600)], false).await.unwrap();
    house.presence.register(service("empty"), vec![], false).await.unwrap();
    for (id, of) in [("a", "target"), ("b", "empty"), ("c", "missing")] {
        house.presence.register_check(alias(id, None, Some(of))).await.unwrap();
    }
    let missing = said(Health::Critical, "Service missing could not be found on node ");
    house.until("who is missing is critical", |house| house.check("c") == missing).await;
    // The checks of the node count, too, but for the alias itself and the agent's heartbeat.
    house.presence.deregister_check("c").await.unwrap();
    for (status, note, output) in [
        (Health::Passing, "fine", "All checks passing."),
        (Health::Warning, "hm", "Aliased check \"Service 'web' check\" failing: hm"),
        (Health::Critical, "dead", "Aliased check \"Service 'web' check\" failing: dead"),
        (Health::Passing, "", "All checks passing."),
    ] {
        house.presence.report("service:target", status, note.to_owned()).await.unwrap();
        let wanted = said(status, output);
        house.until(output, |house| house.check("a") == wanted).await;
    }
    house.presence.deregister("target").await.unwrap();
    let gone = said(Health::Critical, "Service target could not be found on node ");
    house.until("its instance is gone", |house| house.check("a") == gone).await;
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_another_node() {
    let house = House::open(vec![]).await;
    let of_node = alias("a", Some("OTHER"), None);
    house.presence.register_check(of_node).await.unwrap();
    let unknown = said(Health::Critical, "Node OTHER could not be found");
    house.until("the node is unknown", |house| house.check("a") == unknown).await;
    let own = house.state().node(super::house::NODE).unwrap().def.clone();
    let other = NodeDef { name: "other".into(), agent: None, uuid: String::new(), ..own };
    house.catalog(CatalogOp::PutNode(other)).await;
    let empty = said(Health::Passing, "No checks found.");
    house.until("the node has no checks", |house| house.check("a") == empty).await;
    house
        .catalog(CatalogOp::PutCheck {
            node: Folded::new("other"),
            def: CheckDef::new("oc", "oc", CheckKind::Static),
            status: Health::Warning,
            output: "hm".to_owned(),
            source: Source::Catalog,
        })
        .await;
    let warned = said(Health::Warning, "Aliased check \"oc\" failing: hm");
    house.until("the node's check warns", |house| house.check("a") == warned).await;
}

fn program() -> CheckDef {
    let target = Target::Exec { argv: vec!["true".to_owned()] };
    let second = Duration::from_secs(1);
    CheckDef::new("p", "p", CheckKind::probe(target, second, second))
}

#[tokio::test(start_paused = true)]
async fn programs_are_run_for_the_config_file_and_not_for_whoever_asks() {
    let house = House::open(vec![(service("own"), vec![program()])]).await;
    let refused = Err(PresenceError::NoPrograms("q".to_owned()));
    let asked = CheckDef { id: "q".into(), ..program() };
    assert_eq!(house.presence.register_check(asked.clone()).await, refused);
    let with = house.presence.register(service("w1"), vec![asked.clone()], false).await;
    assert_eq!(with, refused);
    assert!(!house.has("w1"));
    // Not by the name of a configured one either.
    let again = house.presence.register(service("own"), vec![program()], false).await;
    assert_eq!(again, Err(PresenceError::NoPrograms("p".to_owned())));
    // Nor by way of the catalog, where an agent finds what it ran before.
    house
        .catalog(CatalogOp::PutCheck {
            node: Folded::new(super::house::NODE),
            def: asked,
            status: Health::Critical,
            output: String::new(),
            source: Source::Api,
        })
        .await;
    house.presence.register(service("w2"), vec![], false).await.unwrap();
    assert!(house.has("w2"));
    assert_eq!(house.check("q"), said(Health::Critical, ""), "nobody has run it");
    assert!(config(vec![]).promise().is_ok());
}
