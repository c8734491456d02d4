//! What Remora answers differently on purpose: the files of `rules/`, and how they change what is
//! expected.

use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::record::{self, Document, code};
use super::sections;
use super::transcript::{Answer, Block};

pub const DOCUMENT: Document = Document {
    path: "docs/consul-differences.md",
    begin: "<!-- The table is made of tests/consul/rules/. -->\n",
    test: "consul",
};

pub type Rules = record::Rules<Change>;

/// What becomes of the recorded answer.
#[derive(Debug, Clone)]
pub enum Change {
    /// What follows it, up to the next one, is for those whose request or recorded answer holds
    /// this pattern.
    When(Regex),
    Status(String),
    /// Headers of that name are left out, or of every name that begins so: `x-consul-*`.
    DropHeader(String),
    Header(String, String),
    /// Another body; `\n` stands for the end of a line, `<rest>` for the end of the path that is asked.
    Body(String),
    /// One text for another in the body.
    Replace(String, String),
    /// The same of a pattern, anywhere in the answer: status, headers, an empty line, the body.
    Rewrite(Regex, String),
    /// Another value, or none, at a place of the body; `*` stands for every item or member.
    Set(String, Option<Value>),
    /// The records of one section of a DNS answer, and no others; or none at all.
    Only(String),
    /// As much of the whole DNS answer as the client takes, TC if some of the answer is missing.
    Fits,
    /// How a blocking query comes back.
    How(String),
    /// Something that was worked out.
    Fact(String, String),
    /// Everything but the status may be anything.
    Any,
}

/// What a line of a rule cannot hold as it is.
fn plain(text: &str) -> String {
    if text == "<nothing>" { String::new() } else { text.replace("\\n", "\n") }
}

/// The same of a body, in which `\\n` is no end of a line.
fn body(text: &str) -> String {
    text.replace("\\\\n", "\0").replace("\\n", "\n").replace('\0', "\\n")
}

impl record::Change for Change {
    fn read(word: &str, text: &str) -> Option<Change> {
        let owned = || text.to_owned();
        let pair = |by: &str| text.split_once(by).map(|(a, b)| (a.to_owned(), b.to_owned()));
        Some(match word {
            "when" => Change::When(Regex::new(text).ok()?),
            "status" => Change::Status(owned()),
            "drop-header" => Change::DropHeader(owned()),
            "header" => pair(": ").map(|(name, value)| Change::Header(name, value))?,
            "body" => Change::Body(body(text)),
            "replace" => pair(" => ").map(|(from, to)| Change::Replace(from, plain(&to)))?,
            "rewrite" => {
                let (from, to) = pair(" => ")?;
                Change::Rewrite(Regex::new(&from).ok()?, plain(&to))
            }
            "set" => {
                let (place, value) = pair(" = ")?;
                Change::Set(place, Some(serde_json::from_str(&value).ok()?))
            }
            "unset" => Change::Set(owned(), None),
            "only" => Change::Only(plain(text)),
            "as" if text == "much as fits" => Change::Fits,
            "how" => Change::How(owned()),
            "fact" => pair(": ").map(|(name, value)| Change::Fact(name, value))?,
            "any" if text == "answer" => Change::Any,
            _ => return None,
        })
    }

    fn is_lax(&self) -> bool {
        matches!(self, Change::Any)
    }

    fn worded(&self) -> String {
        let line = |text: &str| match text {
            "" => "nothing".to_owned(),
            text => code(&text.trim_end().replace('\n', "⏎")),
        };
        match self {
            Change::When(pattern) => format!("where {} is said", code(pattern.as_str())),
            Change::Status(status) => format!("status {status}"),
            Change::DropHeader(name) => format!("no header `{name}`"),
            Change::Header(name, value) => format!("header `{name}: {value}`"),
            Change::Body(body) if body.is_empty() => "an empty body".to_owned(),
            Change::Body(body) => format!("body {}", line(body)),
            Change::Replace(from, to) => format!("{} for {}", line(to), line(from)),
            Change::Rewrite(from, to) => format!("{} for {}", line(to), line(from.as_str())),
            Change::Set(place, Some(value)) => format!("`{place}` is `{value}`"),
            Change::Set(place, None) => format!("no `{place}`"),
            Change::Only(records) if records.is_empty() => "no records".to_owned(),
            Change::Only(records) => format!("no records but {}", line(records)),
            Change::Fits => "as much of the answer over TCP as fits".to_owned(),
            Change::How(how) => format!("it comes {how}"),
            Change::Fact(name, value) => format!("{name}: {value}"),
            Change::Any => "anything of the same status".to_owned(),
        }
    }
}

impl Change {
    fn apply(&self, asked: &str, answer: &mut Answer) {
        let is_it = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
            Some(begin) => name.to_ascii_lowercase().starts_with(&begin.to_ascii_lowercase()),
            None => name.eq_ignore_ascii_case(pattern),
        };
        match self {
            Change::Status(status) => answer.status.clone_from(status),
            Change::DropHeader(name) => answer.headers.retain(|(other, _)| !is_it(name, other)),
            Change::Header(name, value) => {
                answer.headers.retain(|(other, _)| !is_it(name, other));
                answer.headers.push((name.clone(), value.clone()));
            }
            Change::Body(text) => answer.body = text.replace("<rest>", &rest(asked)),
            Change::Replace(from, to) => answer.body = answer.body.replace(from, to),
            Change::Rewrite(from, to) => {
                let text = answer.text();
                let changed = from.replace_all(&text, to);
                if changed != text {
                    answer.read(&changed);
                }
            }
            Change::Set(place, value) => {
                if let Ok(mut json) = serde_json::from_str::<Value>(&answer.body)
                    && set(&mut json, place, value.as_ref())
                {
                    answer.body = match answer.body.contains('\n') {
                        true => serde_json::to_string_pretty(&json).unwrap() + "\n",
                        false => json.to_string(),
                    };
                }
            }
            Change::Only(records) => sections::keep_only(answer, records),
            Change::How(how) => answer.how = Some(how.clone()),
            Change::Fact(name, value) => {
                for fact in answer.facts.iter_mut().filter(|(other, _)| other == name) {
                    fact.1.clone_from(value);
                }
            }
            Change::When(_) | Change::Fits | Change::Any => {}
        }
    }
}

/// What follows the endpoint's name, decoded, as it stands in JSON.
fn rest(asked: &str) -> String {
    let names = ["/v1/kv/", "/deregister/", "/pass/", "/warn/", "/fail/", "/update/"];
    let path = names.iter().find_map(|name| asked.split_once(name));
    let path = path.map_or("", |(_, path)| path);
    let mut bytes = Vec::new();
    let mut rest = path.split('?').next().unwrap_or_default().as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(*byte));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    let json = Value::from(String::from_utf8_lossy(&bytes).into_owned()).to_string();
    json.trim_matches('"').to_owned()
}

/// Whether something is another now.
fn set(json: &mut Value, place: &str, value: Option<&Value>) -> bool {
    let (name, rest) = match place[1..].split_once('/') {
        Some((name, _)) => (name, Some(&place[1 + name.len()..])),
        None => (&place[1..], None),
    };
    if let Some(rest) = rest {
        let inner: Vec<&mut Value> = match json {
            Value::Array(items) if name == "*" => items.iter_mut().collect(),
            Value::Object(fields) if name == "*" => fields.values_mut().collect(),
            other => other.pointer_mut(&format!("/{name}")).into_iter().collect(),
        };
        let changed = inner.into_iter().filter_map(|inner| set(inner, rest, value).then_some(()));
        return changed.count() > 0;
    }
    let before = json.clone();
    match (json, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(name.to_owned(), value.clone())),
        (Value::Object(fields), None) => drop(fields.remove(name)),
        (other, Some(value)) if other.pointer(&format!("/{name}")).is_some() => {
            *other.pointer_mut(&format!("/{name}")).unwrap() = value.clone();
            return *value != *before.pointer(&format!("/{name}")).unwrap();
        }
        _ => return false,
    }
    true
}

/// What is expected of a block once the rules have changed it.
#[derive(Clone, PartialEq)]
pub struct Expected {
    pub block: Block,
    /// Only its status counts.
    pub any: bool,
    /// The answer is whole, and so many bytes at most of it are taken.
    pub fits: Option<usize>,
}

pub fn load() -> Rules {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consul/rules");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    // What concerns every file of the record comes first.
    files.sort_by_key(|file| (!file.ends_with("every.txt"), file.clone()));
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    Rules::read(&texts.join("\n"))
}

impl Rules {
    /// Counts the rules that change it, or let it be anything. `all` are the blocks of its file.
    pub fn apply(&mut self, recorded: &Block, all: &[Block]) -> Expected {
        let mut expected = Expected { block: recorded.clone(), any: false, fits: None };
        let asked = match &recorded.body {
            Some(body) => format!("{} {body}", recorded.asked),
            None => recorded.asked.clone(),
        };
        let answered = recorded.answer.text();
        let exchange = format!("{asked}\n{answered}");
        for rule in self.0.iter_mut().filter(|r| r.concerns(&recorded.id, &asked, &answered)) {
            let before = expected.clone();
            let (mut meant, mut any) = (true, false);
            for change in &rule.changes {
                match change {
                    Change::When(pattern) => meant = pattern.is_match(&exchange),
                    Change::Any => any |= meant,
                    change if meant => expected.change(change, all),
                    _ => {}
                }
            }
            expected.any |= any;
            if any || expected != before {
                rule.hit(&recorded.id);
            }
        }
        expected
    }
}

impl Expected {
    fn change(&mut self, change: &Change, all: &[Block]) {
        let is_dns = self.block.is_dns();
        let Block { asked, answer, .. } = &mut self.block;
        let before = answer.clone();
        if matches!(change, Change::Fits) {
            sections::whole(asked, all).clone_into(&mut answer.body);
            self.fits = Some(sections::room(asked));
        } else {
            change.apply(asked, answer);
        }
        if is_dns && *answer != before {
            sections::count(answer);
        }
    }
}
