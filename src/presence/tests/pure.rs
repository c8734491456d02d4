//! Names, limits and the passing of time, as pure values.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{CheckDef, CheckKind, Health, NodeId, Role, Source, Target, limits};
use crate::presence::clockwork::{Clockwork, Due, OUTPUT_REST};
use crate::presence::naming::name_checks;
use crate::presence::promise::{Check, Promise, SERVERS, node_uuid};
use crate::presence::{PresenceError, validate};

use super::house::{config, service, ttl};

#[test]
fn checks_without_ids_are_named_as_consul_names_them() {
    let ids = |checks: Vec<CheckDef>| -> Vec<String> {
        name_checks(&service("w1"), checks).iter().map(|check| check.id.to_string()).collect()
    };
    assert_eq!(ids(vec![ttl(1)]), ["service:w1"]);
    let own = CheckDef::new("own", "", CheckKind::Static);
    assert_eq!(ids(vec![ttl(1), own, ttl(1)]), ["service:w1:1", "own", "service:w1:3"]);
    let named = name_checks(&service("w1"), vec![ttl(1)]).remove(0);
    assert_eq!(named.name.as_ref(), "Service 'web' check");
    assert_eq!(named.service_id.as_deref(), Some("w1"));
}

#[test]
fn a_nodes_uuid_is_its_own_and_always_the_same() {
    let uuid = node_uuid(7, NodeId(1));
    assert_eq!(uuid, node_uuid(7, NodeId(1)));
    assert_ne!(uuid, node_uuid(7, NodeId(2)));
    assert_ne!(uuid, node_uuid(8, NodeId(1)));
    assert_eq!(uuid.len(), 36);
}

fn field(error: Result<(), PresenceError>) -> String {
    match error {
        Err(PresenceError::Invalid { field, .. }) => field,
        other => panic!("{other:?} is no complaint about a field"),
    }
}

#[test]
fn what_is_wrong_is_named() {
    let mut def = service("w1");
    def.meta.insert("a b".to_owned(), "1".to_owned());
    assert_eq!(field(validate::service(&def)), "services[w1].meta");
    def.meta = (0..=limits::META_PAIRS).map(|n| (n.to_string(), String::new())).collect();
    let many = PresenceError::Limit { what: "meta pairs", max: limits::META_PAIRS };
    assert_eq!(validate::service(&def), Err(many));

    let tcp = |interval, timeout| {
        let address = "127.0.0.1:1".to_owned();
        let target = Target::Tcp { address, tls: None };
        CheckDef::new("c", "c", CheckKind::probe(target, interval, timeout))
    };
    let second = Duration::from_secs(1);
    assert_eq!(validate::check(&tcp(second, second)), Ok(()));
    assert_eq!(field(validate::check(&tcp(Duration::ZERO, second))), "checks[c].interval");
    assert_eq!(field(validate::check(&tcp(second, Duration::ZERO))), "checks[c].timeout");
    let ttl = CheckDef::new("c", "c", CheckKind::Ttl { ttl: Duration::ZERO });
    assert_eq!(field(validate::check(&ttl)), "checks[c].ttl");
}

#[test]
fn a_config_that_contradicts_itself_is_refused() {
    let twice = config(vec![(service("w1"), vec![]), (service("w1"), vec![])]);
    assert_eq!(field(twice.promise().map(drop)), "services[w1]");
    let mut own = CheckDef::new("mine", "mine", CheckKind::Static);
    own.service_id = None;
    let shared = config(vec![(service("a"), vec![own.clone()]), (service("b"), vec![own])]);
    assert_eq!(field(shared.promise().map(drop)), "services[b]");
    let mut hasty = config(vec![]);
    hasty.presence_ttl = Duration::from_millis(999);
    assert_eq!(field(hasty.promise().map(drop)), "presence_ttl");
}

fn on_instance(kind: CheckKind) -> Check {
    let mut def = CheckDef::new("c", "c", kind);
    def.service_id = Some("w1".into());
    def.initial = Health::Passing;
    Check::new(def, Source::Api)
}

#[test]
fn silence_is_counted_from_the_last_report() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let ttl = Duration::from_secs(10);
    let check = on_instance(CheckKind::Ttl { ttl });
    let mut clock = Clockwork::default();
    clock.watch(&check, start);
    clock.heard(&check.def.id, ttl, at(9));
    assert_eq!(clock.take_due(at(18)), Due::default());
    assert_eq!(clock.next(), Some(at(19)));
    assert_eq!(clock.take_due(at(19)).silent, vec![check.def.id.clone()]);
    assert_eq!(clock.next(), None, "silence is told once");
}

#[test]
fn an_instance_is_given_up_by_its_first_critical_result_not_its_last() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut check = on_instance(CheckKind::Static);
    check.def.deregister_after = Some(Duration::from_secs(30));
    let mut clock = Clockwork::default();
    clock.watch(&check, start);
    assert_eq!(clock.next(), None);
    assert!(clock.take(&mut check, Health::Critical, "1".to_owned(), at(1)));
    clock.take(&mut check, Health::Critical, "2".to_owned(), at(20));
    clock.watch(&check, at(25));
    assert_eq!(clock.take_due(at(30)).given_up, []);
    assert_eq!(clock.take_due(at(31)).given_up, [check.def.id.clone()]);
    clock.give_up_later(&check, at(32));
    clock.take(&mut check, Health::Passing, String::new(), at(32));
    assert_eq!(clock.take_due(at(99)).given_up, []);
}

#[test]
fn an_output_rests_after_it_was_shown_and_the_newest_is_shown_next() {
    let start = Instant::now();
    let mut check = on_instance(CheckKind::Static);
    let mut clock = Clockwork::default();
    let take = |check: &mut Check, clock: &mut Clockwork, output: &str| {
        clock.take(check, Health::Passing, output.to_owned(), start)
    };
    assert!(take(&mut check, &mut clock, "1"));
    assert!(!take(&mut check, &mut clock, "2"));
    assert!(!take(&mut check, &mut clock, "3"));
    assert_eq!((check.output.as_str(), &*clock.newest(&check)), ("1", "3"));
    let due = clock.take_due(start + OUTPUT_REST);
    assert_eq!(due.rested, [(check.def.id.clone(), "3".to_owned())]);
    // A turn is never held back, and takes what rests with it.
    assert!(take(&mut check, &mut clock, "4"));
    assert!(!take(&mut check, &mut clock, "5"));
    assert!(clock.take(&mut check, Health::Critical, "6".to_owned(), start));
    assert_eq!(clock.newest(&check), "6");
    clock.forget(&check.def.id);
    assert_eq!(clock.next(), None);
}

#[test]
fn only_a_server_is_an_instance_of_the_servers_service() {
    let mut promise: Promise = config(vec![]).promise().unwrap();
    promise.identify(7, NodeId(1), Role::Edge);
    assert_eq!(promise.service(SERVERS), None);
    promise.identify(7, NodeId(1), Role::Server);
    assert_eq!(promise.service(SERVERS).map(|service| service.def.port), Some(8300));
    promise.identify(7, NodeId(2), Role::Edge);
    assert_eq!(promise.service(SERVERS), None);
    assert_eq!(promise.node.agent, Some(NodeId(2)));
}
