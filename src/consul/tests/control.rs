//! What is asked of the agent as a whole: who it is, what it counts, that it leaves.

use http_body_util::BodyExt as _;
use serde_json::json;

use crate::model::limits;
use crate::state::{CatalogOp, Command};

use super::{Api, check};

#[tokio::test]
async fn instances_are_judged_by_their_checks_and_those_of_the_node() {
    let api = Api::with_presence().await;
    let web = r#"{"ID":"w1","Name":"web","Check":{"CheckID":"c","TTL":"60s","Status":"passing"}}"#;
    api.put("/v1/agent/service/register", web).await;
    api.put("/v1/agent/service/register", r#"{"ID":"w2","Name":"web"}"#).await;
    let of = async |path: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/agent/health/service/{path}");
        let answered = api.send_with("GET", &path, headers, "").await;
        (answered.status, answered.header("x-consul-reason").to_owned(), answered.body)
    };
    let (status, reason, body) = of("id/w1", &[]).await;
    assert_eq!((status, &*reason), (200, "passing"));
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["Checks"][0]["CheckID"], "c");
    assert_eq!(told["Checks"][0]["Definition"]["Interval"], "0s");
    api.put("/v1/agent/check/warn/c?note=so+so", "").await;
    let plain = [("accept", "text/plain")];
    let warned = (429, "warning".to_owned(), "warning".to_owned());
    assert_eq!(of("id/w1", &plain).await, warned);
    assert_eq!(of("name/web?format=text", &[]).await, warned);
    assert_eq!(of("id/w2", &plain).await.0, 200);
    api.put("/v1/agent/check/register", r#"{"Name":"disk","TTL":"60s"}"#).await;
    assert_eq!(of("id/w2?format=text", &[]).await.2, "critical");
    api.put("/v1/agent/service/maintenance/w2?enable=true", "").await;
    assert_eq!(
        of("id/w2?format=text", &[]).await,
        (503, "maintenance".into(), "maintenance".into())
    );
    let nobody = of("id/nope", &[]).await;
    let empty = r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#;
    assert_eq!(nobody, (404, "ServiceId nope not found".into(), empty.into()));
    assert_eq!(of("name/nope", &[]).await, (404, "ServiceName nope Not Found".into(), "[]".into()));
}

#[tokio::test]
async fn the_agents_own_list_has_the_newest_output() {
    let api = Api::with_presence().await;
    let made = r#"{"ID":"c","Name":"c","TTL":"60s","Status":"passing"}"#;
    api.put("/v1/agent/check/register", made).await;
    let output = async || api.get("/v1/agent/checks").await.json()["c"]["Output"].clone();
    for said in ["one", "two", "three"] {
        api.put(&format!("/v1/agent/check/pass/c?note={said}"), "").await;
        assert_eq!(output().await, said);
    }
    let shown = api.get("/v1/health/state/passing?filter=CheckID==c").await.json();
    assert_eq!(shown[0]["Output"], "one", "the catalog is not told of every word");
    api.put("/v1/agent/check/fail/c?note=four", "").await;
    assert_eq!(output().await, "four");
}

#[tokio::test]
async fn an_agent_tells_who_it_is() {
    let api = Api::with_presence().await;
    let told = api.get("/v1/agent/self").await.json();
    assert_eq!(told["Config"]["SessionTTLMin"], told["DebugConfig"]["SessionTTLMin"]);
    assert_eq!(told["DebugConfig"]["ConnectEnabled"], false);
    assert_eq!(told["Coord"]["Vec"].as_array().map(Vec::len), Some(8));
    assert_eq!(told["Stats"]["consul"]["leader"], "true");
    assert_eq!(told["Stats"]["agent"]["services"], "0");
    let version = api.get("/v1/agent/version").await.json();
    assert_eq!(version["HumanVersion"], told["Config"]["Version"]);
    let members = api.get("/v1/agent/members?segment=x").await;
    assert_eq!(members.status, 500, "{members:?}");
    let host = api.get("/v1/agent/host").await.json();
    assert!(host["CollectionTime"].as_u64() > Some(0) && host["Errors"].is_null(), "{host}");
}

#[tokio::test]
async fn what_is_counted_comes_in_two_shapes() {
    let api = Api::new();
    api.get("/v1/status/leader").await;
    let told = api.get("/v1/agent/metrics").await.json();
    let counters = told["Counters"].as_array().unwrap();
    let labels = json!({ "route": "status", "status": "2xx" });
    let counted = counters.iter().find(|counter| counter["Labels"] == labels).unwrap();
    assert_eq!(
        (&counted["Name"], &counted["Count"]),
        (&"remora_http_requests_total".into(), &1.into())
    );
    let text = api.get("/v1/agent/metrics?format=prometheus").await;
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.body.contains("# TYPE remora_http_requests_total counter\n"), "{}", text.body);
}

#[tokio::test]
async fn what_nobody_can_do_here_is_refused() {
    let api = Api::with_presence().await;
    let stops = "this agent is stopping";
    check(
        &api,
        &[
            ("GET", "/v1/agent/monitor?loglevel=x", "", 400, "Bad request: Unknown log level: x"),
            ("GET", "/v1/agent/monitor?loglevel=ERR", "", 200, ""),
            ("PUT", "/v1/agent/leave", "", 500, stops),
            ("PUT", "/v1/agent/reload", "", 500, stops),
            ("PUT", "/v1/agent/force-leave/nope", "", 500, "agent: No node found with name 'nope'"),
            (
                "PUT",
                "/v1/agent/join/not%20an%20address",
                "",
                500,
                "1 error occurred:\n\t* Failed to resolve not an address: lookup not an address: no \
                 such host\n\n",
            ),
        ],
    )
    .await;
    // Who lives stays.
    assert_eq!(api.put("/v1/agent/force-leave/n1", "").await.status, 200);
    assert_eq!(api.get("/v1/agent/members").await.json()[0]["Status"], 1);
}

#[tokio::test]
async fn a_member_that_is_gone_leaves_the_catalog_and_is_still_known() {
    let api = Api::with_presence().await;
    let node = crate::model::Folded::new("n1");
    let silent = CatalogOp::Report {
        node,
        check: crate::state::PRESENCE_CHECK.into(),
        status: crate::model::Health::Critical,
        output: String::new(),
    };
    // The agent itself would say that it lives.
    api.life.shutdown.begin();
    api.cluster.propose(Command::Catalog(vec![silent])).await.unwrap();
    assert_eq!(api.get("/v1/agent/members").await.json()[0]["Status"], 4);
    let answered = api.put("/v1/agent/force-leave/n1", "").await;
    // It is the only server: that one is never taken out.
    assert_eq!(answered.status, 500, "{answered:?}");
    assert!(answered.body.contains("the only one that votes"), "{answered:?}");
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_takes_it() {
    let api = Api::new();
    api.put("/v1/kv/long", "x".repeat(2 * limits::GZIP_LEAST)).await;
    api.put("/v1/kv/short", "x").await;
    let sent = async |path: &str, coding: &str| {
        let answered = api.send_with("GET", path, &[("accept-encoding", coding)], "").await;
        assert_eq!(answered.header("vary"), "Accept-Encoding");
        (answered.header("content-encoding").to_owned(), answered.body.len())
    };
    assert_eq!(sent("/v1/kv/short", "gzip").await.0, "(none)");
    assert_eq!(sent("/v1/kv/long", "br").await.0, "(none)");
    let (coding, len) = sent("/v1/kv/long?raw", "gzip").await;
    assert!(coding == "gzip" && len < 200, "{coding} {len}");
}

#[tokio::test]
async fn what_is_blocked_is_answered_nobody() {
    let mut api = Api::new();
    api.block(&["/v1/event", "/v1/agent/host"]);
    for (path, status) in [("/v1/event/list", 403), ("/v1/agent/host", 403), ("/v1/kv/a", 404)] {
        let answered = api.get(path).await;
        assert_eq!(answered.status, status, "{path}: {answered:?}");
    }
    let text = "Endpoint is blocked by agent configuration";
    assert_eq!(api.put("/v1/event/fire/x", "").await.body, text);
}

#[tokio::test]
async fn a_stream_of_the_log_ends_with_the_agent() {
    let api = Api::new();
    api.shutdown.begin();
    let request = http::Request::get("/v1/agent/monitor").body(axum::body::Body::empty()).unwrap();
    let answered = tower::ServiceExt::oneshot(api.router.clone(), request).await.unwrap();
    assert!(answered.into_body().collect().await.unwrap().to_bytes().is_empty());
}
