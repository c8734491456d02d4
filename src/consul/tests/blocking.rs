//! Blocking queries: what wakes them, what does not, and when they give up.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};

use super::{Answered, Api};

/// Starts a query and gives it time to wait.
async fn waiting(api: &Api, path: String) -> JoinHandle<(Answered, Duration)> {
    let api = api.clone();
    let task = tokio::spawn(async move {
        let began = Instant::now();
        let answered = api.get(&path).await;
        (answered, began.elapsed())
    });
    sleep(Duration::from_millis(1)).await;
    task
}

/// The answer if it is there by now.
async fn woken(task: JoinHandle<(Answered, Duration)>) -> Option<Answered> {
    sleep(Duration::from_millis(1)).await;
    if task.is_finished() { Some(task.await.expect("no panic").0) } else { None }
}

async fn kv_query(api: &Api, path: &str) -> (u64, JoinHandle<(Answered, Duration)>) {
    // Paused time moves once everything rests: the agent's own node is registered by then.
    sleep(Duration::from_millis(5)).await;
    let index = api.get(path).await.index();
    let sign = if path.contains('?') { '&' } else { '?' };
    (index, waiting(api, format!("{path}{sign}index={index}&wait=60s")).await)
}

#[tokio::test(start_paused = true)]
async fn a_key_wakes_only_who_asked_for_it() {
    let api = Api::new();
    api.put("/v1/kv/a", "1").await;
    let (index, task) = kv_query(&api, "/v1/kv/a").await;
    api.put("/v1/kv/other", "1").await;
    api.put("/v1/kv/a", "1").await;
    sleep(Duration::from_millis(5)).await;
    assert!(!task.is_finished(), "neither another key nor the same value wakes");
    api.put("/v1/kv/a", "2").await;
    let answered = woken(task).await.expect("woken by the write");
    assert!(answered.index() > index && answered.body.contains("Mg=="));
}

#[tokio::test(start_paused = true)]
async fn deletion_and_creation_wake() {
    let api = Api::new();
    api.put("/v1/kv/p/a", "1").await;
    let (_, one) = kv_query(&api, "/v1/kv/p/a").await;
    let (index, all) = kv_query(&api, "/v1/kv/p/?recurse").await;
    api.delete("/v1/kv/p/a").await;
    assert_eq!(woken(one).await.map(|a| a.status), Some(404));
    let gone = woken(all).await.expect("the last key under the prefix went");
    assert!(gone.status == 404 && gone.index() > index);
    let (_, missing) = kv_query(&api, "/v1/kv/p/b").await;
    api.put("/v1/kv/elsewhere", "1").await;
    sleep(Duration::from_millis(5)).await;
    assert!(!missing.is_finished());
    api.put("/v1/kv/p/b", "1").await;
    assert_eq!(woken(missing).await.map(|a| a.status), Some(200));
}

#[tokio::test(start_paused = true)]
async fn a_query_gives_up_after_its_wait_and_a_sixteenth_at_most() {
    let api = Api::new();
    api.put("/v1/kv/a", "1").await;
    let index = api.get("/v1/kv/a").await.index();
    for (asked, answered) in [(index, index), (index + 1000, index)] {
        let path = format!("/v1/kv/a?index={asked}&wait=16s");
        let task = waiting(&api, path).await;
        advance(Duration::from_secs(20)).await;
        let (reply, took) = task.await.expect("no panic");
        assert_eq!((reply.status, reply.index()), (200, answered));
        assert!(took >= Duration::from_secs(16), "{took:?}");
    }
    assert_eq!(super::super::blocking::jittered(Duration::from_secs(16), 1.0).as_secs(), 17);
    let at_once = api.get(&format!("/v1/kv/a?index={}&wait=60s", index - 1)).await;
    assert_eq!(at_once.index(), index);
}

fn instance(port: u16, status: &str) -> String {
    format!(
        r#"{{"Node":"b","Address":"10.0.0.2","Service":{{"Service":"web","Port":{port}}},
        "Check":{{"CheckID":"c","ServiceID":"web","Status":"{status}"}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn health_wakes_on_checks_and_catalog_does_not() {
    let api = Api::new();
    api.put("/v1/catalog/register", instance(80, "passing")).await;
    let (_, health) = kv_query(&api, "/v1/health/service/web").await;
    let (index, catalog) = kv_query(&api, "/v1/catalog/service/web").await;
    let other = r#"{"Node":"c","Address":"10.0.0.3","Service":{"Service":"other"}}"#;
    api.put("/v1/catalog/register", other).await;
    api.put("/v1/catalog/register", instance(80, "passing")).await;
    sleep(Duration::from_millis(5)).await;
    assert!(!health.is_finished() && !catalog.is_finished());
    api.put("/v1/catalog/register", instance(80, "critical")).await;
    assert!(woken(health).await.expect("woken").body.contains("critical"));
    assert!(!catalog.is_finished());
    api.put("/v1/catalog/register", instance(81, "critical")).await;
    assert!(woken(catalog).await.expect("woken").index() > index);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_wakes_when_it_comes_and_when_it_goes() {
    let api = Api::new();
    let other = r#"{"Node":"c","Address":"10.0.0.3","Service":{"Service":"other"}}"#;
    api.put("/v1/catalog/register", other).await;
    let (_, absent) = kv_query(&api, "/v1/health/service/web").await;
    api.put("/v1/catalog/deregister", r#"{"Node":"c"}"#).await;
    sleep(Duration::from_millis(5)).await;
    assert!(!absent.is_finished(), "another service that goes is no news of this one");
    api.put("/v1/catalog/register", instance(80, "passing")).await;
    assert!(woken(absent).await.expect("woken").body.contains("web"));
    let (_, present) = kv_query(&api, "/v1/health/service/web").await;
    api.put("/v1/catalog/deregister", r#"{"Node":"b","ServiceID":"web"}"#).await;
    assert_eq!(woken(present).await.expect("woken").body, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_renamed_wakes_who_knew_its_old_name() {
    let api = Api::new();
    api.put("/v1/catalog/register", instance(80, "passing")).await;
    let (_, old) = kv_query(&api, "/v1/health/service/web").await;
    let renamed = r#"{"Node":"b","Address":"10.0.0.2","Service":{"ID":"web","Service":"new"}}"#;
    api.put("/v1/catalog/register", renamed).await;
    assert_eq!(woken(old).await.expect("woken").body, "[]");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_answers_who_waits() {
    let api = Api::new();
    let (index, task) = kv_query(&api, "/v1/catalog/nodes").await;
    api.shutdown.begin();
    assert_eq!(woken(task).await.expect("answered").index(), index);
}
