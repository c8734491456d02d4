//! Catalog and health: what is registered is shown, in Consul's shapes.

use serde_json::json;

use super::{Api, check};

const EVERYTHING: &str = r#"{"ID":"adf4238a-882b-9ddc-4a9d-5b6758e4159e","Node":"b",
    "Address":"10.0.0.2","TaggedAddresses":{"lan":"10.0.0.2"},"NodeMeta":{"k":"v","rack":"r2"},
    "Service":{"ID":"db1","Service":"db","Tags":["master","V1"],"Meta":{"m":"1"},
    "Address":"10.0.1.2","Port":5432,"TaggedAddresses":{"wan":{"Address":"198.18.0.3","Port":1}},
    "Weights":{"Passing":5,"Warning":1},"EnableTagOverride":true},
    "Checks":[{"CheckID":"nc","Name":"node check","Status":"passing","Notes":"nn","Output":"oo"},
    {"CheckID":"sc","Name":"svc check","ServiceID":"db1","Status":"warning",
    "Definition":{"TCP":"x:1","Interval":"5s","Timeout":"1s",
    "DeregisterCriticalServiceAfter":"30s"}}]}"#;

#[tokio::test]
async fn a_registration_is_shown_in_every_shape() {
    let api = Api::new();
    assert_eq!(api.put("/v1/catalog/register", EVERYTHING).await.body, "true");
    let row = &api.get("/v1/catalog/service/DB").await.json()[0];
    assert_eq!(row["ID"], "adf4238a-882b-9ddc-4a9d-5b6758e4159e");
    assert_eq!(row["NodeMeta"], json!({"k": "v", "rack": "r2"}));
    assert_eq!(row["ServiceTags"], json!(["master", "V1"]));
    assert_eq!(row["ServiceWeights"], json!({"Passing": 5, "Warning": 1}));
    assert_eq!(row["ServiceTaggedAddresses"], json!({"wan": {"Address": "198.18.0.3", "Port": 1}}));
    assert_eq!((&row["ServicePort"], &row["ServiceID"]), (&json!(5432), &json!("db1")));
    let health = &api.get("/v1/health/service/db").await.json()[0];
    assert_eq!(health["Node"]["Meta"], json!({"k": "v", "rack": "r2"}));
    assert_eq!(health["Service"]["Meta"], json!({"m": "1"}));
    assert_eq!(health["Checks"][0]["CheckID"], "nc");
    let check = &health["Checks"][1];
    assert_eq!((&check["Type"], &check["ServiceName"]), (&json!("tcp"), &json!("db")));
    let definition = json!({"Interval": "5s", "Timeout": "1s", "TCP": "x:1",
        "DeregisterCriticalServiceAfter": "30s"});
    assert_eq!(check["Definition"], definition);
    let node = api.get("/v1/catalog/node/adf4238a").await.json();
    assert_eq!(node["Services"]["db1"]["Service"], "db");
    let list = api.get("/v1/catalog/node-services/B").await.json();
    assert_eq!(list["Services"][0]["ID"], "db1");
    assert_eq!(api.get("/v1/catalog/services").await.body, r#"{"db":["V1","master"]}"#);
}

#[tokio::test]
async fn what_was_not_set_is_null_and_lists_never_are() {
    let api = Api::new();
    api.put("/v1/catalog/register", r#"{"Node":"a","Address":"10.0.0.1"}"#).await;
    let index = api.get("/v1/catalog/nodes").await.index();
    let node = format!(
        r#"{{"Node":{{"ID":"","Node":"a","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":{index},"ModifyIndex":{index}}},"Services":{{}}}}"#
    );
    let unable = |what: &str| {
        format!("Failed to create boolean expression evaluator: Selector \"{what}\" is not valid")
    };
    check(
        &api,
        &[
            ("GET", "/v1/catalog/node/a", "", 200, &node),
            ("GET", "/v1/catalog/node/nope", "", 200, "null"),
            ("GET", "/v1/catalog/node-services/nope", "", 200, r#"{"Node":null,"Services":null}"#),
            ("GET", "/v1/catalog/service/nope", "", 200, "[]"),
            ("GET", "/v1/health/service/nope", "", 200, "[]"),
            ("GET", "/v1/health/checks/nope", "", 200, "[]"),
            ("GET", "/v1/health/node/nope", "", 200, "[]"),
            ("GET", "/v1/health/state/PASSING", "", 200, "[]"),
            ("GET", "/v1/catalog/service/", "", 400, "Missing service name"),
            ("GET", "/v1/catalog/node/", "", 400, "Missing node name"),
            ("GET", "/v1/health/service/", "", 400, "Missing service name"),
            ("GET", "/v1/health/node/", "", 400, "Missing node name"),
            ("GET", "/v1/health/state/", "", 400, "Missing check state"),
            ("GET", "/v1/health/connect/web", "", 200, "[]"),
            ("GET", "/v1/health/connect/web?filter=No==1", "", 500, &unable("No")),
            ("GET", "/v1/catalog/connect/web?filter=Service==a", "", 500, &unable("Service")),
            ("GET", "/v1/catalog/connect/", "", 400, "Missing service name"),
            ("GET", "/v1/catalog/gateway-services/web", "", 200, "null"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bad_registrations_are_refused_in_consuls_words() {
    let api = Api::new();
    let path = "/v1/catalog/register";
    let y = |rest: &str| format!(r#"{{"Node":"y","Address":"1.2.3.4",{rest}}}"#);
    let decode = |text: &str| format!("Request decode failed: {text}");
    check(
        &api,
        &[
            ("PUT", path, "", 400, &decode("EOF")),
            ("PUT", path, "{", 400, &decode("unexpected EOF")),
            (
                "PUT",
                path,
                "[]",
                400,
                &decode("json: cannot unmarshal array into Go value of type structs.RegisterRequest"),
            ),
            ("PUT", path, "{}", 500, "Must provide node"),
            ("PUT", path, r#"{"Node":"x"}"#, 500, "Must provide address if SkipNodeUpdate is not set"),
            ("PUT", path, &y(r#""ID":"nope""#), 500, "Bad node ID: uuid string is wrong length"),
            (
                "PUT",
                path,
                &y(r#""Service":{"ID":"s"}"#),
                500,
                "Must provide service name (Service.Service) when service ID is provided",
            ),
            ("PUT", path, &y(r#""Service":{}"#), 500, "Must provide service name (Service.Service)"),
            (
                "PUT",
                path,
                &y(r#""Service":{"Service":"s","Address":"0.0.0.0"}"#),
                500,
                "Invalid service address",
            ),
            ("PUT", path, &y(r#""Bogus":1"#), 400, &decode("json: unknown field \"Bogus\"")),
            (
                "PUT",
                path,
                &y(r#""Service":{"Service":"s","Bogus":1}"#),
                400,
                &decode("json: unknown field \"Bogus\""),
            ),
            (
                "PUT",
                path,
                &y(r#""Check":{"CheckID":"c","Node":"z"}"#),
                500,
                "Node 'z' for check 'c' doesn't match register request node 'y'",
            ),
            (
                "PUT",
                path,
                &y(r#""Check":{"CheckID":"c","ServiceID":"nope"}"#),
                500,
                "Unknown service ID 'nope' for check ID 'c'",
            ),
            (
                "PUT",
                path,
                &y(r#""Check":{"CheckID":"c","Definition":{"Interval":"x"}}"#),
                400,
                &decode("time: invalid duration \"x\""),
            ),
            ("PUT", path, &y(r#""Datacenter":"dc9""#), 500, "No path to datacenter"),
            (
                "PUT",
                path,
                &y(r#""Namespace":"x""#),
                400,
                &decode(
                    "json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
                ),
            ),
            ("PUT", "/v1/catalog/deregister", "{}", 500, "Must provide node"),
            ("PUT", "/v1/catalog/deregister", r#"{"Node":"nope"}"#, 200, "true"),
            ("GET", "/v1/catalog/nodes", "", 200, "[]"),
        ],
    )
    .await;
}

#[tokio::test]
async fn names_of_fields_have_any_case_and_nothing_is_forgotten() {
    let api = Api::new();
    let lower = r#"{"node":"lower","address":"1.2.3.5","service":{"service":"low","port":9}}"#;
    assert_eq!(api.put("/v1/catalog/register", lower).await.body, "true");
    let skip = r#"{"Node":"LOWER","SkipNodeUpdate":true,"Service":{"Service":"low","Port":3}}"#;
    assert_eq!(api.put("/v1/catalog/register", skip).await.body, "true");
    let row = &api.get("/v1/catalog/service/low").await.json()[0];
    assert_eq!((&row["Address"], &row["ServicePort"]), (&json!("1.2.3.5"), &json!(3)));
    let gone = r#"{"Node":"lower","ServiceID":"low","CheckID":"x"}"#;
    assert_eq!(api.put("/v1/catalog/deregister", gone).await.body, "true");
    assert_eq!(api.get("/v1/catalog/service/low").await.body, "[]");
}

/// Nodes h0 to h5 with an instance each, whose node check and own check stand as given.
async fn six(api: &Api) {
    let checks = [
        r#"[{"CheckID":"nc","Status":"passing"},{"CheckID":"sc","ServiceID":"s0","Status":"passing"}]"#,
        r#"[{"CheckID":"nc","Status":"passing"},{"CheckID":"sc","ServiceID":"s1","Status":"warning"}]"#,
        r#"[{"CheckID":"nc","Status":"passing"},{"CheckID":"sc","ServiceID":"s2","Status":"critical"}]"#,
        r#"[{"CheckID":"nc","Status":"critical"},{"CheckID":"sc","ServiceID":"s3","Status":"passing"}]"#,
        r#"[{"CheckID":"nc","Status":"warning"},{"CheckID":"sc","ServiceID":"s4","Status":"passing"}]"#,
        "[]",
    ];
    for (i, checks) in checks.into_iter().enumerate() {
        let body = format!(
            r#"{{"Node":"h{i}","Address":"10.0.0.{i}","NodeMeta":{{"rack":"r{}"}},
            "Service":{{"ID":"s{i}","Service":"hs","Tags":["t","T{i}"],"Port":8{i}}},
            "Checks":{checks}}}"#,
            i % 2
        );
        assert_eq!(api.put("/v1/catalog/register", body).await.body, "true");
    }
}

#[tokio::test]
async fn instances_are_narrowed_by_health_tag_and_node() {
    let api = Api::new();
    six(&api).await;
    let cases = [
        ("", "s0 s1 s2 s3 s4 s5"),
        ("passing", "s0 s5"),
        ("passing=1", "s0 s5"),
        ("passing=false", "s0 s1 s2 s3 s4 s5"),
        ("tag=t1", "s1"),
        ("tag=T1&tag=t", "s1"),
        ("tag=t1&tag=t2", ""),
        ("tag=", ""),
        ("tag=t,T1", ""),
        ("node-meta=rack:r1", "s1 s3 s5"),
        ("node-meta=rack:r1&passing", "s5"),
        ("recurse&passing&tag=T5", "s5"),
        ("near=h4", "s4 s0 s1 s2 s3 s5"),
    ];
    for (params, ids) in cases {
        let rows = api.get(&format!("/v1/health/service/HS?{params}")).await.json();
        let mut found: Vec<&str> = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| r["Service"]["ID"].as_str())
            .collect();
        if !params.starts_with("near") {
            found.sort();
        }
        assert_eq!(found.join(" "), ids, "{params}");
    }
    let bad = api.get("/v1/health/service/hs?passing=maybe").await;
    assert_eq!((bad.status, bad.body.as_str()), (400, "Invalid value for ?passing"));
}

#[tokio::test]
async fn checks_are_listed_by_service_and_by_state() {
    let api = Api::new();
    six(&api).await;
    let count = |answered: super::Answered| answered.json().as_array().map_or(0, Vec::len);
    let cases = [
        ("/v1/health/checks/HS", 5),
        ("/v1/health/checks/hs?node-meta=rack:r1", 2),
        ("/v1/health/state/any", 10),
        ("/v1/health/state/critical", 2),
        ("/v1/health/state/any?node-meta=rack:r1", 4),
        ("/v1/health/node/H1", 2),
        ("/v1/catalog/service/hs?tag=T1&node-meta=rack:r1", 1),
        ("/v1/catalog/nodes?node-meta=rack:r1", 3),
    ];
    for (path, expected) in cases {
        assert_eq!(count(api.get(path).await), expected, "{path}");
    }
    let services = api.get("/v1/catalog/services?node-meta=rack:r0").await.body;
    assert_eq!(services, r#"{"hs":["T0","T2","T4","t"]}"#);
}

#[tokio::test]
async fn a_node_keeps_its_name_while_it_lives_and_its_id_when_it_moves() {
    let api = Api::with_presence().await;
    let id = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";
    let node = |name: &str| format!(r#"{{"ID":"{id}","Node":"{name}","Address":"10.0.0.9"}}"#);
    assert_eq!(api.put("/v1/catalog/register", node("old")).await.body, "true");
    assert_eq!(api.put("/v1/catalog/register", node("new")).await.body, "true");
    assert_eq!(api.get("/v1/catalog/node/old").await.body, "null");
    let refused = api.put("/v1/catalog/register", node("n1")).await;
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("Node name n1 is reserved by node"), "{}", refused.body);
    assert_eq!(api.get("/v1/catalog/node/new").await.json()["Node"]["ID"], id);
}
