//! A cluster that goes away: answers go on and say so, and end where that was asked for.

use std::time::Duration;

use crate::house::{Agent, AgentSpec, Cluster, eventually, run};

const SOON: Duration = Duration::from_secs(40);

fn ask(agent: &Agent) -> String {
    let server = format!("@{}", agent.spec.place.0);
    let name = "web.service.remora";
    run("dig", &[&server, "-p", "8600", "+tries=2", "+time=2", name, "A"]).unwrap()
}

fn becomes(what: &str, agent: &Agent, wanted: &[&str], unwanted: &[&str]) {
    eventually(what, SOON, || {
        let shown = ask(agent);
        let right = wanted.iter().all(|part| shown.contains(part))
            && !unwanted.iter().any(|part| shown.contains(part));
        if right { Ok(()) } else { Err(shown) }
    });
}

fn staleness(agent: &Agent) -> f64 {
    let text = agent.client().get("/metrics").unwrap().text();
    let line = text.lines().find(|line| line.starts_with("remora_dns_staleness_seconds"));
    line.unwrap().split(' ').next_back().unwrap().parse().unwrap()
}

fn board(agent: &Agent) -> String {
    let status = agent.client().get("/status").unwrap().json();
    let entries = status["board"].as_array().unwrap().iter();
    let about = entries.filter(|entry| entry["subject"] == "dns/staleness");
    about.map(|entry| entry["level"].as_str().unwrap()).collect()
}

#[test]
fn answers_go_on_marked_and_end_at_the_bound() {
    let mut cluster = Cluster::of(1);
    let patient = Agent::start(AgentSpec::edge("patient", cluster.peers()));
    let strict = Agent::start(AgentSpec::edge("strict", cluster.peers()).with_dns("max_stale: 3s"));
    let body = r#"{"Node": "a", "Address": "10.0.0.1", "Service": {"Service": "web"}}"#;
    let server = &mut cluster.servers[0];
    assert_eq!(server.client().put("/v1/catalog/register", body).unwrap().status, 200);
    for agent in [&patient, &strict] {
        becomes("it is known", agent, &["NOERROR", "10.0.0.1"], &["EDE"]);
        assert!(staleness(agent) < 3.0);
        assert_eq!(board(agent), "");
    }
    server.kill();
    becomes("the strict one ends", &strict, &["SERVFAIL", "EDE: 22"], &["10.0.0.1"]);
    assert!(staleness(&strict) > 3.0);
    assert_eq!(board(&strict), "failed");
    becomes("the patient one says so", &patient, &["NOERROR", "10.0.0.1", "EDE: 3 "], &[]);
    assert!(staleness(&patient) > 10.0);
    assert_eq!(board(&patient), "warning");
    server.launch_again();
    for agent in [&patient, &strict] {
        becomes("it is back", agent, &["NOERROR", "10.0.0.1"], &["EDE"]);
        eventually("the board is clear", SOON, || match board(agent).as_str() {
            "" => Ok(()),
            level => Err(level.to_owned()),
        });
    }
}
