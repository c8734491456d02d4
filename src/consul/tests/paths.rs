//! Paths, methods and shared parameters: redirects, refusals, and their headers.

use super::{Api, check};

#[tokio::test]
async fn unclean_paths_are_redirected() {
    let api = Api::new();
    let cases = [
        ("/v1/kv", "/v1/kv/"),
        ("/v1/kv//none?raw&x=1", "/v1/kv/none?raw&x=1"),
        ("/v1/kv/a/../b", "/v1/kv/b"),
        ("//v1/status/leader", "/v1/status/leader"),
        ("/v1/catalog/service", "/v1/catalog/service/"),
        ("/v1/catalog/node/..%2Fx", "/v1/catalog/x"),
    ];
    for (path, location) in cases {
        let answered = api.get(path).await;
        assert_eq!((answered.status, answered.header("location")), (301, location), "{path}");
    }
    let page = api.get("/v1/kv/a//b").await.body;
    assert_eq!(page, "<a href=\"/v1/kv/a/b\">Moved Permanently</a>.\n\n");
}

#[tokio::test]
async fn what_is_no_path_or_no_method_is_refused() {
    let api = Api::new();
    let unknown = "Invalid URL path: not a recognized HTTP API endpoint\n";
    let outside = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts \
        with '/v1/'\n";
    check(
        &api,
        &[
            ("GET", "/v1/nope", "", 404, unknown),
            ("PUT", "/v1/agent", "", 404, unknown),
            ("GET", "/kv/a", "", 404, outside),
            ("GET", "/v1/kv/%zz", "", 400, "400 Bad Request"),
            ("GET", "/v1/catalog/service/a%00b", "", 400, ""),
            ("GET", "/v1/catalog/service/%E2%80%A8", "", 400, ""),
            ("POST", "/v1/kv/a", "x", 405, "method POST not allowed"),
            ("HEAD", "/v1/kv/a", "", 405, ""),
            ("GET", "/v1/catalog/register", "", 405, "method GET not allowed"),
            ("OPTIONS", "/v1/status/leader", "", 200, ""),
        ],
    )
    .await;
    assert_eq!(api.send("POST", "/v1/kv/a", "").await.header("allow"), "OPTIONS,GET,PUT,DELETE");
    assert_eq!(api.send("OPTIONS", "/v1/kv/a", "").await.header("allow"), "OPTIONS,GET,PUT,DELETE");
}

#[tokio::test]
async fn what_consuls_agents_keep_is_told_from_the_rest() {
    let api = Api::new();
    for (path, kept) in [
        ("/v1/catalog/datacenters", true),
        ("/v1/catalog/services", true),
        ("/v1/catalog/service/web", true),
        ("/v1/health/service/web", true),
        ("/v1/health/connect/web", true),
        ("/v1/catalog/nodes", false),
        ("/v1/health/state/any", false),
        ("/v1/query", false),
        ("/v1/session/list", false),
    ] {
        let answered = api.get(&format!("{path}?cached")).await;
        assert_eq!(answered.header("x-cache"), if kept { "MISS" } else { "(none)" }, "{path}");
        assert_eq!(api.get(path).await.header("x-cache"), "(none)", "{path}");
    }
}

#[tokio::test]
async fn shared_parameters_are_checked() {
    let api = Api::new();
    let stale = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    let cached = "Cannot specify ?cached with ?consistent, conflicting semantics.";
    let ns = "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise \
        feature";
    for path in
        ["/v1/kv/pp", "/v1/health/service/consul", "/v1/catalog/nodes", "/v1/health/state/any"]
    {
        let with = |params: &str| format!("{path}?{params}");
        check(
            &api,
            &[
                ("GET", &with("stale&consistent"), "", 400, stale),
                ("GET", &with("max_stale=10s&consistent"), "", 400, stale),
                ("GET", &with("cached&consistent=1"), "", 400, cached),
                ("GET", &with("max_stale=10"), "", 400, "Invalid max_stale value \"10\""),
                ("GET", &with("wait=5y"), "", 400, "Invalid wait time"),
                ("GET", &with("wait=x"), "", 400, "Invalid wait time"),
                ("GET", &with("index=-1"), "", 400, "Invalid index"),
                ("GET", &with("index=x"), "", 400, "Invalid index"),
                ("GET", &with("dc=dc9"), "", 500, "No path to datacenter"),
                ("GET", &with("dc=dc1&datacenter=dc9"), "", 500, "No path to datacenter"),
                ("GET", &with("ns=default"), "", 400, ns),
            ],
        )
        .await;
    }
    for params in [
        "stale",
        "consistent=1",
        "stale=false",
        "dc=dc1",
        "ns=",
        "peer=x",
        "leader",
        "wait=5",
        "wait=0.5",
    ] {
        let answered = api.get(&format!("/v1/catalog/nodes?{params}")).await;
        assert_eq!(answered.status, 200, "{params}");
    }
}

#[tokio::test]
async fn reads_say_how_fresh_they_are() {
    let api = Api::new();
    let answered = api.get("/v1/health/service/nope?consistent").await;
    assert_eq!(answered.index(), 1);
    assert_eq!(answered.header("x-consul-knownleader"), "true");
    assert_eq!(answered.header("x-consul-lastcontact"), "0");
    assert_eq!(answered.header("x-consul-effective-consistency"), "consistent");
    assert_eq!(answered.header("content-type"), "application/json");
    let missing = api.get("/v1/kv/none").await;
    assert_eq!(missing.header("x-consul-effective-consistency"), "(none)");
    assert!(missing.index() >= 1);
}

#[tokio::test]
async fn pretty_is_a_matter_of_presence() {
    let api = Api::new();
    assert_eq!(api.get("/v1/catalog/datacenters").await.body, "[\"dc1\"]");
    assert_eq!(api.get("/v1/catalog/datacenters?pretty=false").await.body, "[\n    \"dc1\"\n]\n");
    assert_eq!(api.get("/v1/status/leader?pretty").await.body, "\"127.0.0.1:8300\"\n");
    assert_eq!(api.get("/v1/status/peers").await.body, "[\"127.0.0.1:8300\"]");
}
