//! Debian's Prometheus finds its targets over Consul's API and over DNS, and follows them.
//!
//! Bullseye's: since then Debian builds it without discovery by Consul.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::house::{Agent, AgentSpec, Client, Place, eventually};

/// Both kinds of discovery look again after a second, on a machine that is loaded.
const SOON: Duration = Duration::from_secs(60);

/// Where `scripts/test` has it put.
fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/prometheus")
}

struct Prometheus {
    child: Child,
    place: Place,
}

impl Prometheus {
    /// In a mount namespace whose resolver is the agent: Prometheus takes it from the system.
    fn start(agent: &Agent) -> Prometheus {
        let (place, dns) = (Place::new(), agent.spec.place.0);
        let resolv = agent.path("resolv.conf");
        fs::write(&resolv, format!("nameserver {dns}\n")).unwrap();
        let config = agent.path("prometheus.yml");
        fs::write(&config, config_for(agent)).unwrap();
        let said = fs::File::create(agent.path("prometheus.log")).unwrap();
        let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&resolv)
            .arg(program())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", agent.path("tsdb").display()))
            .arg(format!("--web.listen-address={}:9090", place.0))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Prometheus { child, place }
    }

    /// The addresses that a job scrapes.
    fn targets(&self, job: &str) -> Result<BTreeSet<String>, String> {
        let client = Client::new(&format!("{}:9090", self.place.0));
        let answer = client.get("/api/v1/targets?state=active")?;
        if answer.status != 200 {
            return Err(answer.text());
        }
        let active = answer.json()["data"]["activeTargets"].as_array().cloned();
        let of_job = active.unwrap_or_default().into_iter();
        let of_job = of_job.filter(|target| target["scrapePool"] == job);
        let address = |target: serde_json::Value| {
            target["discoveredLabels"]["__address__"].as_str().unwrap().to_owned()
        };
        Ok(of_job.map(address).collect())
    }

    fn scrapes(&self, agent: &Agent, ports: &[u16]) {
        let ip = agent.spec.place.0;
        // Over DNS the address is the name that the record gives.
        let wanted: BTreeSet<String> = ports.iter().map(|port| port.to_string()).collect();
        for job in ["consul", "dns"] {
            eventually(&format!("{job} scrapes {ports:?} of {ip}"), SOON, || {
                let found = self.targets(job).map_err(|error| why(agent, error))?;
                let port = |target: &String| target.rsplit(':').next().unwrap().to_owned();
                let found_ports: BTreeSet<String> = found.iter().map(port).collect();
                if found_ports == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            });
        }
    }
}

fn why(agent: &Agent, error: String) -> String {
    let said = fs::read_to_string(agent.path("prometheus.log")).unwrap_or_default();
    format!("{error}\n{said}")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_for(agent: &Agent) -> String {
    format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - job_name: consul\n  consul_sd_configs:\n  \
         - {{ server: \"{http}\", services: [web], tags: [scraped], refresh_interval: 1s }}\n  \
         relabel_configs:\n  \
         - {{ source_labels: [__meta_consul_health], regex: passing, action: keep }}\n  \
         - {{ source_labels: [__meta_consul_service_metadata_team], regex: a, action: keep }}\n\
         - job_name: dns\n  dns_sd_configs:\n  \
         - {{ names: [scraped.web.service.consul], type: SRV, refresh_interval: 1s }}\n",
        http = agent.spec.place.http(),
    )
}

fn register(client: &Client, id: &str, port: u16, tag: &str) {
    let body = format!(
        r#"{{"ID":"{id}","Name":"web","Port":{port},"Tags":["{tag}"],"Meta":{{"team":"a"}},
            "Check":{{"CheckID":"{id}","TTL":"10m","Status":"passing"}}}}"#
    );
    assert_eq!(client.put("/v1/agent/service/register", body).unwrap().status, 200);
}

#[test]
fn prometheus_finds_its_targets_and_follows_them() {
    assert!(program().exists(), "{}: scripts/test fetches it", program().display());
    let spec = AgentSpec::server("watched");
    let dns = format!("listen: [\"{}:53\"]", spec.place.0);
    let agent = Agent::start(AgentSpec { dns, ..spec });
    let client = agent.client();
    register(&client, "one", 8081, "scraped");
    register(&client, "two", 8082, "scraped");
    register(&client, "other", 8083, "not-scraped");
    let prometheus = Prometheus::start(&agent);
    prometheus.scrapes(&agent, &[8081, 8082]);
    register(&client, "three", 8084, "scraped");
    prometheus.scrapes(&agent, &[8081, 8082, 8084]);
    assert_eq!(client.put("/v1/agent/check/fail/one", "").unwrap().status, 200);
    prometheus.scrapes(&agent, &[8082, 8084]);
    assert_eq!(client.put("/v1/agent/service/deregister/two", "").unwrap().status, 200);
    prometheus.scrapes(&agent, &[8084]);
    assert_eq!(client.put("/v1/agent/check/pass/one", "").unwrap().status, 200);
    prometheus.scrapes(&agent, &[8081, 8084]);
}
