//! Who is woken by what.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use crate::model::{Folded, Health};
use crate::replica::{Replica, Topic, Watch};
use crate::state::{CatalogOp, Command, DeleteRange, KeyRange, Part, State, presence_check};

use super::{founded, instance, node, put, run, take};

/// Whether the watch has been woken since it was last asked.
fn woken(watch: &mut Watch) -> bool {
    watch.changed().now_or_never().is_some()
}

fn key(name: &str) -> Topic {
    Topic::Key(Bytes::from(name.to_owned()))
}

fn prefix(name: &str) -> Topic {
    Topic::Prefix(Bytes::from(name.to_owned()))
}

fn service(name: &str) -> Topic {
    Topic::Service(Folded::new(name))
}

fn watches<const N: usize>(replica: &Replica, topics: [Topic; N]) -> [Watch; N] {
    topics.map(|topic| replica.watch([topic]))
}

#[test]
fn a_key_wakes_its_own_watchers_and_those_of_its_prefixes() {
    let (mut writer, replica) = founded();
    let topics = [key("a/b"), prefix("a/"), prefix(""), key("a/c"), prefix("a/b/"), prefix("b")];
    let mut all = watches(&replica, topics);
    run(&mut writer, put("a/b", "1"));
    assert_eq!(all.each_mut().map(woken), [true, true, true, false, false, false]);
    assert_eq!(all.each_mut().map(woken), [false; 6], "one change wakes once");
    let range = KeyRange::prefix(&Bytes::from_static(b"a/"));
    run(&mut writer, Command::DeleteRange(DeleteRange { range, prev_kv: false }));
    assert_eq!(all.each_mut().map(woken), [true, true, true, false, false, false]);
}

#[test]
fn a_key_wakes_who_watches_a_range_that_has_it() {
    let (mut writer, replica) = founded();
    let range = |key: &'static str, end: &'static str| {
        Topic::Range(KeyRange { key: key.into(), end: end.into() })
    };
    let ranges =
        [range("a", ""), range("a", "c"), range("b", "c"), range("a", "\0"), range("aa", "b")];
    let mut all = watches(&replica, ranges);
    run(&mut writer, put("a", "1"));
    assert_eq!(all.each_mut().map(woken), [true, true, false, true, false]);
    run(&mut writer, put("b", "1"));
    assert_eq!(all.each_mut().map(woken), [false, true, true, true, false]);
    drop(all);
    assert!(replica.shared.topics.is_empty());
}

#[test]
fn an_instance_that_goes_wakes_only_its_own_service() {
    let (mut writer, replica) = founded();
    let ops = vec![node("x"), instance("x", "w", "web", 80), instance("x", "d", "db", 5432)];
    run(&mut writer, Command::Catalog(ops));
    let mut all = watches(&replica, [service("web"), service("db"), Topic::Services]);
    let gone = CatalogOp::RemoveInstance { node: Folded::new("x"), id: "w".into() };
    run(&mut writer, Command::Catalog(vec![gone]));
    assert_eq!(all.each_mut().map(woken), [true, false, true]);
}

#[test]
fn an_instance_that_moves_wakes_the_service_it_leaves_and_the_one_it_joins() {
    let (mut writer, replica) = founded();
    run(&mut writer, Command::Catalog(vec![node("x"), instance("x", "w", "web", 80)]));
    let mut all = watches(&replica, [service("web"), service("shop"), service("db")]);
    run(&mut writer, Command::Catalog(vec![instance("x", "w", "Shop", 80)]));
    assert_eq!(all.each_mut().map(woken), [true, true, false]);
}

#[test]
fn a_check_that_goes_with_its_instance_wakes_no_other_service_of_the_node() {
    let (mut writer, replica) = founded();
    let mut def = presence_check();
    (def.id, def.service_id) = ("c".into(), Some("w".into()));
    let check = CatalogOp::PutCheck {
        node: Folded::new("x"),
        def,
        status: Health::Passing,
        output: String::new(),
        source: crate::model::Source::Api,
    };
    let ops = vec![node("x"), instance("x", "w", "web", 80), instance("x", "d", "db", 1), check];
    run(&mut writer, Command::Catalog(ops));
    let mut all = watches(&replica, [service("web"), service("db"), Topic::Checks]);
    let gone = CatalogOp::RemoveInstance { node: Folded::new("x"), id: "w".into() };
    run(&mut writer, Command::Catalog(vec![gone]));
    assert_eq!(all.each_mut().map(woken), [true, false, true]);
}

#[test]
fn a_port_concerns_the_service_but_not_the_list_of_services() {
    let (mut writer, replica) = founded();
    run(&mut writer, Command::Catalog(vec![node("x"), instance("x", "w", "web", 80)]));
    let mut all = watches(&replica, [service("web"), Topic::Services, Topic::Nodes]);
    run(&mut writer, Command::Catalog(vec![instance("x", "w", "web", 81)]));
    assert_eq!(all.each_mut().map(woken), [true, false, false]);
    run(&mut writer, Command::Catalog(vec![instance("x", "w", "web", 81)]));
    assert_eq!(all.each_mut().map(woken), [false; 3], "the same again is no change");
}

#[test]
fn a_watch_of_many_topics_wakes_once_for_a_batch() {
    let (mut writer, replica) = founded();
    let mut watch = replica.watch([key("a"), key("b"), prefix("")]);
    take(&mut writer, put("a", "1"));
    take(&mut writer, put("b", "1"));
    assert!(!woken(&mut watch), "not before readers can see it");
    writer.publish();
    assert!(woken(&mut watch));
    assert!(!woken(&mut watch));
}

#[test]
fn an_installed_snapshot_wakes_everyone() {
    let (mut writer, replica) = founded();
    let range = Topic::Range(KeyRange::one("a".into()));
    let mut all = watches(&replica, [key("a"), prefix("z"), service("web"), range]);
    let bytes = writer.state().encode(Part::Server);
    writer.install(State::decode(&bytes, Part::Server).unwrap());
    assert_eq!(all.each_mut().map(woken), [true; 4]);
}

#[test]
fn a_watch_that_is_dropped_leaves_nothing_behind() {
    let (_writer, replica) = founded();
    let kept = replica.watch([prefix("a/"), key("a")]);
    drop(replica.watch([prefix("a/"), prefix("b/"), prefix("b/c"), Topic::All]));
    assert!(!replica.shared.topics.is_empty());
    drop(kept);
    assert!(replica.shared.topics.is_empty());
}

#[tokio::test]
async fn ten_thousand_may_wait_for_one_thing() {
    let (mut writer, replica) = founded();
    let mut waiting: Vec<Watch> = (0..10_000).map(|_| replica.watch([prefix("a")])).collect();
    run(&mut writer, put("a", "1"));
    for watch in &mut waiting {
        watch.changed().await;
    }
    drop(waiting);
    assert!(replica.shared.topics.is_empty());
}

#[tokio::test]
async fn a_change_between_two_looks_is_not_missed() {
    let (mut writer, replica) = founded();
    let mut watch = replica.watch([key("a")]);
    let seen = Arc::new(tokio::sync::Notify::new());
    run(&mut writer, put("a", "1"));
    let waiter = tokio::spawn({
        let seen = seen.clone();
        async move {
            watch.changed().await;
            seen.notify_one();
            watch.changed().await;
        }
    });
    seen.notified().await;
    run(&mut writer, put("a", "2"));
    waiter.await.unwrap();
}
