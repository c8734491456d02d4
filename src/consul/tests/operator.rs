//! What operators ask over HTTP; coordinates and the mesh, of which there are none.

use serde_json::json;

use super::{Api, check};

#[tokio::test]
async fn operators_see_servers_and_settings() {
    let api = Api::with_presence().await;
    let raft = api.get("/v1/operator/raft/configuration").await.json();
    assert!(raft["Servers"].is_array(), "{raft}");
    assert_eq!(raft["Index"], json!(api.cluster.standing().membership));
    let path = "/v1/operator/autopilot/configuration";
    let index = api.get(path).await.json()["ModifyIndex"].clone();
    assert_eq!(index, json!(1));
    let body = r#"{"MaxTrailingLogs":7,"LastContactThreshold":"300ms"}"#;
    assert_eq!(api.put(&format!("{path}?cas=9"), body).await.body, "false");
    assert_eq!(api.put(&format!("{path}?cas=1"), body).await.body, "true");
    let now = api.get(path).await.json();
    assert_eq!((&now["MaxTrailingLogs"], &now["MinQuorum"]), (&json!(7), &json!(0)));
    assert_eq!(now["LastContactThreshold"], json!("300ms"));
    assert_eq!(api.put(&format!("{path}?cas=1"), body).await.body, "false");
}

#[tokio::test]
async fn there_are_no_coordinates_and_no_mesh() {
    let disabled = "Connect must be enabled in order to use this endpoint";
    let bad = |why: &str| format!("Bad request: {why}");
    let broken = bad("Request decoding failed: unexpected EOF");
    let unknown = bad("Request decoding failed: invalid config entry kind: nope");
    let no_uuid = bad("failed intention lookup: index error: UUID must be 36 characters");
    let entries = "config entries are not supported: there is no service mesh";
    let intention = format!("/v1/connect/intentions/{}", uuid::Uuid::nil());
    let between =
        |what: &str| format!("{what} are not supported: there is one cluster, and no service mesh");
    check(
        &Api::new(),
        &[
            ("GET", "/v1/coordinate/nodes", "", 200, "[]"),
            ("GET", "/v1/coordinate/node/n1", "", 404, ""),
            ("GET", "/v1/connect/intentions", "", 200, "[]"),
            ("GET", "/v1/config/service-defaults", "", 200, "[]"),
            ("GET", "/v1/config/nope", "", 500, "invalid config entry kind: nope"),
            ("PUT", "/v1/config", "{", 400, &broken),
            ("PUT", "/v1/config", r#"{"Kind":"nope"}"#, 400, &unknown),
            ("PUT", "/v1/config", r#"{"Kind":"mesh"}"#, 501, entries),
            ("GET", "/v1/connect/ca/roots", "", 500, disabled),
            ("GET", "/v1/agent/connect/ca/roots", "", 500, disabled),
            ("GET", "/v1/discovery-chain/web", "", 500, disabled),
            ("GET", "/v1/health/connect/web", "", 200, "[]"),
            ("GET", "/v1/catalog/connect/web", "", 200, "[]"),
            ("GET", "/v1/connect/intentions/exact?source=a", "", 400, &no_uuid),
            ("GET", &intention, "", 404, "Intention not found"),
            ("GET", "/v1/peerings", "", 501, &between("peerings")),
            ("GET", "/v1/partitions", "", 501, &between("partitions")),
            ("GET", "/v1/exported-services", "", 501, &between("exported services")),
            ("GET", "/v1/imported-services", "", 501, &between("imported services")),
        ],
    )
    .await;
}
