//! What operators do, with real agents: tokens, backups, a last survivor, putting an agent out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use remora::identity::JoinToken;
use serde_json::Value;

use crate::house::{Agent, AgentSpec, Client, Cluster, eventually};

const SOON: Duration = Duration::from_secs(30);

fn remora(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remora"));
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

/// A command that asks an agent, and must succeed; what it printed.
fn told(agent: &Agent, args: &[&str]) -> String {
    let output = asked(agent, args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{output:?}");
    said
}

/// A command that must fail; what it said.
fn refused(agent: &Agent, args: &[&str]) -> String {
    let output = asked(agent, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn asked(agent: &Agent, args: &[&str]) -> Output {
    let address = agent.spec.place.http();
    remora(&[args, &["--http-addr", &address]].concat())
}

/// A token as the command prints it.
fn token(agent: &Agent, args: &[&str]) -> JoinToken {
    JoinToken::parse(told(agent, &[&["join-token"], args].concat()).trim()).unwrap()
}

/// The token's line of `join-token list --json`.
fn listed(agent: &Agent, token: &JoinToken) -> Value {
    let all: Value = serde_json::from_str(&told(agent, &["join-token", "list", "--json"])).unwrap();
    let id = token.id().to_string();
    let found = all.as_array().unwrap().iter().find(|row| row["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not in {all}")).clone()
}

fn with_token(token: &JoinToken, spec: AgentSpec) -> AgentSpec {
    AgentSpec { token: token.clone(), ..spec }
}

fn status(client: &Client) -> Result<Value, String> {
    Ok(client.get("/status")?.json())
}

fn members(agent: &Agent) -> Vec<String> {
    let status = status(&agent.client()).unwrap();
    let members = status["members"].as_array().unwrap().iter();
    members.map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the agent's own page tells of something, and of the command that helps.
fn is_told(agent: &Agent, what: &str) {
    eventually(what, SOON, || match agent.client().get("/status")?.text() {
        page if page.contains(what) && page.contains("remora join-token") => Ok(()),
        page => Err(page),
    });
}

fn write(agent: &Agent, key: &str, value: &str) {
    let answer = agent.client().put(&format!("/v1/kv/{key}"), value).unwrap();
    assert_eq!(answer.text().trim(), "true", "{key}");
}

/// What an agent reads of its own state.
fn value(agent: &Agent, key: &str) -> Result<Option<String>, String> {
    let answer = agent.client().get(&format!("/v1/kv/{key}?raw&stale"))?;
    Ok((answer.status == 200).then(|| answer.text()))
}

fn becomes(agent: &Agent, key: &str, expected: Option<&str>) {
    eventually(&format!("{key} at {}", agent.spec.name), SOON, || match value(agent, key)? {
        found if found.as_deref() == expected => Ok(()),
        found => Err(format!("{found:?} is not {expected:?}")),
    });
}

#[test]
fn printed_tokens_let_in_what_they_are_for_as_often_as_they_say() {
    let first = Agent::start(AgentSpec::server("first"));
    let join = vec![first.spec.place.peer()];
    let servers = token(&first, &["--role", "server", "--ttl", "1h", "--uses", "1"]);
    let row = listed(&first, &servers);
    assert_eq!((&row["role"], &row["uses_left"]), (&"server".into(), &1.into()), "{row}");
    assert!((3000..=3600).contains(&row["expires_in_s"].as_u64().unwrap()), "{row}");

    let spec = |name: &str| AgentSpec::server(name).joining(join.clone());
    let second = Agent::start(with_token(&servers, spec("second")));
    assert_eq!(status(&second.client()).unwrap()["role"], "server");
    assert_eq!(listed(&first, &servers)["uses_left"], 0);
    let third = Agent::launch(with_token(&servers, spec("third")));
    is_told(&third, "used up");

    let edges = token(&first, &["--ttl", "1h", "--uses", "2"]);
    let edge = Agent::start(with_token(&edges, AgentSpec::edge("edge", join.clone())));
    write(&edge, "k", "through the edge");
    becomes(&second, "k", Some("through the edge"));
    assert_eq!(listed(&first, &edges)["uses_left"], 1);
    // A wish for more than the token gives is refused, not rounded down.
    let mut spec = with_token(&edges, spec("upstart"));
    spec.role = "server";
    let mut upstart = Agent::launch(spec);
    assert_ne!(upstart.ended().code(), Some(0));
    assert!(upstart.log().contains("role: server needs a server's token"), "{}", upstart.log());
    assert_eq!(members(&first), ["first", "second", "edge"]);
}

#[test]
fn a_retired_token_and_one_that_has_expired_let_nobody_in_and_say_what_to_do() {
    let server = Agent::start(AgentSpec::server("keeper"));
    let join = vec![server.spec.place.peer()];
    let (good, bad) = (token(&server, &[]), token(&server, &[]));
    let brief = token(&server, &["--ttl", "1s"]);
    // The id alone and the whole token name the same one.
    told(&server, &["join-token", "retire", &bad.id().to_string()]);
    let list = told(&server, &["join-token", "list"]);
    assert!(list.contains(&good.id().to_string()), "{list}");
    assert!(!list.contains(&bad.id().to_string()), "{list}");
    let again = refused(&server, &["join-token", "retire", &bad.reveal()]);
    assert!(again.contains("there is no join token"), "{again}");
    assert!(!again.contains(bad.reveal().rsplit('-').next().unwrap()), "{again}");
    eventually("the brief one expires", SOON, || match listed(&server, &brief) {
        row if row["expires_in_s"] == 0 => Ok(()),
        row => Err(row.to_string()),
    });

    let edge = |name: &str| AgentSpec::edge(name, join.clone());
    let late = Agent::launch(with_token(&bad, edge("late")));
    is_told(&late, "retired");
    let slow = Agent::launch(with_token(&brief, edge("slow")));
    is_told(&slow, "expired");
    let _welcome = Agent::start(with_token(&good, edge("welcome")));
    assert_eq!(members(&server), ["keeper", "welcome"]);
}

#[test]
fn an_edge_does_nothing_that_operators_may_and_names_who_does() {
    let server = Agent::start(AgentSpec::server("operated"));
    let edge = Agent::start(AgentSpec::edge("guest", vec![server.spec.place.peer()]));
    let file = edge.path("backup.snap");
    told(&server, &["snapshot", "save", file.to_str().unwrap()]);
    for args in [
        &["join-token", "--role", "server"][..],
        &["join-token", "list"],
        &["join-token", "retire", "0123456789abcdef"],
        &["servers"],
        &["servers", "set", "--voters", "1"],
        &["servers", "transfer-leader"],
        &["servers", "remove", "operated"],
        &["revoke", "operated"],
        &["snapshot", "save", "/dev/null"],
        &["snapshot", "restore", file.to_str().unwrap()],
    ] {
        let said = refused(&edge, args);
        assert!(said.contains("ask operated"), "{args:?}: {said}");
    }
    assert_eq!(members(&server), ["operated", "guest"]);
}

#[test]
fn a_backup_is_restored_over_the_cluster_that_made_it_and_into_another() {
    let cluster = Cluster::of(3);
    let edge = Agent::start(AgentSpec::edge("edge", cluster.peers()));
    let leader = &cluster.servers[cluster.leader()];
    write(leader, "color", "blue");
    let file = edge.path("backup.snap");
    let file = file.to_str().unwrap();
    let saved = told(&cluster.servers[1], &["snapshot", "save", file]);
    assert!(saved.contains("1 keys"), "{saved}");
    let looked = remora(&["snapshot", "inspect", file, "--json"]);
    let looked: Value = serde_json::from_slice(&looked.stdout).unwrap();
    let id = |agent: &Agent| status(&agent.client()).unwrap()["cluster_id"].clone();
    assert_eq!((&looked["keys"], &looked["cluster"]), (&1.into(), &id(leader)), "{looked}");

    write(leader, "color", "red");
    write(leader, "later", "too");
    becomes(&edge, "later", Some("too"));
    let restored = told(leader, &["snapshot", "restore", file]);
    assert!(restored.contains("1 keys"), "{restored}");
    for agent in cluster.servers.iter().chain([&edge]) {
        becomes(agent, "color", Some("blue"));
        becomes(agent, "later", None);
    }
    write(&edge, "after", "goes on");

    let other = Agent::start(AgentSpec::server("elsewhere"));
    let follower = Agent::start(AgentSpec::edge("follower", vec![other.spec.place.peer()]));
    write(&other, "own", "is replaced");
    becomes(&follower, "own", Some("is replaced"));
    let before = id(&other);
    assert_ne!(before, id(leader));
    told(&other, &["snapshot", "restore", file]);
    for agent in [&other, &follower] {
        becomes(agent, "color", Some("blue"));
        becomes(agent, "own", None);
        assert_eq!(id(agent), before, "it is the cluster that it was");
    }
    write(&follower, "own", "anew");
    becomes(&other, "own", Some("anew"));

    // A file that was cut off changes nothing.
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() - 10]).unwrap();
    refused(&other, &["snapshot", "restore", file]);
    assert_ne!(remora(&["snapshot", "inspect", file]).status.code(), Some(0));
    becomes(&other, "own", Some("anew"));
}

/// A standby serves everything: an orchestrator that waits for it must not wait for ever.
#[test]
fn servers_that_lose_their_vote_to_a_lower_number_stand_by_and_stay_ready() {
    let cluster = Cluster::of(3);
    told(&cluster.servers[1], &["servers", "set", "--voters", "1"]);
    cluster.wait_voters(1);
    let leader = cluster.leader();
    let table = told(&cluster.servers[leader], &["servers"]);
    assert_eq!(table.matches("standby").count(), 2, "{table}");
    write(&cluster.servers[leader], "k", "v");
    for server in &cluster.servers {
        server.wait_ready();
        let learner = server.client().get("/readyz/non_learner").unwrap();
        assert_eq!(learner.status, 200, "{}", learner.text());
        becomes(server, "k", Some("v"));
        write(server, "through", &server.spec.name);
    }
}

/// The command that the docs name, with another directory in the place of theirs.
fn documented(command: &str, example: &str, place: &Path) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let docs = fs::read_to_string(docs).unwrap();
    let quoted = docs.split('`').find(|part| part.starts_with(command) && part.contains(example));
    let quoted = quoted.unwrap_or_else(|| panic!("the docs name no `{command} ... {example}`"));
    let words = quoted.split(' ').skip(1);
    words
        .map(|word| if word == example { place.display().to_string() } else { word.into() })
        .collect()
}

#[test]
fn the_last_of_three_servers_goes_on_alone_as_the_docs_say() {
    let mut cluster = Cluster::of(3);
    let edge = Agent::start(AgentSpec::edge("edge", cluster.peers()));
    write(&cluster.servers[0], "kept", "v");
    for server in &cluster.servers {
        becomes(server, "kept", Some("v"));
    }
    let mut survivor = cluster.servers.remove(0);
    for lost in &mut cluster.servers {
        lost.kill();
    }
    let data = survivor.path("data");
    let told = documented("remora recover", "/var/lib/remora", &data);
    let args: Vec<&str> = told.iter().map(String::as_str).collect();
    let busy = remora(&[&args[..], &["--yes"]].concat());
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && said.contains("another process uses it"), "{busy:?}");
    assert!(survivor.stop().success(), "{}", survivor.log());

    // Nothing on standard input is no answer: it asks, tells, and leaves everything alone.
    let asked = remora(&args);
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(text.contains("server-0") && text.contains("is LOST"), "{text}");
    let recovered = remora(&[&args[..], &["--yes"]].concat());
    assert!(recovered.status.success(), "{recovered:?}");
    survivor.start_again();
    becomes(&survivor, "kept", Some("v"));
    write(&survivor, "alone", "v");
    becomes(&edge, "alone", Some("v"));

    // The others come back as new servers, with empty data directories.
    let peer = survivor.spec.place.peer();
    for lost in &mut cluster.servers {
        fs::remove_dir_all(lost.path("data")).unwrap();
        lost.spec.join = vec![peer.clone()];
        lost.launch_again();
    }
    cluster.servers.push(survivor);
    cluster.servers.iter().for_each(Agent::wait_ready);
    cluster.wait_voters(3);
    for server in &cluster.servers {
        becomes(server, "alone", Some("v"));
    }
}

#[test]
fn a_revoked_agent_is_cut_off_whether_it_is_an_edge_or_a_server() {
    let cluster = Cluster::of(3);
    let leader = &cluster.servers[cluster.leader()];
    let join = vec![leader.spec.place.peer()];
    let guests = token(leader, &[]);
    let edge = Agent::start(with_token(&guests, AgentSpec::edge("guest", join)));
    told(leader, &["join-token", "retire", &guests.id().to_string()]);
    told(leader, &["revoke", "guest"]);
    eventually("the edge has nobody to follow", SOON, || match status(&edge.client())? {
        status if status["upstream"].is_null() => Ok(()),
        status => Err(status.to_string()),
    });
    write(leader, "secret", "v");
    is_told(&edge, "retired");
    assert_eq!(value(&edge, "secret").unwrap(), None, "it is told nothing any more");

    let victim = (cluster.leader() + 1) % 3;
    let name = &cluster.servers[victim].spec.name;
    let revoked = told(leader, &["revoke", name]);
    assert!(revoked.contains(&format!("revoked {name}")), "{revoked}");
    let client = leader.client();
    eventually("two vote", SOON, || match status(&client)? {
        status if status["voters"].as_array().map_or(0, Vec::len) == 2 => Ok(()),
        status => Err(status.to_string()),
    });
    write(leader, "secret", "changed");
    assert!(!members(leader).contains(name));
}
