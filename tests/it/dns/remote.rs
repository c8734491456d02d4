//! Beyond loopback: who asks too much is put off, and comes back over TCP.

use std::fs;

use crate::house::{Agent, run};

const REMORA: &str = env!("CARGO_BIN_EXE_remora");

/// Sends what the arguments say and counts whole and cut answers.
const FLOOD: &str = r#"
import socket, sys
query = bytes.fromhex("1234010000010000000000000377656207736572766963650672656d6f72610000010001")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
s.connect((sys.argv[2], 8600))
s.settimeout(5)
whole = cut = 0
for _ in range(300):
    s.send(query)
    answer = s.recv(4096)
    assert len(answer) <= len(query) or not answer[2] & 2
    if answer[2] & 2: cut += 1
    else: whole += 1
print(whole, cut)
"#;

#[test]
fn who_asks_too_much_is_sent_to_tcp() {
    let dir = tempfile::tempdir_in(Agent::memory()).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let config = "cluster: { bind: \"127.0.0.1:8300\" }\nhttp: { listen: [\"127.0.0.1:8500\"] }\n\
                  dns: { listen: [\"10.77.0.1:8600\", \"127.0.0.1:8600\"], insecure: true, \
                  rate_limit: 50 }\n";
    fs::write(path("c.yaml"), format!("data_dir: {}\n{config}", path("data"))).unwrap();
    fs::write(path("flood.py"), FLOOD).unwrap();
    // A network of its own, with an address that is not loopback's.
    let script = format!(
        "ip link set lo up; ip addr add 10.77.0.1/32 dev lo; ip addr add 10.77.0.2/32 dev lo
         {REMORA} agent --node n1 -c {config} > {log} 2>&1 & agent=$!
         register() {{ curl -sf -o /dev/null -X PUT 127.0.0.1:8500/v1/catalog/register \
            -d '{{\"Node\":\"a\",\"Address\":\"10.0.0.1\",\"Service\":{{\"Service\":\"web\"}}}}'; }}
         for i in $(seq 200); do register && break; sleep 0.1; done
         python3 {flood} 10.77.0.2 10.77.0.1
         dig @10.77.0.1 -b 10.77.0.2 -p 8600 +short web.service.remora
         python3 {flood} 127.0.0.1 127.0.0.1
         curl -s 127.0.0.1:8500/metrics | grep -a '^remora_dns_limited'
         kill $agent; wait $agent; true",
        config = path("c.yaml"),
        log = path("log"),
        flood = path("flood.py"),
    );
    let said = run("unshare", &["--net", "sh", "-c", &script]).unwrap();
    let log = fs::read_to_string(path("log")).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let [flood, dig, local, limited] = lines.as_slice() else { panic!("{said}\n{log}") };
    let (whole, cut) = flood.split_once(' ').unwrap();
    let (whole, cut): (usize, usize) = (whole.parse().unwrap(), cut.parse().unwrap());
    // A second's worth at once, and what a slow machine takes longer for.
    assert!(whole >= 50 && cut > 0 && whole + cut == 300, "{whole} whole, {cut} cut");
    assert_eq!(*dig, "10.0.0.1", "dig comes back over TCP");
    assert_eq!(*local, "300 0");
    let limited: usize = limited.split(' ').next_back().unwrap().parse().unwrap();
    // dig's own question was put off too, or not.
    assert!((cut..cut + 3).contains(&limited), "{limited} were counted, {cut} were cut");
}
