//! Servers found together, are replaced, move to other addresses, and come back without their log.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{Agent, AgentSpec, Client, Cluster, Load, Place, eventually};

const SOON: Duration = Duration::from_secs(30);

fn status(client: &Client) -> Result<Value, String> {
    Ok(client.get("/status")?.json())
}

fn id(agent: &Agent) -> u64 {
    status(&agent.client()).unwrap()["id"].as_u64().unwrap()
}

fn voters(status: &Value) -> Vec<u64> {
    status["voters"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn member(status: &Value, name: &str) -> Option<Value> {
    let members = status["members"].as_array().unwrap();
    members.iter().find(|member| member["name"] == name).cloned()
}

fn write(client: &Client, key: &str) {
    let answer = client.put(&format!("/v1/kv/{key}"), "v").unwrap();
    assert_eq!(answer.text().trim(), "true", "{key}");
}

fn has(client: &Client, key: &str) -> bool {
    client.get(&format!("/v1/kv/{key}?raw")).unwrap().status == 200
}

fn node_addresses(client: &Client) -> Result<Vec<(String, String)>, String> {
    let nodes = client.get("/v1/catalog/nodes")?.json();
    let nodes = nodes.as_array().ok_or("no list of nodes")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        nodes.iter().map(|node| (text(&node["Node"]), text(&node["Address"]))).collect();
    all.sort();
    Ok(all)
}

/// Waits until this server lives, has the log, and does not vote.
fn stands_by(client: &Client, name: &str) {
    eventually(&format!("{name} stands by"), SOON, || match member(&status(client)?, name) {
        Some(one) if one["raft"] == "standby" && one["alive"] == true => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// A load that has begun to be acknowledged.
fn load_through(agents: &[String]) -> Load {
    let load = Load::start("load/", agents, 100);
    eventually("load before the fault", SOON, || match load.tally().acknowledged.len() {
        n if n >= 50 => Ok(()),
        n => Err(format!("{n} acknowledged")),
    });
    load
}

/// No more load: what was acknowledged is all there.
fn settle(load: Load, client: &Client) {
    let tally = load.stop();
    let keys = client.get("/v1/kv/load/?keys").unwrap().json();
    let keys = keys.as_array().unwrap();
    let lost = |n: &&u64| !keys.iter().any(|key| *key == format!("load/{n}"));
    let lost: Vec<&u64> = tally.acknowledged.iter().filter(lost).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let acknowledged = tally.acknowledged.len() as u64;
    assert!(acknowledged >= tally.sent * 9 / 10, "{acknowledged} of {}", tally.sent);
}

#[test]
fn servers_with_one_config_found_one_cluster_although_one_is_killed_meanwhile() {
    let candidate = |n| AgentSpec::server(&format!("same-{n}")).with_cluster("expect: 3");
    let mut specs: Vec<AgentSpec> = (0..3).map(candidate).collect();
    let join: Vec<String> = specs.iter().map(|spec| spec.place.peer()).collect();
    specs.iter_mut().for_each(|spec| spec.join.clone_from(&join));
    let last = specs.remove(1);
    let mut servers: Vec<Agent> = specs.into_iter().rev().map(Agent::launch).collect();
    let client = servers[0].client();
    eventually("it says whom it has met", SOON, || {
        let said = status(&client)?["board"].to_string();
        if said.contains("met 2 of 3 agents: same-0, same-2") { Ok(()) } else { Err(said) }
    });
    servers[0].kill();
    servers.push(Agent::launch(last));
    servers[0].launch_again();
    let cluster = Cluster { servers };
    cluster.servers.iter().for_each(Agent::wait_ready);
    cluster.wait_voters(3);
    let clusters: Vec<String> = cluster
        .servers
        .iter()
        .map(|server| status(&server.client()).unwrap()["cluster_id"].to_string())
        .collect();
    assert!(clusters.iter().all(|one| *one == clusters[0]), "{clusters:?}");
    write(&cluster.servers[2].client(), "k");
    assert!(has(&cluster.servers[0].client(), "k"));
}

#[test]
fn a_dead_voter_is_replaced_by_the_spare_while_writes_go_on() {
    let quick = |spec: AgentSpec| spec.with_cluster("replace_after: 2s");
    let mut cluster = Cluster::with(3, |_, spec| quick(spec));
    let spare = Agent::start(quick(AgentSpec::server("spare").joining(cluster.peers())));
    let leader = cluster.leader();
    let victim = (leader + 1) % 3;
    let victim_id = id(&cluster.servers[victim]);
    let client = cluster.servers[leader].client();
    stands_by(&client, "spare");
    let spare_id = id(&spare);
    let load = load_through(&[cluster.servers[leader].spec.place.http(), spare.spec.place.http()]);
    cluster.servers[victim].kill();
    let mut last = (load.tally().acknowledged.len(), Instant::now());
    let mut longest = Duration::ZERO;
    eventually("the spare votes instead", SOON, || {
        let acknowledged = load.tally().acknowledged.len();
        if acknowledged > last.0 {
            last = (acknowledged, Instant::now());
        }
        longest = longest.max(last.1.elapsed());
        let voters = voters(&status(&client)?);
        let replaced = voters.contains(&spare_id) && !voters.contains(&victim_id);
        if replaced && voters.len() == 3 { Ok(()) } else { Err(format!("{voters:?}")) }
    });
    assert!(longest < Duration::from_secs(5), "no write was taken for {longest:?}");
    settle(load, &client);

    cluster.servers[victim].launch_again();
    stands_by(&client, &cluster.servers[victim].spec.name);
    assert_eq!(id(&cluster.servers[victim]), victim_id, "it is who it was");
    let now = voters(&status(&client).unwrap());
    assert!(now.contains(&spare_id) && !now.contains(&victim_id), "{now:?}");
}

#[test]
fn all_servers_move_to_other_addresses_and_find_each_other() {
    let mut cluster = Cluster::of(3);
    write(&cluster.servers[1].client(), "kept");
    let ids: Vec<u64> = cluster.servers.iter().map(id).collect();
    cluster.servers.iter_mut().for_each(Agent::kill);
    for server in &mut cluster.servers {
        server.spec.place = Place::new();
    }
    let join = cluster.peers();
    for server in &mut cluster.servers {
        server.spec.join.clone_from(&join);
        server.launch_again();
    }
    cluster.servers.iter().for_each(Agent::wait_ready);
    cluster.wait_voters(3);
    assert_eq!(cluster.servers.iter().map(id).collect::<Vec<_>>(), ids);
    let expected: Vec<(String, String)> = cluster
        .servers
        .iter()
        .map(|server| (server.spec.name.clone(), server.spec.place.0.to_string()))
        .collect();
    for server in &cluster.servers {
        let client = server.client();
        assert!(has(&client, "kept"));
        eventually("every node is there once, where it is now", SOON, || {
            match node_addresses(&client)? {
                found if found == expected => Ok(()),
                found => Err(format!("{found:?}")),
            }
        });
    }
}

#[test]
fn an_edge_that_restarts_elsewhere_with_nothing_on_disk_is_the_same_node() {
    let server = Agent::start(AgentSpec::server("only"));
    let client = server.client();
    let service =
        "services:\n  - { name: web, port: 80, checks: [{ ttl: 60s, initial: passing }] }";
    let join = vec![server.spec.place.peer()];
    let mut edge = Agent::start(AgentSpec::edge("box", join).with(service));
    for _ in 0..2 {
        edge.kill();
        edge.spec.place = Place::new();
        edge.launch_again();
        let place = edge.spec.place.0.to_string();
        eventually("it is there, where it is now", SOON, || {
            let nodes = node_addresses(&client)?;
            let boxes: Vec<_> = nodes.iter().filter(|(name, _)| name == "box").collect();
            assert!(boxes.len() <= 1, "{boxes:?}");
            let rows = client.get("/v1/health/service/web")?.json();
            let rows = rows.as_array().ok_or("no rows")?;
            assert!(rows.len() <= 1, "{rows:?}");
            let found = rows.first().map(|row| &row["Node"]["Address"]);
            let moved = boxes.iter().any(|(_, at)| *at == place);
            let moved = moved && found.is_some_and(|at| *at == place.as_str());
            if moved { Ok(()) } else { Err(format!("{boxes:?} {rows:?}")) }
        });
    }
    edge.wait_ready();
    let status = status(&client).unwrap();
    let members = status["members"].as_array().unwrap();
    assert_eq!(members.iter().filter(|member| member["name"] == "box").count(), 1, "{status}");
}

#[test]
fn an_agent_that_the_cluster_needs_as_no_server_is_an_edge_that_listens_for_nobody() {
    let founder = AgentSpec::server("enough").with_cluster("voters: 1\n  standbys: 0");
    let founder = Agent::start(founder);
    let mut spec = AgentSpec::server("extra").joining(vec![founder.spec.place.peer()]);
    spec.role = "auto";
    let extra = Agent::start(spec);
    let status = status(&extra.client()).unwrap();
    assert_eq!(status["role"], "edge", "{status}");
    let listeners = status["listeners"].as_array().unwrap();
    assert!(!listeners.is_empty(), "{status}");
    assert!(listeners.iter().all(|listener| listener["name"] != "cluster"), "{status}");
    let peer = extra.spec.place.peer();
    eventually("its port is closed", SOON, || match std::net::TcpStream::connect(&peer) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Three servers, one of which is to lose something that the others do not.
struct Loss {
    cluster: Cluster,
    leader: usize,
    lost: usize,
    /// Who the loser was.
    old: u64,
    term: u64,
}

impl Loss {
    fn prepare() -> Loss {
        let mut cluster = Cluster::of(3);
        write(&cluster.servers[0].client(), "kept");
        let leader = cluster.leader();
        let lost = (leader + 1) % 3;
        let old = id(&cluster.servers[lost]);
        // Whoever has nothing and is to join nobody founds a cluster of its own.
        cluster.servers[lost].spec.join = cluster.peers();
        let term = status(&cluster.servers[leader].client()).unwrap()["term"].as_u64().unwrap();
        Loss { cluster, leader, lost, old, term }
    }

    fn loser(&mut self) -> &mut Agent {
        &mut self.cluster.servers[self.lost]
    }

    fn load(&self) -> Load {
        let others = (0..3).filter(|i| *i != self.lost);
        let others: Vec<String> =
            others.map(|i| self.cluster.servers[i].spec.place.http()).collect();
        load_through(&others)
    }

    /// It comes back as a new server under its name, while the others, whose processes are built
    /// with debug assertions here, go on under the same leader.
    fn is_new_again(&self, load: Load) {
        let loser = &self.cluster.servers[self.lost];
        let name = &loser.spec.name;
        let client = self.cluster.servers[self.leader].client();
        eventually("it votes under another id", SOON, || {
            let status = status(&client)?;
            let now = member(&status, name).ok_or("it is no member")?["id"].as_u64().unwrap();
            let voters = voters(&status);
            let known = status["members"].as_array().unwrap().iter().any(|m| m["id"] == self.old);
            let replaced = voters.contains(&now) && !voters.contains(&self.old) && !known;
            if now > self.old && replaced && voters.len() == 3 {
                Ok(())
            } else {
                Err(format!("{now} is member, {voters:?} vote\n{}", loser.log()))
            }
        });
        settle(load, &client);
        loser.wait_ready();
        assert!(has(&loser.client(), "kept"));
        write(&loser.client(), "after");
        let now = status(&client).unwrap();
        assert_eq!((&now["raft"], &now["term"]), (&"leader".into(), &self.term.into()), "{now}");
        let nodes = node_addresses(&client).unwrap();
        assert_eq!(nodes.iter().filter(|(node, _)| node == name).count(), 1, "{nodes:?}");
    }
}

#[test]
fn a_server_without_its_log_comes_back_as_a_new_one() {
    let mut loss = Loss::prepare();
    let load = loss.load();
    loss.loser().kill();
    fs::remove_dir_all(loss.loser().path("data").join("wal")).unwrap();
    loss.loser().launch_again();
    loss.is_new_again(load);
}

#[test]
fn a_server_whose_whole_data_dir_was_wiped_comes_back_as_a_new_one() {
    let mut loss = Loss::prepare();
    let load = loss.load();
    loss.loser().kill();
    fs::remove_dir_all(loss.loser().path("data")).unwrap();
    loss.loser().launch_again();
    loss.is_new_again(load);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_server_with_an_older_log_than_it_had_is_told_so_and_comes_back_as_a_new_one() {
    let mut loss = Loss::prepare();
    let data = loss.loser().path("data");
    let (wal, backup) = (data.join("wal"), loss.loser().path("backup"));
    assert!(loss.loser().stop().success(), "{}", loss.loser().log());
    copy(&wal, &backup);
    loss.loser().start_again();
    let client = loss.loser().client();
    for n in 0..20 {
        write(&client, &format!("more/{n}"));
    }
    let load = loss.load();
    loss.loser().kill();
    fs::remove_dir_all(&wal).unwrap();
    copy(&backup, &wal);
    loss.loser().launch_again();
    let ended = loss.loser().ended();
    let log = loss.loser().log();
    assert_eq!(ended.code(), Some(1), "{log}");
    assert!(log.contains("has lost what it acknowledged"), "{log}");
    loss.loser().launch_again();
    loss.is_new_again(load);
}
