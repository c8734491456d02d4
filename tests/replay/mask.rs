//! What may differ from one run to the next, out of sight: random ids become symbols in the order
//! of their first appearance, so that it still shows which of them are the same.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::transcript::Block;

/// Numbers of the machinery below.
const VARIES: [&str; 7] = [
    "raft_term",
    "raftTerm",
    "raftIndex",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "dbSizeQuota",
];
const VERSIONS: [&str; 4] = ["version", "etcdserver", "etcdcluster", "storageVersion"];
const REVISIONS: [&str; 4] = ["revision", "create_revision", "mod_revision", "compact_revision"];
/// Headers that matter where not every one was written down.
const HEADERS: [&str; 8] = [
    "content-type",
    "grpc-metadata-content-type",
    "transfer-encoding",
    "allow",
    "x-content-type-options",
    "location",
    "www-authenticate",
    "trailer",
];
/// An id that was chosen at random has at least so many digits in the transcripts.
const RANDOM: usize = 15;
/// Of ten million leases that are drawn at random, one has fewer digits than this.
const RANDOM_LEASE: usize = 12;
/// The same of hex digits, at the end of a key.
const RANDOM_HEX: usize = 10;

/// 32 bytes, as `abridge.rs` writes them.
const CHECKSUM: &str = "<44 base64 characters>";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Cluster,
    Member,
    Lease,
    Token,
    Hash,
    Address,
    Name,
}

/// What one side of the comparison called things, in the order of their appearance.
#[derive(Debug, Default)]
pub struct Mask {
    symbols: BTreeMap<(Kind, String), String>,
    counts: BTreeMap<Kind, usize>,
    /// Keys that end in the id of a lease: what they stand for, and their bytes.
    places: BTreeMap<String, String>,
    invented: BTreeSet<String>,
}

/// Members that do not exist, by the ids that the requests of a file give them.
fn invented(blocks: &[Block]) -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        let Value::Object(fields) = value else { return };
        for name in ["memberID", "targetID"] {
            found.extend(fields.get(name).and_then(plain).filter(|text| text.len() < RANDOM));
        }
    }
    let mut found = BTreeSet::new();
    for body in blocks.iter().filter_map(|block| block.body.as_deref()) {
        if let Ok(value) = serde_json::from_str::<Value>(body) {
            collect(&value, &mut found);
        }
    }
    found
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Mask {
    pub fn new(blocks: &[Block]) -> Mask {
        Mask { invented: invented(blocks), ..Mask::default() }
    }

    /// An answer, one line for each thing that is compared.
    pub fn lines(&mut self, block: &Block) -> Vec<String> {
        let mut lines = vec![format!("<<< {}", block.status)];
        let mut headers: Vec<String> = Vec::new();
        for (name, value) in &block.answer_headers {
            let kept = match block.all_headers {
                true => name != "date" && name != "content-length",
                false => HEADERS.contains(&name.as_str()),
            };
            if kept {
                headers.push(format!("{name}: {}", self.text(value)));
            }
        }
        headers.sort();
        lines.extend(headers);
        let mut body: Vec<String> =
            block.answer.iter().map(|line| self.line(line, block)).collect();
        let unordered = block.path.starts_with("/readyz") || block.path.starts_with("/livez");
        if unordered || block.end.contains("unordered") {
            body.sort();
        }
        if block.path == "/metrics" {
            body.retain(|line| line.is_empty());
        }
        lines.extend(body);
        let length = block.end.starts_with("bytes ");
        let text = block.answer_headers.iter().any(|(_, value)| value.starts_with("text/plain"));
        // Bytes are counted where nothing random is in them.
        lines.push(if length && !text { "@ bytes".to_owned() } else { format!("@ {}", block.end) });
        lines
    }

    fn line(&mut self, line: &str, block: &Block) -> String {
        if line.starts_with("~ ") {
            return line.to_owned();
        }
        let (before, json) = match line.strip_prefix("frame op=1 ") {
            Some(json) => ("frame op=1 ", json),
            None => ("", line),
        };
        match serde_json::from_str::<Value>(json) {
            Ok(value) => format!("{before}{}", self.value("", "", value, block)),
            Err(_) => self.text(line),
        }
    }

    /// `within` is the name of the field that holds the object which holds this one.
    fn value(&mut self, within: &str, name: &str, value: Value, block: &Block) -> Value {
        match value {
            Value::Object(fields) => {
                let masked = fields.into_iter().map(|(inner, value)| {
                    let masked = self.value(name, &inner, value, block);
                    (inner, masked)
                });
                Value::Object(masked.collect())
            }
            Value::Array(mut items) => {
                if name == "members" {
                    // In the order in which they were met before.
                    items.sort_by_cached_key(|item| {
                        let id = plain(&item["ID"]).unwrap_or_default();
                        self.symbols.get(&(Kind::Member, id)).cloned()
                    });
                }
                let masked = items.into_iter().map(|item| self.value(within, name, item, block));
                let mut masked: Vec<Value> = masked.collect();
                let keys = name == "keys" && block.path.contains("timetolive");
                if keys || ["members", "leases", "alarms"].contains(&name) {
                    masked.sort_by_key(Value::to_string);
                }
                Value::Array(masked)
            }
            value => match plain(&value) {
                Some(text) => self.leaf(within, name, &text, block).map_or(value, Value::from),
                None => value,
            },
        }
    }

    /// What a field's value is written as, if not as itself.
    fn leaf(&mut self, within: &str, name: &str, text: &str, block: &Block) -> Option<String> {
        let member = within == "members" || within == "member";
        Some(match name {
            "cluster_id" => self.symbol(Kind::Cluster, text),
            "member_id" | "leader" => self.symbol(Kind::Member, text),
            "ID" if member => self.symbol(Kind::Member, text),
            "name" if member => self.symbol(Kind::Name, text),
            "memberID" if !self.invented.contains(text) => self.symbol(Kind::Member, text),
            "ID" | "lease" if text.len() >= RANDOM_LEASE => self.symbol(Kind::Lease, text),
            "token" => self.symbol(Kind::Token, text),
            "hash" if block.path.ends_with("hashkv") => self.symbol(Kind::Hash, text),
            "hash" => "<hash>".to_owned(),
            _ if VARIES.contains(&name) => "<varies>".to_owned(),
            _ if VERSIONS.contains(&name) && text.contains('.') => "<version>".to_owned(),
            _ if REVISIONS.contains(&name) && block.note.contains("[revisions vary]") => {
                "<revision>".to_owned()
            }
            // How long a snapshot is depends on who makes it; its last message is a checksum.
            "blob" if text.starts_with('<') && text != CHECKSUM => "<blob>".to_owned(),
            "key" | "keys" => self.place(text)?,
            _ => self.text(text),
        })
    }

    fn symbol(&mut self, kind: Kind, text: &str) -> String {
        let known = (kind, text.to_owned());
        if let Some(symbol) = self.symbols.get(&known) {
            return symbol.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let symbol = format!("<{kind:?} {count}>");
        self.symbols.insert(known, symbol.clone());
        symbol
    }

    /// A key of a lock or an election whose lease the server has drawn.
    fn place(&mut self, key: &str) -> Option<String> {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(key).ok()?).ok()?;
        let (name, hex) = decoded.rsplit_once('/')?;
        if hex.len() < RANDOM_HEX {
            return None;
        }
        let lease = u64::from_str_radix(hex, 16).ok()?;
        let masked = format!("{name}/{}", self.symbol(Kind::Lease, &lease.to_string()));
        self.places.insert(masked.clone(), key.to_owned());
        Some(masked)
    }

    fn text(&mut self, text: &str) -> String {
        let text = text.replace('\u{a0}', " ");
        let text = self.each_number(&text, "memberID:", |mask, number| {
            if mask.invented.contains(number) {
                number.to_owned()
            } else {
                mask.symbol(Kind::Member, number)
            }
        });
        self.each_number(&text, "//127.", |mask, rest| mask.symbol(Kind::Address, rest))
    }

    /// Replaces what follows a word, digits with dots and colons.
    fn each_number(
        &mut self,
        text: &str,
        word: &str,
        mut shown: impl FnMut(&mut Mask, &str) -> String,
    ) -> String {
        let mut parts = text.split(word);
        let mut all = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            let (number, rest) = part.split_at(end.unwrap_or(part.len()));
            let shown = if number.is_empty() { String::new() } else { shown(self, number) };
            all += &format!("{word}{shown}{rest}");
        }
        all
    }

    /// A request of the transcript, with the names that the other side gave things.
    pub fn translate(&self, request: &str, other: &Mask) -> String {
        let mut request = request.to_owned();
        for ((kind, text), symbol) in &self.symbols {
            // A port that was chosen has four digits at least; what is short is a client's own.
            let port = text.rsplit_once(':').map_or(0, |(_, port)| port.len());
            if text.len() < RANDOM && !(*kind == Kind::Address && port >= 4) {
                continue;
            }
            let mut same = other.symbols.iter().filter(|(_, theirs)| *theirs == symbol);
            if let Some(((_, theirs), _)) = same.find(|((other, _), _)| other == kind) {
                request = request.replace(text, theirs);
            }
        }
        for (masked, key) in &self.places {
            if let Some(theirs) = other.places.get(masked) {
                request = request.replace(key, theirs);
            }
        }
        request
    }
}
