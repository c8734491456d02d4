//! Prepared queries over HTTP: made, shown, executed, bound to sessions, deleted.

use serde_json::json;

use super::{Api, check};

async fn create(api: &Api, body: serde_json::Value) -> String {
    let answered = api.send("POST", "/v1/query", body.to_string()).await;
    assert_eq!(answered.status, 200, "{body}: {answered:?}");
    answered.json()["ID"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_query_is_made_shown_executed_and_deleted() {
    let api = Api::with_presence().await;
    for (id, tags) in [("a", r#"["x"]"#), ("b", "[]")] {
        let body = format!(r#"{{"ID":"{id}","Name":"web","Tags":{tags}}}"#);
        assert_eq!(api.put("/v1/agent/service/register", body).await.status, 200);
    }
    let target = json!({"Service": "web", "Tags": ["x"]});
    let id = create(&api, json!({"Name": "q", "Service": target, "DNS": {"TTL": "9s"}})).await;
    let shown = api.get(&format!("/v1/query/{id}")).await.json();
    assert_eq!((&shown[0]["Name"], &shown[0]["Service"]["Tags"]), (&json!("q"), &json!(["x"])));
    assert_eq!(api.get("/v1/query").await.json().as_array().map(Vec::len), Some(1));
    let executed = api.get("/v1/query/q/execute").await.json();
    assert_eq!(executed["Nodes"].as_array().map(Vec::len), Some(1), "{executed}");
    assert_eq!(executed["Nodes"][0]["Service"]["ID"], json!("a"));
    assert_eq!(executed["DNS"]["TTL"], json!("9s"));
    assert_eq!(api.delete(&format!("/v1/query/{id}")).await.status, 200);
    let gone = api.get("/v1/query/q/execute").await;
    assert_eq!((gone.status, gone.body.as_str()), (404, "Query not found"));
}

#[tokio::test]
async fn a_query_says_whose_instances_come_first_and_how_many() {
    let api = Api::new();
    for node in ["a", "b", "c", "d"] {
        let body =
            json!({"Node": node, "Address": "10.0.0.1", "Service": {"ID": node, "Service": "web"}});
        assert_eq!(api.put("/v1/catalog/register", body.to_string()).await.status, 200);
    }
    create(&api, json!({"Name": "q", "Service": {"Service": "web", "Near": "C"}})).await;
    let nodes = async |query: &str| {
        let executed = api.get(&format!("/v1/query/q/execute?{query}")).await.json();
        let nodes = executed["Nodes"].as_array().expect("a list").clone();
        let name = |row: &serde_json::Value| row["Node"]["Node"].as_str().unwrap().to_owned();
        nodes.iter().map(name).collect::<Vec<_>>()
    };
    // They are shuffled: often enough for chance to have put another first.
    for _ in 0..32 {
        assert_eq!(nodes("limit=1").await, ["c"]);
        assert_eq!(nodes("near=b&limit=1").await, ["b"]);
        assert_eq!(nodes("connect=false").await.len(), 4);
    }
    assert_eq!(nodes("limit=3").await.len(), 3);
    assert_eq!(nodes("connect=true").await, [""; 0]);
    let refused = api.get("/v1/query/q/execute?connect=x").await;
    let why = "Error parsing 'connect' value: strconv.ParseBool: parsing \"x\": invalid syntax";
    assert_eq!((refused.status, refused.body.as_str()), (500, why));
}

#[tokio::test]
async fn there_is_nowhere_to_fail_over_to() {
    let api = Api::new();
    let failover = json!({"Datacenters": ["dc8"], "NearestN": 2});
    let service = json!({"Service": "none", "Failover": failover});
    let id = create(&api, json!({"Name": "q", "Service": service})).await;
    let shown = api.get(&format!("/v1/query/{id}")).await.json();
    assert_eq!(shown[0]["Service"]["Failover"], json!({"NearestN": 2, "Datacenters": ["dc8"]}));
    let executed = api.get("/v1/query/q/execute").await.json();
    let said = ["Nodes", "Datacenter", "Failovers"].map(|name| executed[name].clone());
    assert_eq!(said, [json!([]), json!("dc1"), json!(0)]);
}

#[tokio::test]
async fn a_template_answers_names_that_begin_as_its_own() {
    let api = Api::new();
    let template = json!({"Type": "name_prefix_match"});
    let service = json!({"Service": "${name.suffix}"});
    let id = create(&api, json!({"Name": "geo-", "Template": template, "Service": service})).await;
    let by_id = api.get(&format!("/v1/query/{id}/execute")).await;
    let why = "prepared query templates can only be resolved up by name, not by ID";
    assert_eq!((by_id.status, by_id.body.as_str()), (500, why));
    let explained = api.get("/v1/query/geo-db/explain").await.json();
    assert_eq!(explained["Query"]["Service"]["Service"], json!("db"));
    let posted = api.send("POST", "/v1/query/geo-db/execute", "").await;
    assert_eq!((posted.status, posted.header("allow")), (405, "GET"));
}

#[tokio::test]
async fn what_is_wrong_with_a_body_comes_before_what_it_means() {
    let api = Api::new();
    let uuid = "11111111-2222-3333-4444-555555555555";
    let lookup = "Prepared Query lookup failed: failed prepared query lookup: index error: UUID \
                  must be 36 characters";
    let unknown = "Request decode failed: json: unknown field \"Near\"";
    let with_id = format!("{{\"ID\":\"{uuid}\"}}");
    check(
        &api,
        &[
            ("PUT", "/v1/query/q", r#"{"Near":"x"}"#, 400, unknown),
            ("PUT", "/v1/query/q", "{}", 500, lookup),
            (
                "POST",
                "/v1/query",
                &with_id,
                500,
                "ID must be empty when creating a new prepared query",
            ),
            (
                "POST",
                "/v1/query",
                r#"{"Service":{"OnlyPassing":"x"}}"#,
                400,
                "Request decode failed: json: cannot unmarshal string into Go struct field \
                 ServiceQuery.Service.OnlyPassing of type bool",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_query_goes_with_its_session() {
    let api = Api::with_presence().await;
    let session = api.put("/v1/session/create", "{}").await.json()["ID"].clone();
    let id = create(&api, json!({"Session": session, "Service": {"Service": "web"}})).await;
    assert_eq!(api.get(&format!("/v1/query/{id}")).await.status, 200);
    let session = session.as_str().expect("an id");
    assert_eq!(api.put(&format!("/v1/session/destroy/{session}"), "").await.status, 200);
    assert_eq!(api.get(&format!("/v1/query/{id}")).await.status, 404);
}
