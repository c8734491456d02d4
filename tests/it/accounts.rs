//! Users, roles and passwords with etcd's own client, on a server and through an edge.

use std::time::Duration;

use crate::house::{Agent, AgentSpec, eventually, run, run_with};

/// `user`: `name:password`, or nothing.
fn etcdctl(agent: &Agent, user: &str, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    let mut all = vec![endpoint.as_str(), "--command-timeout=15s"];
    let user = format!("--user={user}");
    if user != "--user=" {
        all.push(&user);
    }
    all.extend(args);
    run("etcdctl", &all)
}

const ROOT: &str = "root:rpw";
const BOB: &str = "bob:bpw";

/// Root, and bob, who may do everything below `app/` and read `ro`; both on every agent.
fn close(agent: &Agent) {
    let tell = |args: &[&str]| etcdctl(agent, "", args).unwrap();
    assert_eq!(tell(&["user", "add", ROOT]), "User root created\n");
    assert_eq!(tell(&["user", "add", BOB]), "User bob created\n");
    assert_eq!(tell(&["role", "add", "app"]), "Role app created\n");
    tell(&["role", "grant-permission", "app", "readwrite", "--prefix", "app/"]);
    tell(&["role", "grant-permission", "app", "read", "ro"]);
    assert_eq!(tell(&["user", "grant-role", "bob", "app"]), "Role app is granted to user bob\n");
    tell(&["role", "add", "root"]);
    tell(&["user", "grant-role", "root", "root"]);
    tell(&["put", "secret", "s"]);
    tell(&["put", "ro", "r"]);
    assert_eq!(tell(&["auth", "enable"]), "Authentication Enabled\n");
}

fn refused(answer: Result<String, String>, why: &str) {
    let said = answer.unwrap_err();
    assert!(said.contains(why), "{said}");
}

#[test]
fn etcdctl_closes_the_keys_on_every_agent_and_opens_them_again() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    close(&edge);
    for agent in [&server, &edge] {
        assert_eq!(etcdctl(agent, BOB, &["put", "app/a", "1"]).unwrap(), "OK\n");
        assert_eq!(etcdctl(agent, BOB, &["get", "app/a"]).unwrap(), "app/a\n1\n");
        assert_eq!(etcdctl(agent, BOB, &["get", "ro"]).unwrap(), "ro\nr\n");
        refused(etcdctl(agent, BOB, &["put", "ro", "x"]), "permission denied");
        refused(etcdctl(agent, BOB, &["get", "secret"]), "permission denied");
        refused(etcdctl(agent, BOB, &["get", "--prefix", ""]), "permission denied");
        refused(etcdctl(agent, BOB, &["user", "list"]), "permission denied");
        refused(etcdctl(agent, BOB, &["compaction", "2"]), "permission denied");
        refused(etcdctl(agent, "bob:wrong", &["get", "ro"]), "authentication failed");
        refused(etcdctl(agent, "ghost:pw", &["get", "ro"]), "authentication failed");
        refused(etcdctl(agent, "", &["get", "ro"]), "user name is empty");
        refused(etcdctl(agent, "", &["put", "app/a", "1"]), "user name is empty");
        assert_eq!(etcdctl(agent, ROOT, &["get", "secret"]).unwrap(), "secret\ns\n");
        assert_eq!(etcdctl(agent, ROOT, &["user", "list"]).unwrap(), "bob\nroot\n");
        let bob = etcdctl(agent, BOB, &["user", "get", "bob"]).unwrap();
        assert_eq!(bob, "User: bob\nRoles: app\n");
        let app = etcdctl(agent, BOB, &["role", "get", "app"]).unwrap();
        assert!(app.contains("[app/, app0) (prefix app/)") && app.contains("\tro\n"), "{app}");
    }
    // Both APIs have one authorizer.
    let client = edge.client();
    assert_eq!(client.get("/v1/kv/secret?raw").unwrap().status, 403);
    assert_eq!(client.put("/v1/kv/secret", "x").unwrap().status, 403);
    assert_eq!(client.get("/v1/catalog/nodes").unwrap().status, 200);
    let login = r#"{"name":"bob","password":"bpw"}"#;
    let token = client.post("/v3/auth/authenticate", login).unwrap().json();
    let token = token["token"].as_str().unwrap();
    for agent in [&server, &edge] {
        let path = format!("/v1/kv/app/a?raw&token={token}");
        assert_eq!(agent.client().get(&path).unwrap().text(), "1", "good at every agent");
        let path = format!("/v1/kv/secret?raw&token={token}");
        assert_eq!(agent.client().get(&path).unwrap().text(), "Permission denied");
        let path = format!("/v1/kv/app/{}?token={token}", agent.spec.name);
        assert_eq!(agent.client().put(&path, "2").unwrap().text(), "true");
    }
    // A new password ends the token, wherever it was known.
    etcdctl_passwd(&server, "bob", "new");
    for agent in [&server, &edge] {
        eventually("the token has ended", Duration::from_secs(10), || {
            let answer = agent.client().get(&format!("/v1/kv/app/a?token={token}"))?;
            if answer.text() == "ACL not found" { Ok(()) } else { Err(answer.text()) }
        });
        let written = agent.client().put(&format!("/v1/kv/app/a?token={token}"), "3").unwrap();
        assert_eq!(written.status, 403);
    }
    assert_eq!(etcdctl(&edge, "bob:new", &["get", "app/a"]).unwrap(), "app/a\n1\n");
    assert_eq!(etcdctl(&edge, ROOT, &["auth", "disable"]).unwrap(), "Authentication Disabled\n");
    assert_eq!(etcdctl(&server, "", &["get", "secret"]).unwrap(), "secret\ns\n");
}

fn etcdctl_passwd(agent: &Agent, name: &str, password: &str) {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    let user = format!("--user={ROOT}");
    let args = [&*endpoint, &user, "user", "passwd", "--interactive=false", name];
    assert_eq!(run_with("etcdctl", &args, password).unwrap(), "Password updated\n");
}

#[test]
fn users_outlast_a_restart_and_come_back_with_a_backup() {
    let mut server = Agent::start(AgentSpec::server("server"));
    close(&server);
    let login = |agent: &Agent| {
        let body = r#"{"name":"root","password":"rpw"}"#;
        let answer = agent.client().post("/v3/auth/authenticate", body).unwrap().json();
        answer["token"].as_str().unwrap().to_owned()
    };
    let token = login(&server);
    server.kill();
    server.start_again();
    assert_eq!(etcdctl(&server, BOB, &["put", "app/a", "1"]).unwrap(), "OK\n");
    refused(etcdctl(&server, "", &["get", "ro"]), "user name is empty");
    // Whoever held a token holds it still.
    let path = format!("/v1/kv/secret?raw&token={token}");
    assert_eq!(server.client().get(&path).unwrap().text(), "s");

    let file = server.path("backup");
    let file = file.to_str().unwrap();
    let remora = |agent: &Agent, token: &str, args: &[&str]| {
        let address = agent.spec.place.http();
        let mut all = args.to_vec();
        all.extend(["--http-addr", &address, "--token", token]);
        run(env!("CARGO_BIN_EXE_remora"), &all)
    };
    refused(remora(&server, "", &["snapshot", "save", file]), "Permission denied");
    refused(remora(&server, "x", &["servers"]), "ACL not found");
    remora(&server, &token, &["snapshot", "save", file]).unwrap();
    let other = Agent::start(AgentSpec::server("other"));
    remora(&other, "", &["snapshot", "restore", file]).unwrap();
    assert_eq!(etcdctl(&other, BOB, &["get", "app/a"]).unwrap(), "app/a\n1\n");
    refused(etcdctl(&other, "", &["get", "ro"]), "user name is empty");
    let path = format!("/v1/kv/secret?raw&token={token}");
    assert_eq!(other.client().get(&path).unwrap().text(), "ACL not found");
}
