//! Every form of name by every type, transport and EDNS size, asked by dig and by kdig.

use std::net::Ipv4Addr;

use crate::house::{Agent, AgentSpec, run};

const TYPES: [&str; 11] =
    ["A", "AAAA", "SRV", "TXT", "ANY", "NS", "SOA", "PTR", "MX", "HTTPS", "TYPE65400"];

const NODES: &str = r#"[
    {"Node": "foo", "Address": "10.0.0.1", "NodeMeta": {"key": "value"},
     "Service": {"Service": "web", "ID": "web", "Port": 8080, "Tags": ["v1"]}},
    {"Node": "bar", "Address": "10.0.0.2",
     "Service": {"Service": "web", "ID": "web", "Port": 8081, "Tags": ["v2.x"]}},
    {"Node": "six", "Address": "fd00::6",
     "Service": {"Service": "six", "ID": "six", "Port": 9, "Address": "fd00::99"}}
]"#;

/// A name, and of each type that it has: the answer's records, sorted.
type Row = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const THERE: [Row; 12] = [
    (
        "foo.node.consul.",
        &[("A", &["A 10.0.0.1"]), ("ANY", &["A 10.0.0.1"]), ("TXT", &["TXT \"key=value\""])],
    ),
    ("six.node.dc1.consul.", &[("AAAA", &["AAAA fd00::6"]), ("ANY", &["AAAA fd00::6"])]),
    (
        "web.service.consul.",
        &[
            ("A", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("ANY", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("SRV", &["SRV 1 1 8080 foo.node.dc1.consul.", "SRV 1 1 8081 bar.node.dc1.consul."]),
        ],
    ),
    (
        "wEb.SerVice.dc1.dc.reMora.",
        &[
            ("A", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("ANY", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("SRV", &["SRV 1 1 8080 foo.node.dc1.remora.", "SRV 1 1 8081 bar.node.dc1.remora."]),
        ],
    ),
    (
        "v2.x.web.service.consul.",
        &[
            ("A", &["A 10.0.0.2"]),
            ("ANY", &["A 10.0.0.2"]),
            ("SRV", &["SRV 1 1 8081 bar.node.dc1.consul."]),
        ],
    ),
    (
        "_web._tcp.service.consul.",
        &[
            ("A", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("ANY", &["A 10.0.0.1", "A 10.0.0.2"]),
            ("SRV", &["SRV 1 1 8080 foo.node.dc1.consul.", "SRV 1 1 8081 bar.node.dc1.consul."]),
        ],
    ),
    ("_web._v1.consul.", &[("SRV", &["SRV 1 1 8080 foo.node.dc1.consul."])]),
    (
        "six.service.consul.",
        &[
            ("AAAA", &["AAAA fd00::99"]),
            ("ANY", &["AAAA fd00::99"]),
            ("SRV", &["SRV 1 1 9 fd000000000000000000000000000099.addr.dc1.consul."]),
        ],
    ),
    ("0a000001.addr.consul.", &[("A", &["A 10.0.0.1"]), ("ANY", &["A 10.0.0.1"])]),
    ("service.consul.", &[]),
    ("x.web.service.consul.", &[]),
    (
        "1.0.0.10.in-addr.arpa.",
        &[("PTR", &["PTR foo.node.dc1.remora."]), ("ANY", &["PTR foo.node.dc1.remora."])],
    ),
];

const ABSENT: [&str; 6] = [
    "nope.service.consul.",
    "nope.node.consul.",
    "v9.web.service.consul.",
    "web.service.dc2.consul.",
    "0a00.addr.consul.",
    "web.connect.consul.",
];

/// What a program shows of one answer.
#[derive(Debug, PartialEq)]
struct Shown {
    status: String,
    flags: String,
    answers: Vec<String>,
}

/// All questions in one run; the answers in their order.
fn ask(program: &str, server: Ipv4Addr, ways: &[&str], names: &[&str]) -> Vec<Shown> {
    let server = format!("@{server}");
    let mut args = Vec::new();
    for name in names {
        for kind in TYPES {
            let tries = if program == "dig" { "+tries=2" } else { "+retry=1" };
            args.extend([&server, "-p", "8600", tries, "+time=5", "+norecurse"]);
            args.extend(ways);
            args.extend([*name, kind]);
        }
    }
    let text = run(program, &args).unwrap();
    let shown = text.split("->>HEADER<<-").skip(1).map(shown).collect::<Vec<_>>();
    assert_eq!(shown.len(), names.len() * TYPES.len(), "{program} {ways:?}: {text}");
    shown
}

fn shown(text: &str) -> Shown {
    let after = |what: &str| {
        let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what} in {text}")).1;
        rest.split([',', ';', '\n']).next().unwrap().trim().to_owned()
    };
    let section = text.split_once("ANSWER SECTION:\n").map_or("", |(_, rest)| rest);
    let lines = section.lines().take_while(|line| !line.is_empty() && !line.starts_with(';'));
    // Name, TTL and class are as they were asked; the type and the data are what counts.
    let mut answers: Vec<String> =
        lines.map(|l| l.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")).collect();
    answers.sort();
    let mut flags: Vec<String> = after("lags:").split(' ').map(str::to_owned).collect();
    flags.sort();
    Shown { status: after("status: "), flags: flags.join(" "), answers }
}

fn expected(name: &str, kind: &str) -> Shown {
    let authority = |status: &str, answers: Vec<String>| Shown {
        status: status.to_owned(),
        flags: "aa qr".to_owned(),
        answers,
    };
    if ABSENT.contains(&name) {
        return authority("NXDOMAIN", vec![]);
    }
    let (_, has) = THERE.iter().find(|(there, _)| *there == name).unwrap();
    let of = has.iter().find(|(there, _)| *there == kind).map_or(&[][..], |(_, of)| of);
    authority("NOERROR", of.iter().map(|line| (*line).to_owned()).collect())
}

#[test]
fn dig_and_kdig_are_told_the_same_in_every_way() {
    let agent = Agent::start(AgentSpec::server("n1"));
    let rows: serde_json::Value = serde_json::from_str(NODES).unwrap();
    for row in rows.as_array().unwrap() {
        let answer = agent.client().put("/v1/catalog/register", row.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let names: Vec<&str> = THERE.iter().map(|(name, _)| *name).chain(ABSENT).collect();
    let ip = agent.spec.place.0;
    for program in ["dig", "kdig"] {
        for transport in ["+notcp", "+tcp"] {
            for edns in
                [&["+noedns"][..], &["+bufsize=512"], &["+bufsize=1232"], &["+bufsize=4096"]]
            {
                let ways = [&[transport][..], edns].concat();
                let shown = ask(program, ip, &ways, &names);
                let asked = names.iter().flat_map(|name| TYPES.map(|kind| (*name, kind)));
                for ((name, kind), shown) in asked.zip(shown) {
                    assert_eq!(shown, expected(name, kind), "{program} {ways:?} {name} {kind}");
                }
            }
        }
    }
}
