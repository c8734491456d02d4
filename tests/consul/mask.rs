//! What of an answer is compared: without what differs from run to run, and in one order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::names::Names;
use super::transcript::Block;

/// Counters of this run.
const INDEXES: [&str; 5] = ["CreateIndex", "ModifyIndex", "Index", "LastIndex", "LTime"];
/// Of this build, this machine, this moment.
const VALUES: [&str; 14] = [
    "Hash",
    "ContentHash",
    "Revision",
    "Version",
    "BuildDate",
    "Error",
    "Adjustment",
    "Height",
    "Vec",
    "LastContact",
    "LastTerm",
    "build",
    "Elapsed",
    "Timestamp",
];
/// Objects whose members are the machine's own.
const VOLATILE: [&str; 11] = [
    "DebugConfig",
    "Stats",
    "Gauges",
    "Counters",
    "Samples",
    "Points",
    "Disk",
    "CPU",
    "Memory",
    "Host",
    "Coord",
];
/// Members that newer versions have, and no old client minds.
const NEWER_MEMBERS: [&str; 17] = [
    "AgentACLDefaultPolicy",
    "BuildDate",
    "Datacenter",
    "ExpandedPolicies",
    "ExpandedRoles",
    "ExposedPort",
    "Interval",
    "Locality",
    "NotModified",
    "PeerName",
    "PrimaryDatacenter",
    "ResolvedByAgent",
    "SessionTTLMin",
    "SocketPath",
    "Timeout",
    "Type",
    "xDS",
];
/// The same of headers.
const NEWER_HEADERS: [&str; 4] = [
    "x-consul-default-acl-policy",
    "x-consul-effective-consistency",
    "x-consul-query-backend",
    "x-consul-results-filtered-by-acls",
];
const UNCOMPARED_HEADERS: [&str; 4] = ["date", "content-length", "connection", "transfer-encoding"];
const VARYING_HEADERS: [&str; 5] =
    ["x-consul-index", "x-consul-lastcontact", "age", "etag", "x-consul-contenthash"];

static TEXTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let texts = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
        (r"\b1\.\d+\.\d+([+:]\w+)?\b", "<version>"),
        (r"127\.0\.0\.1:(3[2-9]|[45]\d|6[0-5])\d{3}\b", "127.0.0.1:<port>"),
        (r"(?<said>reset index: )\d+", "$said<n>"),
        (r"(?<said>cut off after )[1-9]\d*", "$said<n>"),
        (DENIAL, "Permission denied: <why>"),
        (r"(?<said>modify index )\d+ != \d+", "$said<n> != <n>"),
        (r#"(?<said>"(Create|Modify|Lock|)Index":)[1-9]\d*"#, "$said<n>"),
    ];
    texts.map(|(pattern, shown)| (Regex::new(pattern).unwrap(), shown)).into()
});

/// Times to live of what the stub of a resolver tells, while the test lasts.
const STUB_TTLS: [&str; 6] = ["77", "76", "75", "74", "73", "72"];

/// Who lacks what, which depends on ids.
const DENIAL: &str = "Permission denied: (anonymous token|token with AccessorID '[^']+') lacks \
                      permission '[a-z]+:[a-z]+'( on \"[^\"]*\")?(\\. The anonymous token is used \
                      implicitly when a request does not specify a token\\.)?";

/// Of a text that was cut, so many characters at most are compared.
const CUT: usize = 100;

/// Whose answer it is.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Recorded,
    Ours,
}

struct Mask<'a> {
    names: &'a Names,
    side: Side,
    block: &'a Block,
    /// Where the recorded body has which members: those are never too new.
    recorded: &'a BTreeSet<String>,
}

/// The places of all members, without the numbers of items.
fn places(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let at = format!("{at}/{name}");
            places(&at, value, found);
            found.insert(at);
        }),
        Value::Array(items) => items.iter().for_each(|item| places(at, item, found)),
        _ => {}
    }
}

/// Both answers as lines that are equal where nothing differs. What one calls otherwise than the
/// other is learned on the way.
pub fn lines(recorded: &Block, ours: &Block, names: &mut Names) -> (Vec<String>, Vec<String>) {
    let read = |block: &Block| serde_json::from_str::<Value>(&block.answer.body).ok();
    let mut known = BTreeSet::new();
    read(recorded).iter().for_each(|body| places("", body, &mut known));
    let known = &known;
    if recorded.answer.status == ours.answer.status {
        if let (Some(left), Some(right)) = (read(recorded), read(ours)) {
            let mask = |side| Mask { names, side, block: recorded, recorded: known };
            let left = mask(Side::Recorded).json("", &left).raw;
            let right = mask(Side::Ours).json("", &right).raw;
            names.pair(&left, &right);
        } else {
            names.pair_texts(&recorded.answer.body, &ours.answer.body);
        }
    }
    let mask = |side| Mask { names, side, block: recorded, recorded: known };
    (mask(Side::Recorded).lines(recorded, recorded), mask(Side::Ours).lines(ours, recorded))
}

/// A value as it came, and as it is compared, both in one order.
struct Seen {
    raw: Value,
    shown: Value,
}

impl Mask<'_> {
    fn lines(&self, block: &Block, recorded: &Block) -> Vec<String> {
        let answer = &block.answer;
        let mut lines = vec![format!("<<< {}", answer.status)];
        lines.extend(answer.how.iter().map(|how| format!("answered: {how}")));
        if block.is_dns() {
            let headers = answer.headers.iter().filter_map(|(name, value)| match name.as_str() {
                "size" => None,
                "counts" if self.block.is("count") => None,
                _ => Some(format!("{name}: {value}")),
            });
            lines.extend(headers.collect::<BTreeSet<String>>());
            lines.extend(self.records(&answer.body));
        } else {
            lines.extend(self.headers(&answer.headers, &recorded.answer.headers));
            lines.extend(self.body(&answer.body));
        }
        lines
    }

    fn headers(&self, headers: &[(String, String)], recorded: &[(String, String)]) -> Vec<String> {
        let flagged = self.block.is("headers");
        let known = |name: &str| recorded.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let shown = headers.iter().filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_newer = NEWER_HEADERS.contains(&name.as_str()) && !known(&name);
            let varies = VARYING_HEADERS.contains(&name.as_str());
            Some(match name.as_str() {
                uncompared if UNCOMPARED_HEADERS.contains(&uncompared) || is_newer => return None,
                "age" | "x-cache" if flagged => return None,
                "x-consul-knownleader" if flagged => format!("{name}: <bool>"),
                "x-consul-lastcontact" | "age" => format!("{name}: <n>"),
                _ if varies && value != "0" => format!("{name}: <n>"),
                _ => format!("{name}: {}", self.text(value)),
            })
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        shown
    }

    fn body(&self, body: &str) -> Vec<String> {
        if self.block.is("bin") && (body.starts_with("@base64") || body.starts_with("@cut")) {
            return vec!["<bytes>".to_owned()];
        }
        if self.block.is("metrics") || self.block.is("early") {
            return vec!["<of the moment>".to_owned()];
        }
        if let Some(cut) = body.strip_prefix("@cut ") {
            // How much is left of it depends on how long the indexes are.
            let text = self.text(&serde_json::from_str::<String>(cut).unwrap());
            let shown = CUT.min(text.chars().count() * 2 / 3);
            return vec![text.chars().take(shown).collect()];
        }
        let json = body.starts_with(['[', '{', '"']).then(|| serde_json::from_str(body).ok());
        let Some(value) = json.flatten() else {
            return self.text(body).split('\n').map(str::to_owned).collect();
        };
        let shown = if self.block.is("keys") || self.block.is("coord") {
            self.shape("", &value)
        } else {
            self.json("", &value).shown
        };
        let mut lines = Vec::new();
        if body.contains('\n') {
            let end = if body.ends_with('\n') { ", with a newline at the end" } else { "" };
            lines.push(format!("(indented{end})"));
        }
        let text = serde_json::to_string_pretty(&shown).unwrap();
        lines.extend(text.lines().map(str::to_owned));
        lines
    }

    fn text(&self, text: &str) -> String {
        let named = match self.side {
            Side::Recorded => self.names.recorded(text),
            Side::Ours => self.names.answered(text),
        };
        let mask = |text: String, (pattern, shown): &(Regex, &str)| {
            pattern.replace_all(&text, *shown).into_owned()
        };
        TEXTS.iter().fold(named, mask)
    }

    /// A member that only newer versions have.
    fn is_newer(&self, at: &str, name: &str) -> bool {
        self.side == Side::Ours
            && NEWER_MEMBERS.contains(&name)
            && !self.recorded.contains(&format!("{at}/{name}"))
    }

    /// `at`: the place of the value, without the numbers of items.
    fn json(&self, at: &str, value: &Value) -> Seen {
        match value {
            Value::Object(fields) => {
                let fields = fields.iter().filter(|(name, _)| !self.is_newer(at, name));
                let seen = fields.map(|(name, value)| (name, self.member(at, name, value)));
                let seen: BTreeMap<&String, Seen> = seen.collect();
                let shown = seen.iter().map(|(name, seen)| (self.text(name), seen.shown.clone()));
                let shown = shown.collect::<BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>();
                let raw = seen.into_iter().map(|(name, seen)| (name.clone(), seen.raw));
                Seen { raw: Value::Object(raw.collect()), shown: Value::Object(shown) }
            }
            Value::Array(items) => {
                let mut seen: Vec<Seen> = items.iter().map(|v| self.json(at, v)).collect();
                let of_checks = self.block.is("checks") && at.ends_with("/Checks");
                if self.block.is("unordered") || self.block.is("event") || of_checks {
                    seen.sort_by_cached_key(|seen| seen.shown.to_string());
                }
                let (raw, shown) = seen.into_iter().map(|seen| (seen.raw, seen.shown)).unzip();
                Seen { raw: Value::Array(raw), shown: Value::Array(shown) }
            }
            Value::String(text) => Seen { raw: value.clone(), shown: self.text(text).into() },
            other => Seen { raw: other.clone(), shown: other.clone() },
        }
    }

    fn member(&self, at: &str, name: &str, value: &Value) -> Seen {
        let at = &format!("{at}/{name}");
        let shown = match value {
            Value::Number(_) if INDEXES.contains(&name) && value.as_u64() != Some(0) => "<n>",
            Value::Object(_) | Value::Null => return self.json(at, value),
            Value::String(text) if text.is_empty() => return self.json(at, value),
            _ if VALUES.contains(&name) => "<varies>",
            Value::Array(nodes) if name == "Nodes" && self.block.is("limit") => {
                return Seen { raw: value.clone(), shown: nodes.len().into() };
            }
            _ => return self.json(at, value),
        };
        Seen { raw: value.clone(), shown: shown.into() }
    }

    /// Names and kinds of what is in it, each once.
    fn shape(&self, at: &str, value: &Value) -> Value {
        if VOLATILE.contains(&at.rsplit('/').next().unwrap_or_default()) {
            return "<…>".into();
        }
        match value {
            Value::Object(fields) => {
                let fields = fields.iter().filter(|(name, _)| !self.is_newer(at, name));
                let shape = |name: &str, value| self.shape(&format!("{at}/{name}"), value);
                let shown = fields.map(|(name, value)| (self.text(name), shape(name, value)));
                Value::Object(shown.collect::<BTreeMap<_, _>>().into_iter().collect())
            }
            Value::Array(items) => {
                let mut shown: Vec<Value> = items.iter().map(|v| self.shape(at, v)).collect();
                shown.sort_by_cached_key(Value::to_string);
                shown.dedup();
                Value::Array(shown)
            }
            Value::String(_) => "text".into(),
            Value::Number(_) => "number".into(),
            Value::Bool(_) => "bool".into(),
            Value::Null => Value::Null,
        }
    }

    /// The records of a DNS answer, section by section.
    fn records(&self, body: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for section in body.split(";; ").filter(|section| !section.is_empty()) {
            let mut records = section.lines();
            let title = records.next().unwrap();
            let mut records: Vec<String> = records.map(|record| self.record(record)).collect();
            if self.block.is("count") && title != "QUESTION" {
                let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
                for record in &records {
                    *kinds.entry(record.split(' ').nth(3).unwrap_or_default()).or_default() += 1;
                }
                records = kinds.into_iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            }
            if title != "QUESTION" {
                records.sort();
            }
            lines.push(format!(";; {title}"));
            lines.extend(records);
        }
        lines
    }

    fn record(&self, record: &str) -> String {
        let mut parts: Vec<&str> = record.split(' ').collect();
        // What the stub tells lives a second shorter after every second.
        if let Some(ttl) = parts.get_mut(1).filter(|ttl| STUB_TTLS.contains(&**ttl)) {
            *ttl = STUB_TTLS[0];
        }
        if parts.len() > 8 && parts[3] == "SOA" {
            parts[6] = "<serial>";
        }
        self.text(&parts.join(" "))
    }
}
