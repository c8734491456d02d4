//! The agent's own endpoints: apps register, report and leave.

use serde_json::json;

use crate::model::Folded;
use crate::state::{CatalogOp, Command};

use super::{Api, check};

const REGISTER: &str = "/v1/agent/service/register";

#[tokio::test]
async fn a_service_is_registered_shown_replaced_and_deregistered() {
    let api = Api::with_presence().await;
    let body = r#"{"ID":"web1","Name":"web","Tags":["v1"],"Address":"10.1.2.3","Port":8080,
        "Meta":{"a":"b"},"Weights":{"Passing":10,"Warning":2}}"#;
    assert_eq!(api.put(REGISTER, body).await.status, 200);
    let shown = api.get("/v1/agent/services").await.json();
    assert_eq!(shown["web1"]["Service"], "web");
    assert_eq!(
        shown["web1"]["TaggedAddresses"]["lan_ipv4"],
        json!({"Address":"10.1.2.3","Port":8080})
    );
    let one = api.get("/v1/agent/service/web1").await;
    assert_eq!(one.json()["ContentHash"], one.header("x-consul-contenthash"));
    let row = &api.get("/v1/health/service/web?passing").await.json()[0];
    assert_eq!((&row["Node"]["Node"], &row["Service"]["Port"]), (&json!("n1"), &json!(8080)));
    api.put(REGISTER, r#"{"ID":"web1","Name":"web"}"#).await;
    let bare = api.get("/v1/agent/service/web1").await.json();
    assert_eq!((&bare["Tags"], &bare["Meta"], &bare["Port"]), (&json!([]), &json!({}), &json!(0)));
    check(
        &api,
        &[
            ("PUT", "/v1/agent/service/deregister/web1", "", 200, ""),
            ("GET", "/v1/agent/service/web1", "", 404, "unknown service ID: web1"),
            ("GET", "/v1/agent/service/web1?dc=x", "", 404, "unknown service ID: web1"),
            ("GET", "/v1/health/service/web", "", 200, "[]"),
            (
                "PUT",
                "/v1/agent/service/deregister/web1",
                "",
                404,
                "Unknown service ID \"web1\". Ensure that the service ID is passed, not the \
                 service name.",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_ttl_check_says_what_its_app_says() {
    let api = Api::with_presence().await;
    let body = r#"{"Name":"w","Check":{"TTL":"30s","Notes":"n"}}"#;
    api.put(REGISTER, body).await;
    let status = async || api.get("/v1/agent/checks").await.json()["service:w"].clone();
    let first = status().await;
    assert_eq!((&first["Status"], &first["Type"]), (&json!("critical"), &json!("ttl")));
    assert_eq!(first["Name"], "Service 'w' check");
    api.put("/v1/agent/check/pass/service:w?note=all%20is%20well", "").await;
    let passed = status().await;
    assert_eq!((&passed["Status"], &passed["Output"]), (&json!("passing"), &json!("all is well")));
    api.put("/v1/agent/check/update/service:w", r#"{"status":"warning","output":"hm"}"#).await;
    assert_eq!(status().await["Status"], "warning");
    let none = "Unknown check ID \"nope\". Ensure that the check ID is passed, not the check name.";
    check(
        &api,
        &[
            ("PUT", "/v1/agent/check/pass/nope", "", 404, none),
            ("PUT", "/v1/agent/check/update/service:w", "{}", 400, "Invalid check status: ''"),
            ("PUT", "/v1/agent/check/deregister/", "", 500, "CheckID missing"),
            ("PUT", "/v1/agent/check/deregister/service:w", "", 200, ""),
            ("GET", "/v1/agent/checks", "", 200, "{}"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_instance_of_another_node_is_deregistered_from_here() {
    let api = Api::with_presence().await;
    for node in ["b", "c"] {
        let body =
            format!(r#"{{"Node":"{node}","Address":"1.2.3.4","Service":{{"Service":"web"}}}}"#);
        api.put("/v1/catalog/register", body).await;
    }
    let path = "/v1/agent/service/deregister/web";
    assert_eq!(api.put(path, "").await.status, 404, "two nodes have it: which one is meant?");
    let op = CatalogOp::RemoveNode(Folded::new("c"));
    let _ = api.cluster.propose(Command::Catalog(vec![op])).await;
    assert_eq!(api.put(path, "").await.status, 200);
    assert_eq!(api.get("/v1/catalog/service/web").await.body, "[]");
}

#[tokio::test]
async fn bad_definitions_are_refused_in_consuls_words() {
    let api = Api::with_presence().await;
    let decode = |text: &str| format!("Request decode failed: {text}");
    let x = |rest: &str| format!(r#"{{"Name":"x",{rest}}}"#);
    let meta = |text: &str| format!("Invalid Service Meta: Couldn't load metadata pair {text}");
    let interval = "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks";
    let table: Vec<(String, u16, String)> = vec![
        (String::new(), 400, decode("EOF")),
        ("{".into(), 400, decode("unexpected EOF")),
        ("null".into(), 400, "Missing service name".into()),
        (r#"{"ID":"x"}"#.into(), 400, "Missing service name".into()),
        (
            r#"{"Name":5}"#.into(),
            400,
            decode("json: cannot unmarshal number into Go struct field .Name of type string"),
        ),
        (
            x(r#""Port":"80""#),
            400,
            decode("json: cannot unmarshal string into Go struct field .Port of type int"),
        ),
        (
            x(r#""Port":8.5"#),
            400,
            decode("json: cannot unmarshal number 8.5 into Go struct field .Port of type int"),
        ),
        (
            x(r#""Tags":"a""#),
            400,
            decode("json: cannot unmarshal string into Go struct field .Tags of type []string"),
        ),
        (
            x(r#""Meta":{"a":1}"#),
            400,
            decode("json: cannot unmarshal number into Go struct field .Meta of type string"),
        ),
        (x(r#""Bogus":1"#), 400, decode("json: unknown field \"Bogus\"")),
        (
            x(r#""Check":{"TTL":"1s","check_id":"c"}"#),
            400,
            decode("json: unknown field \"check_id\""),
        ),
        (x(r#""Address":"0.0.0.0""#), 400, "Invalid service address".into()),
        (
            x(r#""TaggedAddresses":{"lan_ipv4":{"Address":"::1"}}"#),
            500,
            "Service tagged address \"lan_ipv4\" must be a valid ipv4 address".into(),
        ),
        (x(r#""Meta":{"a b":"1"}"#), 400, meta("('a b', '1'): Key contains invalid characters")),
        (x(r#""Meta":{"":"1"}"#), 400, meta("('', '1'): Key cannot be blank")),
        (
            x(r#""Weights":{"Passing":0,"Warning":0},"Meta":{"":"1"}"#),
            400,
            "Invalid Weights: Passing must be greater than 0".into(),
        ),
        (
            x(r#""Weights":{"Passing":65536,"Warning":1}"#),
            400,
            "Invalid Weights: DNS Weight must be between 0 and 65535".into(),
        ),
        (x(r#""Check":{"Name":"n"}"#), 400, "Invalid check: TTL must be > 0 for TTL checks".into()),
        (x(r#""Check":{"HTTP":"http://127.0.0.1"}"#), 400, interval.into()),
        (
            x(r#""Check":{"TTL":"10s","Interval":"10s"}"#),
            400,
            "Invalid check: Interval and TTL cannot both be specified".into(),
        ),
        (
            x(r#""Check":{"TTL":"10s","Status":"bad"}"#),
            400,
            "Status for checks must 'passing', 'warning', 'critical'".into(),
        ),
        (x(r#""Check":{"TTL":"abc"}"#), 400, decode("time: invalid duration \"abc\"")),
    ];
    for (body, status, text) in table {
        let answered = api.put(REGISTER, body.clone()).await;
        assert_eq!((answered.status, answered.body), (status, text), "{body}");
    }
    for good in
        [r#"{"Name":"x"} trailing"#, r#"{"NAME":"up","Check":{}}"#, r#"{"Name":"x","Port":-1}"#]
    {
        assert_eq!(api.put(REGISTER, good).await.status, 200, "{good}");
    }
    check(
        &api,
        &[
            ("PUT", "/v1/agent/check/register", r#"{"ID":"x"}"#, 400, "Missing check name"),
            (
                "PUT",
                "/v1/agent/check/register",
                r#"{"Name":"x","TTL":"10s","Status":"bad"}"#,
                400,
                "Bad check status",
            ),
            (
                "PUT",
                "/v1/agent/check/register",
                r#"{"Name":"x","TTL":"10s","ServiceID":"nope"}"#,
                404,
                "ServiceID \"nope\" does not exist",
            ),
            ("PUT", "/v1/agent/service/deregister/", "", 500, "ServiceID missing"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_service_is_waited_for_by_its_hash() {
    let api = Api::with_presence().await;
    api.put(REGISTER, r#"{"Name":"h","Port":1}"#).await;
    let hash = api.get("/v1/agent/service/h").await.header("x-consul-contenthash").to_owned();
    let path = format!("/v1/agent/service/h?hash={hash}&wait=60s");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.get(&path).await }
    });
    api.put(REGISTER, r#"{"Name":"h","Port":2}"#).await;
    let answered = waiting.await.expect("no panic");
    assert_eq!(answered.json()["Port"], 2);
}

#[tokio::test]
async fn an_agent_says_who_it_is() {
    let api = Api::with_presence().await;
    let own = api.get("/v1/agent/self").await.json();
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    assert_eq!(own["Config"]["NodeName"], "n1");
    assert_eq!(own["DebugConfig"]["SessionTTLMin"], "10s");
    assert_eq!(own["Member"]["Status"], 1);
    let members = api.get("/v1/agent/members").await.json();
    assert_eq!(
        (&members[0]["Name"], &members[0]["Tags"]["role"]),
        (&json!("n1"), &json!("consul"))
    );
}

#[tokio::test]
async fn maintenance_takes_an_instance_or_the_node_out_and_keeps_the_first_reason() {
    const MODE: &str = "/v1/agent/service/maintenance/w";
    let api = Api::with_presence().await;
    api.put(REGISTER, r#"{"Name":"w","Port":80}"#).await;
    check(
        &api,
        &[
            ("PUT", MODE, "", 400, "Missing value for enable"),
            ("PUT", &format!("{MODE}?enable=x"), "", 400, "Invalid value for enable: \"x\""),
            ("PUT", "/v1/agent/service/maintenance/?enable=true", "", 400, "Missing service ID"),
            ("PUT", &format!("{MODE}?enable=false"), "", 200, ""),
            ("PUT", &format!("{MODE}?enable=true&reason=because"), "", 200, ""),
            ("PUT", &format!("{MODE}?enable=1&reason=another"), "", 200, ""),
            ("GET", "/v1/health/service/w?passing", "", 200, "[]"),
        ],
    )
    .await;
    let unknown = api.put("/v1/agent/service/maintenance/none?enable=true", "").await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    let shown = api.get("/v1/agent/checks").await.json()["_service_maintenance:w"].clone();
    assert_eq!((&shown["Notes"], &shown["Type"]), (&json!("because"), &json!("maintenance")));
    assert_eq!((&shown["Status"], &shown["ServiceID"]), (&json!("critical"), &json!("w")));
    api.put(&format!("{MODE}?enable=0"), "").await;
    let in_use = async || api.get("/v1/health/service/w?passing").await.body != "[]";
    assert!(in_use().await, "back in use");

    assert_eq!(api.put("/v1/agent/maintenance?enable=true", "").await.status, 200);
    assert!(!in_use().await, "the node takes its instances with it");
    assert_eq!(api.put("/v1/agent/maintenance?enable=false", "").await.status, 200);
    assert!(in_use().await);
}
