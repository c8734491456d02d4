//! Keys: what is written is read back, in all of Consul's forms.

use super::{Api, check};

#[tokio::test]
async fn a_key_is_written_read_and_deleted() {
    let api = Api::new();
    check(
        &api,
        &[
            ("GET", "/v1/kv/a", "", 404, ""),
            ("PUT", "/v1/kv/a", "one", 200, "true"),
            (
                "GET",
                "/v1/kv/a",
                "",
                200,
                r#"[{"LockIndex":0,"Key":"a","Flags":0,"Value":"b25l","CreateIndex":2,"ModifyIndex":2}]"#,
            ),
            ("GET", "/v1/kv/a?raw", "", 200, "one"),
            ("PUT", "/v1/kv/a?flags=18446744073709551615", "", 200, "true"),
            (
                "GET",
                "/v1/kv/a",
                "",
                200,
                r#"[{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":null,"CreateIndex":2,"ModifyIndex":3}]"#,
            ),
            ("DELETE", "/v1/kv/a", "", 200, "true"),
            ("DELETE", "/v1/kv/a", "", 200, "true"),
            ("GET", "/v1/kv/a?raw", "", 404, ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_identical_write_changes_nothing() {
    let api = Api::new();
    api.put("/v1/kv/a", "one").await;
    let before = api.get("/v1/kv/a").await.body;
    assert_eq!(api.put("/v1/kv/a", "one").await.body, "true");
    assert_eq!(api.get("/v1/kv/a").await.body, before);
}

#[tokio::test]
async fn check_and_set_holds_only_at_its_index() {
    let api = Api::new();
    check(
        &api,
        &[
            ("PUT", "/v1/kv/c?cas=5", "x", 200, "false"),
            ("PUT", "/v1/kv/c?cas=0", "x", 200, "true"),
            ("PUT", "/v1/kv/c?cas=0", "y", 200, "false"),
            ("PUT", "/v1/kv/c?cas=1", "y", 200, "false"),
            ("PUT", "/v1/kv/c?cas=2", "z", 200, "true"),
            ("DELETE", "/v1/kv/c?cas=2", "", 200, "false"),
            ("DELETE", "/v1/kv/c?cas=0", "", 200, "false"),
            ("DELETE", "/v1/kv/c?cas=3", "", 200, "true"),
            ("DELETE", "/v1/kv/c?cas=77", "", 200, "true"),
            ("PUT", "/v1/kv/c?cas=18446744073709551615", "", 200, "false"),
        ],
    )
    .await;
}

#[tokio::test]
async fn prefixes_are_listed_whole_or_cut_at_a_separator() {
    let api = Api::new();
    for key in ["app/a", "app/b/c", "app/b/d", "app/e/", "app/e/f", "app2", "app"] {
        api.put(&format!("/v1/kv/{key}"), "v").await;
    }
    let all = r#"["app","app/a","app/b/c","app/b/d","app/e/","app/e/f","app2"]"#;
    check(
        &api,
        &[
            ("GET", "/v1/kv/?keys", "", 200, all),
            ("GET", "/v1/kv/app?keys&recurse&raw", "", 200, all),
            ("GET", "/v1/kv/app/?keys&separator=/", "", 200, r#"["app/a","app/b/","app/e/"]"#),
            ("GET", "/v1/kv/app?keys&seperator=/", "", 200, r#"["app","app/","app2"]"#),
            (
                "GET",
                "/v1/kv/app/?keys&separator=b/",
                "",
                200,
                r#"["app/a","app/b/","app/e/","app/e/f"]"#,
            ),
            ("GET", "/v1/kv/nope?keys", "", 404, ""),
            ("GET", "/v1/kv/nope?recurse", "", 404, ""),
            ("GET", "/v1/kv/app/?separator=/", "", 404, ""),
            ("DELETE", "/v1/kv/app/b?recurse", "", 200, "true"),
            ("GET", "/v1/kv/?keys", "", 200, r#"["app","app/a","app/e/","app/e/f","app2"]"#),
            ("DELETE", "/v1/kv/?recurse", "", 200, "true"),
            ("GET", "/v1/kv/?keys", "", 200, "[]"),
            ("GET", "/v1/kv/?recurse", "", 404, ""),
        ],
    )
    .await;
    api.put("/v1/kv/x", "1").await;
    let rows = api.get("/v1/kv/?recurse=false").await.json();
    assert_eq!(rows[0]["Key"], "x");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_consuls_words() {
    let api = Api::new();
    let range = r#"strconv.ParseUint: parsing "18446744073709551616": value out of range"#;
    let stale = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    let syntax = |text: &str| format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
    check(
        &api,
        &[
            ("GET", "/v1/kv/", "", 400, "Missing key name"),
            ("PUT", "/v1/kv/", "x", 400, "Missing key name"),
            ("DELETE", "/v1/kv/", "", 400, "Missing key name"),
            ("PUT", "/v1/kv/f?flags=18446744073709551616", "x", 500, range),
            ("PUT", "/v1/kv/f?flags=-1", "x", 500, &syntax("-1")),
            ("PUT", "/v1/kv/f?flags=", "x", 500, &syntax("")),
            ("PUT", "/v1/kv/f?flags=0x10", "x", 500, &syntax("0x10")),
            ("PUT", "/v1/kv/f?cas=x", "x", 500, &syntax("x")),
            ("DELETE", "/v1/kv/f?cas", "x", 500, &syntax("")),
            ("DELETE", "/v1/kv/f?recurse&cas=1", "", 400, "Conflicting flags: cas=1&recurse=\n"),
            (
                "PUT",
                "/v1/kv/f?cas=0&acquire=a%20b",
                "",
                400,
                "Conflicting flags: acquire=a+b&cas=0\n",
            ),
            ("PUT", "/v1/kv/f?dc=nope", "x", 500, "No path to datacenter"),
            ("PUT", "/v1/kv/f?wait=x", "x", 400, "Invalid wait time"),
            ("DELETE", "/v1/kv/f?stale&consistent", "", 400, stale),
            ("GET", "/v1/kv/f?x=%zz", "", 500, ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn values_have_a_limit_that_is_exact() {
    let api = Api::new();
    let most = 512 * 1024;
    assert_eq!(api.put("/v1/kv/size", vec![b'x'; most]).await.status, 200);
    let over = api.put("/v1/kv/size", vec![b'x'; most + 1]).await;
    assert_eq!(over.status, 413);
    let text = "Request body(524289 bytes) too large, max size: 524288 bytes. \
        See https://www.consul.io/docs/agent/options.html#kv_max_value_size.";
    assert_eq!(over.body, text);
}

#[tokio::test]
async fn keys_are_bytes() {
    let api = Api::new();
    let paths = ["/v1/kv//lead", "/v1/kv/a%2F%2Fb", "/v1/kv/a/../b", "/v1/kv/%00%0A", "/v1/kv/."];
    for path in paths {
        assert_eq!(api.put(path, path).await.body, "true", "{path}");
    }
    for path in paths {
        assert_eq!(api.get(&format!("{path}?raw")).await.body, path);
    }
    let names = api.get("/v1/kv/?keys").await;
    assert_eq!(names.body, r#"["\u0000\n",".","/lead","a/../b","a//b"]"#);
}

#[tokio::test]
async fn a_key_that_is_no_text_is_left_out_of_json_and_counted() {
    let api = Api::new();
    api.put("/v1/kv/k%FF", "v").await;
    api.put("/v1/kv/kk", "v").await;
    let rows = api.get("/v1/kv/k?recurse").await;
    assert_eq!(
        (rows.json().as_array().map(Vec::len), rows.header("x-remora-omitted")),
        (Some(1), "1")
    );
    assert_eq!(api.get("/v1/kv/k?keys").await.body, r#"["kk"]"#);
    assert_eq!(api.get("/v1/kv/k%FF?raw").await.body, "v");
    assert_eq!(api.delete("/v1/kv/k%FF").await.body, "true");
    assert_eq!(api.get("/v1/kv/k%FF?raw").await.status, 404);
}
