//! Tokens and policies on real agents: through a server, an edge, both APIs and DNS.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::house::{Agent, AgentSpec, eventually, run};

const SOON: Duration = Duration::from_secs(20);
const BIN: &str = env!("CARGO_BIN_EXE_remora");

/// What was answered: the status, and the text.
type Said = (u16, String);

/// curl with a token; without one, if it is empty.
fn ask(agent: &Agent, token: &str, method: &str, path: &str, body: &str) -> Said {
    let url = format!("http://{}{path}", agent.spec.place.http());
    let shown = format!("X-Consul-Token: {token}");
    let mut args = vec!["-sS", "-X", method, "-w", "\n%{http_code}", "--data-binary", body];
    if !token.is_empty() {
        args.extend(["-H", &shown]);
    }
    args.push(&url);
    let said = run("curl", &args).unwrap();
    let (text, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), text.to_owned())
}

fn done(agent: &Agent, token: &str, method: &str, path: &str, body: &str) -> String {
    let (status, text) = ask(agent, token, method, path, body);
    assert_eq!(status, 200, "{method} {path} {body}: {text}");
    text
}

fn denied(said: Said, lacks: &str) {
    let text = format!("lacks permission '{lacks}'");
    assert!(said.0 == 403 && said.1.contains(&text), "{lacks}: {said:?}");
}

/// With a token as the password of nobody in particular.
fn etcdctl(agent: &Agent, user: &str, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    let user = format!("--user={user}");
    let mut all = vec![endpoint.as_str(), "--command-timeout=15s"];
    if user != "--user=" {
        all.push(&user);
    }
    all.extend(args);
    run("etcdctl", &all)
}

/// What dig shows of an answer: its status, then addresses and names.
fn dig(agent: &Agent, name: &str, kind: &str) -> String {
    let server = format!("@{}", agent.spec.place.0);
    run("dig", &[&server, "-p", "8600", "+noall", "+comments", "+answer", name, kind]).unwrap()
}

fn remora(agent: &Agent, args: &[&str]) -> Result<String, String> {
    let address = agent.spec.place.http();
    run(BIN, &[args, &["--http-addr", &address]].concat())
}

struct Tokens {
    management: String,
    web: String,
    shop: String,
}

/// Does what `examples/acl/close.sh` does.
fn close(agent: &Agent) -> Tokens {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/acl/close.sh");
    let bin = Path::new(BIN).parent().unwrap().display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new(script);
    command.env("REMORA_HTTP_ADDR", agent.spec.place.http()).env("PATH", path);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.filter(|token| token.len() == 36).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    Tokens { management: token("management"), web: token("web"), shop: token("shop") }
}

/// A server and an edge that has heard of everything that the server was told.
fn house() -> [Agent; 2] {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    [server, edge]
}

fn heard(agent: &Agent, token: &str) {
    eventually("the token is known", SOON, || {
        match ask(agent, token, "GET", "/v1/acl/token/self", "") {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_example_closes_a_cluster_on_every_agent() {
    let agents = house();
    done(&agents[0], "", "PUT", "/v1/kv/secret", "s");
    let Tokens { management, web, shop } = close(&agents[0]);
    let b64 = |text: &str| run("sh", &["-c", &format!("printf %s {text} | base64")]).unwrap();
    for agent in &agents {
        heard(agent, &shop);
        let name = &agent.spec.name;
        // The service's token registers its own service, and no other.
        let register = |service: &str| {
            let body = format!(r#"{{"ID": "{service}-{name}", "Name": "{service}", "Port": 80}}"#);
            ask(agent, &web, "PUT", "/v1/agent/service/register", &body)
        };
        assert_eq!(register("web"), (200, String::new()));
        denied(register("db"), "service:write");
        let body = r#"{"Node": "n9", "Address": "10.0.0.9", "Service": {"Service": "web"}}"#;
        denied(ask(agent, &web, "PUT", "/v1/catalog/register", body), "node:write");
        denied(ask(agent, &web, "PUT", "/v1/kv/shop/a", "1"), "key:write");
        // Nobody in particular looks up, and does nothing else.
        let found =
            done(agent, "", "GET", &format!("/v1/catalog/service/web?filter=Node=={name}"), "");
        assert!(found.contains(&format!("web-{name}")), "{found}");
        eventually("DNS has it", SOON, || {
            let shown = dig(agent, "web.service.consul", "A");
            let right = shown.contains("NOERROR") && shown.contains("\tA\t");
            if right { Ok(()) } else { Err(shown) }
        });
        denied(
            ask(agent, "", "PUT", "/v1/agent/service/register", r#"{"Name": "web"}"#),
            "service:write",
        );
        denied(ask(agent, "", "GET", "/v1/kv/shop/a", ""), "key:read");
        denied(ask(agent, "", "PUT", "/v1/event/fire/deploy", ""), "event:write");
        assert_eq!(ask(agent, "nonsense", "GET", "/v1/kv/a", ""), (403, "ACL not found".into()));
        // Keys are the same under both APIs.
        let user = format!("token:{shop}");
        assert_eq!(done(agent, &shop, "PUT", &format!("/v1/kv/shop/{name}"), "1"), "true");
        let key = format!("shop/{name}");
        assert_eq!(etcdctl(agent, &user, &["get", &key]).unwrap(), format!("{key}\n1\n"));
        assert_eq!(etcdctl(agent, &user, &["put", &key, "2"]).unwrap(), "OK\n");
        for args in [
            &["put", "shop/secret/a", "1"][..],
            &["get", "secret"],
            // A range is wholly readable, or not read.
            &["get", "--prefix", ""],
            &["del", "--prefix", "shop/"],
            &["compaction", "2"],
            &["user", "list"],
        ] {
            let said = etcdctl(agent, &user, args).unwrap_err();
            assert!(said.contains("permission denied"), "{args:?}: {said}");
        }
        let said = etcdctl(agent, "", &["get", &key]).unwrap_err();
        assert!(said.contains("permission denied"), "{said}");
        let said = etcdctl(agent, "token:nonsense", &["get", &key]).unwrap_err();
        assert!(said.contains("authentication failed"), "{said}");
        assert_eq!(
            etcdctl(agent, &format!("token:{management}"), &["get", "secret"]).unwrap(),
            "secret\ns\n"
        );
        let range = |token: &str| {
            let url = format!("http://{}/v3/kv/range", agent.spec.place.http());
            let header = format!("Authorization: {token}");
            let body = format!(r#"{{"key": "{}"}}"#, b64(&key).trim());
            run("curl", &["-sS", "-H", &header, "-d", &body, &url]).unwrap()
        };
        assert!(range(&shop).contains(b64("2").trim()), "{}", range(&shop));
        assert!(range(&web).contains("permission denied"), "{}", range(&web));
        // What a list shows is what may be read of it.
        let all = done(agent, &shop, "GET", "/v1/kv/?keys", "");
        assert!(all.contains(&key) && !all.contains("\"secret\""), "{all}");
    }
}

#[test]
fn a_server_decides_what_an_edge_has_written() {
    let [server, edge] = house();
    let Tokens { management, shop, .. } = close(&server);
    heard(&edge, &shop);
    done(&edge, &shop, "PUT", "/v1/kv/shop/a", "1");
    let mine = done(&edge, &shop, "GET", "/v1/acl/token/self", "");
    let accessor = mine.split('"').skip_while(|part| *part != "AccessorID").nth(2).unwrap();
    // Whatever the edge knows by then: the server has taken the token away.
    done(&server, &management, "DELETE", &format!("/v1/acl/token/{accessor}"), "");
    let gone = (403, "ACL not found".to_owned());
    assert_eq!(ask(&edge, &shop, "PUT", "/v1/kv/shop/a", "2"), gone);
    assert_eq!(ask(&edge, &shop, "PUT", "/v1/kv/shop/b", "2"), gone);
    let read = done(&server, &management, "GET", "/v1/kv/shop/?recurse", "");
    assert!(read.contains("\"MQ==\"") && !read.contains("shop/b"), "{read}");
    // Tokens are made through an edge as well, and read back by who may make them.
    let made = done(&edge, &management, "PUT", "/v1/acl/token", r#"{"Description": "made"}"#);
    let part = |name: &str| made.split('"').skip_while(|p| *p != name).nth(2).unwrap().to_owned();
    let path = format!("/v1/acl/token/{}", part("AccessorID"));
    for agent in [&server, &edge] {
        heard(agent, &part("SecretID"));
        assert!(done(agent, &management, "GET", &path, "").contains(&part("SecretID")));
    }
    denied(ask(&edge, &part("SecretID"), "GET", &path, ""), "acl:read");
}

#[test]
fn dns_answers_with_the_rights_of_its_own_token() {
    let on = "acl: { enabled: true }";
    let server = Agent::start(AgentSpec::server("server").with(on));
    let peers = vec![server.spec.place.peer()];
    let management = "00000001-2222-3333-4444-555555555555";
    let secret = "00000002-2222-3333-4444-555555555555";
    let first = format!(r#"{{"BootstrapSecret": "{management}"}}"#);
    done(&server, "", "PUT", "/v1/acl/bootstrap", &first);
    let by = |path: &str, body: &str| done(&server, management, "PUT", path, body);
    by(
        "/v1/catalog/register",
        r#"{"Node": "n9", "Address": "10.0.0.9", "Service": {"Service": "web"}}"#,
    );
    let token =
        format!(r#"{{"SecretID": "{secret}", "ServiceIdentities": [{{"ServiceName": "web"}}]}}"#);
    by("/v1/acl/token", &token);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dns-token");
    std::fs::write(&file, secret).unwrap();
    let dns = format!("token_file: {}", file.display());
    let edge = Agent::start(AgentSpec::edge("edge", peers).with_dns(&dns));
    let names =
        [("web.service.consul", "A"), ("n9.node.consul", "A"), ("web.service.consul", "SRV")];
    for (name, kind) in names {
        eventually("the token's rights", SOON, || match dig(&edge, name, kind) {
            shown if shown.contains("NOERROR") && shown.contains(kind) => Ok(()),
            shown => Err(shown),
        });
        assert!(dig(&server, name, kind).contains("REFUSED"), "{name} by nobody");
    }
    assert!(dig(&server, "nope.service.consul", "A").contains("REFUSED"));
    assert!(dig(&edge, "nope.service.consul", "A").contains("NXDOMAIN"));
    // It can be given while the agent runs.
    let body = format!(r#"{{"Token": "{secret}"}}"#);
    denied(ask(&server, secret, "PUT", "/v1/agent/token/dns", &body), "agent:write");
    by("/v1/agent/token/dns", &body);
    assert!(dig(&server, "web.service.consul", "A").contains("10.0.0.9"));
    // What an agent registers by itself needs no token: its certificate speaks for it.
    let nodes = done(&server, management, "GET", "/v1/catalog/nodes", "");
    assert!(nodes.contains("\"edge\"") && nodes.contains("\"server\""), "{nodes}");
}

#[test]
fn neither_side_opens_what_the_other_closes() {
    let [server, edge] = house();
    for args in [
        &["user", "add", "root:rpw"][..],
        &["user", "add", "bob:bpw"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "--prefix", "app/"],
        &["user", "grant-role", "bob", "app"],
        &["role", "add", "root"],
        &["user", "grant-role", "root", "root"],
    ] {
        etcdctl(&server, "", args).unwrap();
    }
    let Tokens { management, web, shop } = close(&server);
    // Tokens count: who founds the other side is who may do everything on this one.
    let refused = etcdctl(&server, "", &["auth", "enable"]).unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    let manager = format!("token:{management}");
    assert_eq!(
        etcdctl(&server, &manager, &["auth", "enable"]).unwrap(),
        "Authentication Enabled\n"
    );
    for agent in [&server, &edge] {
        heard(agent, &shop);
        eventually("users count", SOON, || {
            match etcdctl(agent, "bob:bpw", &["put", "app/a", "1"]) {
                Ok(_) => Ok(()),
                Err(why) => Err(why),
            }
        });
        // A user has its keys, and of the catalog what anybody has.
        let said = etcdctl(agent, "bob:bpw", &["put", "shop/a", "1"]).unwrap_err();
        assert!(said.contains("permission denied"), "{said}");
        let login = r#"{"name": "bob", "password": "bpw"}"#;
        let bob = agent.client().post("/v3/auth/authenticate", login).unwrap().json();
        let bob = bob["token"].as_str().unwrap();
        assert_eq!(done(agent, bob, "GET", "/v1/kv/app/a?raw", ""), "1");
        assert_eq!(ask(agent, bob, "GET", "/v1/kv/shop/a", "").0, 403);
        assert!(done(agent, bob, "GET", "/v1/catalog/services", "").contains("consul"));
        let body = r#"{"Name": "web"}"#;
        denied(ask(agent, bob, "PUT", "/v1/agent/service/register", body), "service:write");
        assert_eq!(ask(agent, bob, "GET", "/v1/acl/tokens", "").0, 403);
        // A token has what its rules say, and nothing of the users'.
        assert_eq!(done(agent, &shop, "PUT", "/v1/kv/shop/a", "1"), "true");
        denied(ask(agent, &shop, "GET", "/v1/kv/app/a", ""), "key:read");
        assert_eq!(ask(agent, &web, "PUT", "/v1/agent/service/register", body).0, 200);
        // Either side's master is the other's.
        assert_eq!(done(agent, &management, "GET", "/v1/kv/app/a?raw", ""), "1");
        assert_eq!(etcdctl(agent, "root:rpw", &["get", "shop/a"]).unwrap(), "shop/a\n1\n");
        assert!(etcdctl(agent, &manager, &["user", "list"]).unwrap().contains("bob"));
        // Nobody has what both leave open: to look up.
        assert_eq!(ask(agent, "", "GET", "/v1/kv/app/a", "").0, 403);
        done(agent, "", "GET", "/v1/catalog/services", "");
    }
    for (token, code) in [("", 403), (&*web, 403), (&*management, 200)] {
        assert_eq!(ask(&server, token, "GET", "/admin/servers", "").0, code, "{token}");
    }
    // To turn either off takes one who may do everything, and leaves the other on.
    let off = ["acl", "disable", "--token"];
    assert!(remora(&server, &[&off[..], &[&web]].concat()).unwrap_err().contains("denied"));
    remora(&server, &[&off[..], &[&management]].concat()).unwrap();
    assert_eq!(ask(&server, "", "GET", "/v1/kv/app/a", "").0, 403);
    assert_eq!(ask(&server, "", "GET", "/v1/acl/tokens", "").0, 401);
}

#[test]
fn who_has_a_servers_machine_makes_another_token_for_everything() {
    let [server, edge] = house();
    let Tokens { management, web, .. } = close(&server);
    heard(&edge, &web);
    let again = remora(&server, &["acl", "bootstrap"]).unwrap_err();
    assert!(again.contains("ACL bootstrap no longer allowed"), "{again}");
    // The last that could make others is lost.
    let mine = done(&server, &management, "GET", "/v1/acl/token/self", "");
    let accessor = mine.split('"').skip_while(|part| *part != "AccessorID").nth(2).unwrap();
    let data = server.path("data");
    let left = data.join("acl-reset");
    let reset = |agent: &Agent, data: &Path| {
        remora(agent, &["acl", "reset", "--data-dir", &data.display().to_string()])
    };
    // Not with the machine of an edge, nor where another agent is asked.
    let wrong = reset(&server, &edge.path("")).unwrap_err();
    assert!(wrong.contains("is that of no server"), "{wrong}");
    let wrong = reset(&edge, &data).unwrap_err();
    assert!(wrong.contains("no longer allowed") && !left.exists(), "{wrong}");
    // Nor with a secret that others could have left, or with another than is there.
    let guess = r#"{"BootstrapSecret": "00000003-2222-3333-4444-555555555555"}"#;
    std::fs::write(&left, "00000003-2222-3333-4444-555555555555").unwrap();
    assert_eq!(ask(&server, "", "PUT", "/v1/acl/bootstrap", guess).0, 403, "others can read it");
    run("chmod", &["600", &left.display().to_string()]).unwrap();
    let other = guess.replace("00000003", "00000004");
    assert_eq!(ask(&server, "", "PUT", "/v1/acl/bootstrap", &other).0, 403);
    assert_eq!(ask(&edge, "", "PUT", "/v1/acl/bootstrap", guess).0, 403);
    std::fs::remove_file(&left).unwrap();

    let said = reset(&server, &data).unwrap();
    let token = said.lines().find_map(|line| line.strip_prefix("SecretID:")).unwrap().trim();
    assert!(!left.exists());
    done(&server, token, "DELETE", &format!("/v1/acl/token/{accessor}"), "");
    heard(&edge, token);
    assert_eq!(done(&edge, token, "PUT", "/v1/kv/a", "1"), "true");
    assert_eq!(ask(&server, &management, "GET", "/v1/kv/a", "").0, 403);
    let again = format!(r#"{{"BootstrapSecret": "{token}"}}"#);
    assert_eq!(ask(&server, "", "PUT", "/v1/acl/bootstrap", &again).0, 403, "once");
}
