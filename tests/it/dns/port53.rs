//! Port 53 by one flag: what a container needs, and what is said where it is not allowed.

use std::fs;
use std::time::Duration;

use crate::house::{Agent, AgentSpec, eventually, run};

const REMORA: &str = env!("CARGO_BIN_EXE_remora");

#[test]
fn without_the_capability_it_is_named() {
    // In a network of its own, where port 53 is privileged whatever this machine allows.
    let script = format!(
        "ip link set lo up; dir=$(mktemp -d); chown 65534 $dir; \
         setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \
         {REMORA} agent --data-dir $dir --dns 127.0.0.1:53; code=$?; rm -rf $dir; exit $code"
    );
    let error = run("unshare", &["--net", "sh", "-c", &script]).unwrap_err();
    assert!(error.contains("dns.listen: cannot listen on 127.0.0.1:53"), "{error}");
    assert!(error.contains("CAP_NET_BIND_SERVICE"), "{error}");
}

#[test]
fn the_c_library_finds_services_and_others() {
    // The others are an agent of another domain.
    let others = Agent::start(AgentSpec::server("n2").with_dns("domains: [others.test]"));
    let register = |agent: &Agent, name: &str, address: &str| {
        let body = format!(
            "{{\"Node\": \"far\", \"Address\": \"{address}\", \
             \"Service\": {{\"Service\": \"{name}\", \"Port\": 80}}}}"
        );
        let answer = agent.client().put("/v1/catalog/register", body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    register(&others, "shop", "10.5.5.5");
    let forward = format!("forward: [\"{}:8600\"]", others.spec.place.0);
    let spec = AgentSpec::server("n1").with_dns(&forward);
    let at = format!("{}:53", spec.place.0);
    let agent = Agent::start(spec.with_args(&["--dns", &at]));
    register(&agent, "web", "10.4.4.4");
    // As docs/dns.md has it, but for the address.
    let resolv = agent.path("resolv.conf");
    let text = format!("nameserver {}\nsearch service.remora\n", agent.spec.place.0);
    fs::write(&resolv, text).unwrap();
    let script = format!(
        "mount --bind {} /etc/resolv.conf && getent ahostsv4 web && \
         getent ahostsv4 web.service.consul && getent ahostsv4 shop.service.others.test && \
         getent hosts 10.4.4.4",
        resolv.display()
    );
    let found = eventually("names are found", Duration::from_secs(20), || {
        run("unshare", &["--mount", "sh", "-c", &script])
    });
    assert_eq!(found.matches("10.4.4.4").count(), 7, "{found}");
    assert_eq!(found.matches("10.5.5.5").count(), 3, "{found}");
    assert!(found.contains("far.node.dc1.remora"), "{found}");
}
