//! Events over HTTP: fired, listed, waited for.

use std::time::Duration;

use tokio::time::timeout;

use super::{Api, check};

#[tokio::test(start_paused = true)]
async fn an_event_is_fired_listed_and_waited_for() {
    let api = Api::new();
    let none = api.get("/v1/event/list").await;
    assert_eq!((none.body.as_str(), none.index()), ("[]", 1));
    let fired = api.put("/v1/event/fire/deploy", "payload").await.json();
    assert_eq!(
        (fired["Payload"].as_str(), fired["LTime"].as_u64()),
        (Some("cGF5bG9hZA=="), Some(0))
    );
    api.put("/v1/event/fire/other?node=elsewhere", "").await;
    let listed = api.get("/v1/event/list").await;
    assert_eq!(listed.json().as_array().map(Vec::len), Some(1), "{listed:?}");
    assert_eq!(listed.json()[0]["ID"], fired["ID"]);
    let path = format!("/v1/event/list?name=deploy&wait=60s&index={}", listed.index());
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.get(&path).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    api.put("/v1/event/fire/else", "").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    api.put("/v1/event/fire/deploy", "").await;
    let told = timeout(Duration::from_secs(1), waiting).await.expect("at once").expect("told");
    assert_ne!(told.index(), listed.index());
    // The one that stands for both halves of the newest one's id.
    let newest = told.json()[1]["ID"].as_str().expect("an id").replace('-', "");
    let half = |hex: &str| u64::from_str_radix(hex, 16).expect("hex");
    assert_eq!(told.index(), half(&newest[..16]) ^ half(&newest[16..]));
    assert_eq!(told.json().as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_event_is_for_those_whom_its_patterns_fit() {
    let api = Api::with_presence().await;
    let service = r#"{"ID":"w","Name":"web","Tags":["red"]}"#;
    assert_eq!(api.put("/v1/agent/service/register", service).await.status, 200);
    let elsewhere = r#"{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"db"}}"#;
    assert_eq!(api.put("/v1/catalog/register", elsewhere).await.status, 200);
    let cases = [
        ("node=n1", true),
        ("node=1", true),
        ("node=%5En", true),
        ("node=%5E1", false),
        ("node=n2", false),
        ("service=web", true),
        ("service=%5Eeb", false),
        ("service=db", false),
        ("service=web&tag=red", true),
        ("service=web&tag=ed$", true),
        ("service=web&tag=blue", false),
        ("service=db&tag=red", false),
        ("node=n2&service=web", false),
        ("node=n1&service=web&tag=red", true),
    ];
    for (at, (filters, is_for_it)) in cases.into_iter().enumerate() {
        let fired = api.put(&format!("/v1/event/fire/e{at}?{filters}"), "").await;
        assert_eq!(fired.status, 200, "{filters}: {fired:?}");
        let listed = api.get(&format!("/v1/event/list?name=e{at}")).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(usize::from(is_for_it)), "{filters}");
    }
}

#[tokio::test]
async fn an_event_may_come_by_post() {
    let api = Api::new();
    let fired = api.send("POST", "/v1/event/fire/deploy", "x").await;
    assert_eq!(fired.status, 200, "{fired:?}");
    let listed = api.get("/v1/event/list").await.json();
    assert_eq!(listed[0]["ID"], fired.json()["ID"]);
}

#[tokio::test]
async fn what_cannot_be_fired_is_refused() {
    let tag = "Cannot provide tag filter without service filter";
    check(
        &Api::new(),
        &[
            ("PUT", "/v1/event/fire/", "", 400, "Missing name"),
            ("PUT", "/v1/event/fire/t?tag=t", "x", 500, tag),
            ("PUT", "/v1/event/fire/t?dc=dc9", "x", 500, "No path to datacenter"),
        ],
    )
    .await;
}
