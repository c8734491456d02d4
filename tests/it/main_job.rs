//! The main job on real input: three servers, an edge, two apps, nginx, dig and curl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::house::{
    Agent, AgentSpec, App, Client, Cluster, Nginx, Place, dig, dig_tcp, eventually,
};

const INTERVAL: &str = "200ms";
const TIMEOUT: &str = "300ms";
/// fall x (interval + timeout) + 1 s, as promised, and what this machine needs to look.
const GONE: Duration = Duration::from_millis(1500 + 500);
const SOON: Duration = Duration::from_secs(10);

fn nginx_template(place: Place, dir: &Path) -> String {
    format!(
        "pid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\nevents {{}}\nhttp {{\n  \
         access_log off;\n  upstream web {{\n\
         {{%- for i in service(\"web\") %}}\n    \
         server {{{{ i.address }}}}:{{{{ i.port }}}} max_fails=0;\n\
         {{%- endfor %}}\n  }}\n  \
         server {{\n    listen {ip}:8080;\n    location / {{ proxy_pass http://web; }}\n  }}\n}}\n",
        dir = dir.display(),
        ip = place.0,
    )
}

fn edge(join: Vec<String>, dir: &Path) -> AgentSpec {
    let spec = AgentSpec::edge("edge", join);
    let ip = spec.place.0;
    let source = dir.join("nginx.conf.j2");
    fs::write(&source, nginx_template(spec.place, dir)).unwrap();
    let conf = dir.join("nginx.conf");
    let check = |port| {
        format!(
            "[{{ http: \"http://{ip}:{port}/who\", interval: {INTERVAL}, timeout: {TIMEOUT} }}]"
        )
    };
    let reload = format!(
        "test ! -s {dir}/nginx.pid || nginx -s reload -c {dir}/nginx.conf",
        dir = dir.display()
    );
    spec.with(&format!(
        "services:\n  \
         - {{ name: web, id: web-1, port: 8081, tags: [one], checks: {one} }}\n  \
         - {{ name: web, id: web-2, port: 8082, tags: [two], checks: {two} }}\n\
         upstreams:\n  \
         - {{ service: web, listen: \"{ip}:9001\", protocol: http }}\n  \
         - {{ service: web, listen: \"{ip}:9002\", protocol: tcp }}\n\
         templates:\n  \
         - source: {source}\n    destination: {conf}\n    \
         check: [\"nginx\", \"-t\", \"-c\", \"{{staged}}\"]\n    \
         reload: [\"sh\", \"-c\", \"{reload}\"]",
        one = check(8081),
        two = check(8082),
        source = source.display(),
        conf = conf.display(),
    ))
}

/// Who answers within a number of calls.
fn answering(client: &Client, calls: usize) -> Result<BTreeSet<String>, String> {
    let mut seen = BTreeSet::new();
    for _ in 0..calls {
        let answer = client.get("/who")?;
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        seen.insert(answer.text());
    }
    Ok(seen)
}

fn expect_set(seen: BTreeSet<String>, expected: &[&str]) -> Result<(), String> {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    if seen == expected { Ok(()) } else { Err(format!("{seen:?} instead of {expected:?}")) }
}

fn passing_ids(client: &Client) -> Result<BTreeSet<String>, String> {
    let rows = client.get("/v1/health/service/web?passing")?.json();
    let ids = rows.as_array().ok_or("no array")?.iter();
    Ok(ids.map(|row| row["Service"]["ID"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn an_app_is_found_balanced_to_and_written_to_files_until_it_dies() {
    let cluster = Cluster::of(3);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let spec = edge(cluster.peers(), dir.path());
    let ip = spec.place.0;
    let mut one = App::start("one", ip, 8081);
    let _two = App::start("two", ip, 8082);
    let edge = Agent::start(spec);
    let client = edge.client();

    // Found by DNS and HTTP, on the edge and on every server.
    let servers = cluster.servers.iter().map(|server| server.spec.place.0);
    for server in servers.chain([ip]) {
        eventually("both in SRV", SOON, || {
            let found = dig(server, "web.service.remora", "SRV").len();
            if found == 2 { Ok(()) } else { Err(format!("{found} records at {server}")) }
        });
        let found = dig(server, "web.service.consul", "A");
        assert_eq!(found, [ip.to_string()], "equal addresses are one record");
        assert_eq!(dig_tcp(server, "web.service.remora", "SRV").len(), 2);
        let tagged = dig_tcp(server, "_web._two.service.remora", "SRV");
        assert!(tagged.len() == 1 && tagged[0].contains(" 8082 "), "{tagged:?}");
        assert_eq!(dig(server, "one.web.service.remora", "SRV").len(), 1);
        assert_eq!(dig(server, "absent.service.remora", "A").len(), 0);
    }
    let services = client.get("/v1/catalog/services").unwrap().json();
    assert_eq!(services["web"].as_array().map(Vec::len), Some(2), "{services}");
    eventually("both passing", SOON, || expect_set(passing_ids(&client)?, &["web-1", "web-2"]));

    // Balanced to, over HTTP, over TCP, and by nginx from the rendered file.
    let http = Client::new(&format!("{ip}:9001"));
    let tcp = Client::new(&format!("{ip}:9002"));
    let nginx_client = Client::new(&format!("{ip}:8080"));
    let conf = dir.path().join("nginx.conf");
    eventually("both in the file", SOON, || {
        let text = fs::read_to_string(&conf).map_err(|error| error.to_string())?;
        if text.contains(":8081") && text.contains(":8082") { Ok(()) } else { Err(text) }
    });
    let _nginx = Nginx::start(&conf);
    for (what, client) in [("http", &http), ("tcp", &tcp), ("nginx", &nginx_client)] {
        eventually(what, SOON, || expect_set(answering(client, 30)?, &["one", "two"]));
    }

    // Killed: gone from everywhere, and no caller of the HTTP upstream sees it.
    one.kill();
    eventually("gone from health", GONE, || {
        assert!(http.get("/who").unwrap().status == 200, "the upstream hides the gap");
        expect_set(passing_ids(&client)?, &["web-2"])
    });
    eventually("gone from DNS", SOON, || {
        let left = dig(ip, "web.service.remora", "SRV");
        if left.len() == 1 && left[0].contains(" 8082 ") { Ok(()) } else { Err(left.join(";")) }
    });
    eventually("gone from the file", SOON, || {
        let text = fs::read_to_string(&conf).map_err(|error| error.to_string())?;
        if !text.contains(":8081") && text.contains(":8082") { Ok(()) } else { Err(text) }
    });
    for (what, client) in [("http", &http), ("tcp", &tcp), ("nginx", &nginx_client)] {
        eventually(what, SOON, || expect_set(answering(client, 20)?, &["two"]));
    }

    // Back again.
    let _one = App::start("one", ip, 8081);
    eventually("back", SOON, || expect_set(passing_ids(&client)?, &["web-1", "web-2"]));
    for (what, client) in [("http", &http), ("tcp", &tcp), ("nginx", &nginx_client)] {
        eventually(what, SOON, || expect_set(answering(client, 30)?, &["one", "two"]));
    }
}
