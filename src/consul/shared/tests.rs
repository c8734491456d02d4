//! Who asks the same shares one evaluation; who waits is told of another answer, and of none else.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::consul::tests::{Answered, Api};
use crate::model::limits;

use super::{Mark, Patience, Sight};

/// The value of a metric.
fn told(api: &Api, name: &str) -> u64 {
    let text = api.metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect(name).parse().expect("a number")
}

fn made(api: &Api) -> u64 {
    told(api, "remora_consul_answers_made_total")
}

/// An instance of a service with a check.
async fn put(api: &Api, node: &str, service: &str, port: u16, status: &str, output: &str) {
    let body = format!(
        r#"{{"Node":"{node}","Address":"10.0.0.1","Service":{{"Service":"{service}","Port":{port}}},
        "Check":{{"CheckID":"c","ServiceID":"{service}","Status":"{status}","Output":"{output}"}}}}"#
    );
    let answered = api.put("/v1/catalog/register", body).await;
    assert_eq!(answered.status, 200, "{answered:?}");
}

fn ask(api: &Api, path: &str) -> JoinHandle<Answered> {
    let (api, path) = (api.clone(), path.to_owned());
    tokio::spawn(async move { api.get(&path).await })
}

/// Gives everybody time to wait, or to be woken: paused time moves once all rest.
async fn rest() {
    sleep(Duration::from_millis(5)).await;
}

async fn waiting(api: &Api, path: &str) -> JoinHandle<Answered> {
    let index = api.get(path).await.index();
    let sign = if path.contains('?') { '&' } else { '?' };
    let task = ask(api, &format!("{path}{sign}index={index}&wait=60s"));
    rest().await;
    assert!(!task.is_finished(), "{path}");
    task
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_answered_by_one_evaluation() {
    let api = Api::new();
    put(&api, "a", "web", 80, "passing", "").await;
    let index = api.get("/v1/health/service/web").await.index();
    let before = made(&api);
    let tasks: Vec<_> = (0..300)
        .map(|nth| {
            // How long, how fresh and in which order it was said is no other question.
            let freshness = ["", "&stale", "&consistent"][nth % 3];
            let wait = 30 + nth % 7;
            let path = format!("/v1/health/service/web?index={index}&wait={wait}s{freshness}");
            ask(&api, &path)
        })
        .collect();
    rest().await;
    assert_eq!(made(&api), before, "what was told already is told again");
    put(&api, "a", "web", 80, "critical", "").await;
    rest().await;
    for task in tasks {
        assert!(task.is_finished());
        let answered = task.await.expect("no panic");
        assert!(answered.index() > index && answered.body.contains("critical"), "{answered:?}");
    }
    // The instance and its check are one command.
    assert_eq!(made(&api), before + 1);
    assert!(api.get("/v1/health/service/web").await.index() > index);
    assert_eq!(made(&api), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_another_evaluates_nothing() {
    let api = Api::new();
    put(&api, "a", "web", 80, "passing", "").await;
    put(&api, "b", "db", 80, "passing", "").await;
    api.put("/v1/kv/a/1", "1").await;
    api.put("/v1/kv/b/1", "1").await;
    let mut tasks = Vec::new();
    for path in [
        "/v1/health/service/web",
        "/v1/catalog/service/web",
        "/v1/health/checks/web",
        "/v1/health/node/a",
        "/v1/catalog/node/a",
        "/v1/kv/a/1",
        "/v1/kv/a/?recurse",
        "/v1/kv/a/?keys",
    ] {
        tasks.push(waiting(&api, path).await);
    }
    let before = made(&api);
    put(&api, "b", "db", 81, "critical", "out").await;
    api.put("/v1/kv/b/1", "2").await;
    api.delete("/v1/kv/b/1").await;
    rest().await;
    assert_eq!(made(&api), before);
    assert!(tasks.iter().all(|task| !task.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_leaves_the_rows_goes_on_waiting() {
    let api = Api::new();
    put(&api, "a", "web", 80, "passing", "").await;
    put(&api, "b", "web", 80, "critical", "").await;
    let passing = waiting(&api, "/v1/health/service/web?passing").await;
    let all = waiting(&api, "/v1/health/service/web").await;
    let before = made(&api);
    put(&api, "b", "web", 80, "critical", "still").await;
    rest().await;
    assert_eq!(made(&api), before + 2, "both were looked at");
    assert!(all.is_finished() && !passing.is_finished());
    put(&api, "b", "web", 80, "passing", "well").await;
    rest().await;
    assert!(passing.is_finished());
    let both = passing.await.expect("no panic").json();
    assert_eq!(both.as_array().map(Vec::len), Some(2));
    // In the end the index is that of now, although nothing else is told.
    let path = "/v1/health/service/web?filter=Service.Port==80 and Node.Node==a";
    let path = path.replace(' ', "+");
    let filtered = waiting(&api, &path).await;
    let index = api.get(&path).await.index();
    put(&api, "b", "web", 80, "critical", "").await;
    sleep(Duration::from_secs(30)).await;
    assert!(!filtered.is_finished());
    sleep(Duration::from_secs(40)).await;
    assert!(filtered.await.expect("no panic").index() > index);
}

#[tokio::test(start_paused = true)]
async fn sessions_and_queries_are_waited_for_as_the_catalog_is() {
    let api = Api::new();
    let node = r#"{"Node":"n","Address":"10.0.0.1"}"#;
    assert_eq!(api.put("/v1/catalog/register", node).await.status, 200);
    let create = async || {
        let answered = api.put("/v1/session/create", r#"{"Node":"n","NodeChecks":[]}"#).await;
        answered.json()["ID"].as_str().expect("an id").to_owned()
    };
    let kept = create().await;
    let (info, on) = (format!("/v1/session/info/{kept}"), "/v1/session/node/n");
    let mut lists = Vec::new();
    for path in [on, "/v1/session/list", on, "/v1/session/list"] {
        lists.push(waiting(&api, path).await);
    }
    let elsewhere = waiting(&api, "/v1/session/node/other").await;
    let one = waiting(&api, &info).await;
    let before = made(&api);
    create().await;
    rest().await;
    assert_eq!(made(&api), before + 4, "each is looked at once");
    for list in lists {
        assert_eq!(list.await.expect("woken").json().as_array().map(Vec::len), Some(2));
    }
    assert!(!one.is_finished() && !elsewhere.is_finished(), "their rows are as they were");
    api.put(&format!("/v1/session/destroy/{kept}"), "").await;
    rest().await;
    assert_eq!(one.await.expect("woken").body, "[]");

    let make = async |name: &str| {
        let body = format!(r#"{{"Name":"{name}","Service":{{"Service":"web"}}}}"#);
        let answered = api.send_with("POST", "/v1/query", &[], body).await;
        answered.json()["ID"].as_str().expect("an id").to_owned()
    };
    let made_first = make("first").await;
    let query = format!("/v1/query/{made_first}");
    let all = waiting(&api, "/v1/query").await;
    let one = waiting(&api, &query).await;
    make("second").await;
    rest().await;
    assert_eq!(all.await.expect("woken").json().as_array().map(Vec::len), Some(2));
    assert!(!one.is_finished());
    api.delete(&query).await;
    rest().await;
    let gone = one.await.expect("woken");
    assert_eq!((gone.status, &*gone.body), (404, "Query not found"));
}

#[test]
fn a_wait_ends_with_other_rows_of_a_higher_index() {
    let sight = |index, digest| Sight {
        mark: Mark { index, found: true },
        digest,
        lineage: 1,
        allowed: true,
    };
    let ends = |now| Patience { asked: 7, began: sight(5, 1) }.ends(now);
    assert!(ends(sight(8, 2)));
    assert!(!ends(sight(8, 1)), "the rows are as they were");
    assert!(!ends(sight(7, 2)), "the caller has asked for later ones");
    assert!(ends(Sight { lineage: 2, ..sight(5, 1) }));
    assert!(ends(Sight { allowed: false, ..sight(5, 1) }));
    let absent = |index| Sight { mark: Mark { index, found: false }, ..sight(index, 1) };
    let mut patience = Patience { asked: 7, began: absent(5) };
    assert!(!patience.ends(absent(9)), "what is not there is moved by others");
    assert!(!patience.ends(sight(9, 2)) && patience.ends(sight(10, 2)));
    assert!(ends(Sight { digest: 2, ..absent(8) }), "it has gone");
}

#[tokio::test(start_paused = true)]
async fn a_filter_over_all_services_wakes_for_what_it_looks_at() {
    let api = Api::new();
    put(&api, "a", "web", 80, "passing", "").await;
    let names = waiting(&api, "/v1/catalog/services").await;
    let by_port = waiting(&api, "/v1/catalog/services?filter=ServicePort==81").await;
    put(&api, "b", "db", 90, "passing", "").await;
    rest().await;
    assert!(names.is_finished() && !by_port.is_finished());
    put(&api, "a", "web", 81, "passing", "").await;
    rest().await;
    assert!(by_port.is_finished());
    assert_eq!(by_port.await.expect("woken").body, r#"{"web":[]}"#);
    let by_meta = waiting(&api, "/v1/health/state/any?node-meta=rack:1").await;
    let node = r#"{"Node":"a","Address":"10.0.0.1","NodeMeta":{"rack":"1"}}"#;
    api.put("/v1/catalog/register", node).await;
    rest().await;
    assert!(by_meta.is_finished());
    assert_eq!(by_meta.await.expect("woken").json().as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_evaluated_for_who_has_gone() {
    let api = Api::new();
    put(&api, "a", "web", 80, "passing", "").await;
    let one = waiting(&api, "/v1/health/service/web").await;
    let other = waiting(&api, "/v1/health/service/web").await;
    one.abort();
    rest().await;
    put(&api, "a", "web", 81, "passing", "").await;
    rest().await;
    assert!(other.is_finished(), "who is left is told");
    let gone = waiting(&api, "/v1/health/service/web").await;
    gone.abort();
    rest().await;
    let before = made(&api);
    put(&api, "a", "web", 82, "passing", "").await;
    rest().await;
    assert_eq!(made(&api), before);
    let again = waiting(&api, "/v1/health/service/web").await;
    put(&api, "a", "web", 83, "passing", "").await;
    rest().await;
    assert!(again.is_finished());
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_within_their_bound() {
    let api = Api::new();
    for nth in 0..8 {
        api.put(&format!("/v1/kv/big/{nth}"), "x".repeat(100_000)).await;
    }
    let bytes = || told(&api, "remora_consul_answers_bytes");
    // Each question is another, and each answer a megabyte.
    for nth in 0..40 {
        let path = format!("/v1/kv/big/?recurse&nth={nth}");
        assert_eq!(api.get(&path).await.status, 200);
    }
    let one = 8 * 100_000 * 4 / 3 + 4096;
    let bound = limits::ANSWERS + limits::ANSWER_SHELVES * one;
    assert!(bytes() > one as u64 && bytes() <= bound as u64, "{}", bytes());
    for nth in 0..20_000 {
        assert_eq!(api.get(&format!("/v1/health/service/none-{nth}")).await.body, "[]");
    }
    assert!(bytes() <= limits::ANSWERS as u64, "{}", bytes());
    // Who was let go is asked for anew.
    let before = made(&api);
    api.get("/v1/health/service/none-19999").await;
    assert_eq!(made(&api), before);
    api.get("/v1/kv/big/?recurse&nth=0").await;
    assert_eq!(made(&api), before + 1);
}
