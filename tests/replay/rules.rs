//! What Remora answers differently on purpose: `rules.txt`, and how it changes what is expected.

use serde_json::Value;

use super::record::{self, Document, code};
use super::transcript::Block;

const TEXT: &str = include_str!("rules.txt");
pub const DOCUMENT: Document = Document {
    path: "docs/etcd-differences.md",
    begin: "<!-- The table is made of tests/replay/rules.txt. -->\n",
    test: "replay",
};

pub type Rules = record::Rules<Change>;

/// What becomes of the recorded answer.
#[derive(Debug, Clone)]
pub enum Change {
    Status(String),
    /// Headers of that name are left out, or of every name that begins so: `access-*`.
    DropHeader(String),
    Header(String, String),
    /// Another body; `\n` stands for the end of a line.
    Body(String),
    /// One text for another in every line.
    Replace(String, String),
    /// Another value, or none, at a place of every JSON line that has its parent.
    Set(String, Option<Value>),
    /// One more message, before the one at that place (from 0).
    Insert(usize, String),
    /// That message does not come.
    Remove(usize),
    End(String),
    /// The value at one place becomes that of another, too.
    Copy(String, String),
    /// A value that may be anything, where the recorded one begins with one of these.
    AnyValue(String, Vec<String>),
    /// Everything but the status may be anything.
    Any,
}

impl record::Change for Change {
    fn read(word: &str, text: &str) -> Option<Change> {
        let owned = || text.to_owned();
        let pair = |by: &str| text.split_once(by).map(|(a, b)| (a.to_owned(), b.to_owned()));
        Some(match word {
            "status" => Change::Status(owned()),
            "drop-header" => Change::DropHeader(owned()),
            "header" => pair(": ").map(|(name, value)| Change::Header(name, value))?,
            "body" => Change::Body(text.replace("\\n", "\n")),
            "replace" => pair(" => ").map(|(from, to)| Change::Replace(from, to))?,
            "set" => {
                let (place, value) = pair(" = ")?;
                Change::Set(place, Some(serde_json::from_str(&value).ok()?))
            }
            "unset" => Change::Set(owned(), None),
            "insert" => {
                pair(" ").and_then(|(at, line)| Some(Change::Insert(at.parse().ok()?, line)))?
            }
            "remove" => Change::Remove(text.parse().ok()?),
            "end" => Change::End(owned()),
            "any" if text == "answer" => Change::Any,
            "any" => {
                let (place, begins) = pair(" ")?;
                Change::AnyValue(place, begins.split('|').map(str::to_owned).collect())
            }
            "copy" => pair(" ").map(|(from, to)| Change::Copy(from, to))?,
            _ => return None,
        })
    }

    fn is_lax(&self) -> bool {
        matches!(self, Change::Any | Change::AnyValue(..))
    }

    fn worded(&self) -> String {
        match self {
            Change::Status(status) => format!("status {status}"),
            Change::DropHeader(name) => format!("no header `{name}`"),
            Change::Header(name, value) => format!("header `{name}: {value}`"),
            Change::Body(body) => format!("body {}", code(&body.trim_end().replace('\n', "⏎"))),
            Change::Replace(from, to) => format!("{} for {}", code(to), code(from)),
            Change::Set(place, Some(value)) => format!("`{place}` is `{value}`"),
            Change::Set(place, None) => format!("no `{place}`"),
            Change::Insert(_, line) => format!("also {}", code(line)),
            Change::Remove(at) => format!("not its message {}", at + 1),
            Change::End(end) => format!("ends with `{end}`"),
            Change::Copy(from, to) => format!("`{to}` is `{from}`, too"),
            Change::AnyValue(place, _) => format!("any `{place}`"),
            Change::Any => "anything of the same status".to_owned(),
        }
    }
}

impl Change {
    fn apply(&self, block: &mut Block) {
        match self {
            Change::Status(status) => block.status.clone_from(status),
            Change::DropHeader(name) => drop_header(block, name),
            Change::Header(name, value) => {
                drop_header(block, name);
                block.answer_headers.push((name.clone(), value.clone()));
            }
            Change::Body(text) => {
                block.answer = text.lines().map(str::to_owned).collect();
                if block.end.starts_with("bytes ") {
                    block.end = format!("bytes {}", text.len());
                }
            }
            Change::Replace(from, to) => {
                for line in &mut block.answer {
                    *line = line.replace(from, to);
                }
            }
            Change::Set(place, value) => {
                for line in &mut block.answer {
                    if let Ok(mut json) = serde_json::from_str::<Value>(line)
                        && set(&mut json, place, value.as_ref())
                    {
                        *line = json.to_string();
                    }
                }
            }
            Change::Insert(at, line) => {
                block.answer.insert(*at, line.clone());
                if let Some(bytes) = block.end.strip_prefix("bytes ") {
                    let bytes: usize = bytes.parse().unwrap();
                    block.end = format!("bytes {}", bytes + line.len() + 1);
                }
            }
            Change::Remove(at) => drop(block.answer.remove(*at)),
            Change::End(end) => block.end.clone_from(end),
            Change::Copy(from, to) => {
                for line in &mut block.answer {
                    if let Ok(mut json) = serde_json::from_str::<Value>(line)
                        && let Some(value) = json.pointer(from).cloned()
                        && set(&mut json, to, Some(&value))
                    {
                        *line = json.to_string();
                    }
                }
            }
            Change::Any | Change::AnyValue(..) => {}
        }
    }

    /// Whether it leaves something of that line open.
    fn leaves_open(&self, line: &str) -> bool {
        match self {
            Change::Any => true,
            Change::AnyValue(place, begins) => {
                let json = serde_json::from_str::<Value>(line).unwrap_or_default();
                let value = json.pointer(place).and_then(Value::as_str);
                value.is_some_and(|value| begins.iter().any(|begin| value.starts_with(begin)))
            }
            _ => false,
        }
    }
}

fn drop_header(block: &mut Block, pattern: &str) {
    let is_it = |name: &str| match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == pattern,
    };
    block.answer_headers.retain(|(name, _)| !is_it(name));
    if block.is_raw() {
        block.answer.retain(|line| !line.split_once(": ").is_some_and(|(name, _)| is_it(name)));
    }
}

fn set(json: &mut Value, place: &str, value: Option<&Value>) -> bool {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let before = json.clone();
    let Some(fields) = json.pointer_mut(parent).and_then(Value::as_object_mut) else {
        return false;
    };
    match value {
        Some(value) => drop(fields.insert(name.to_owned(), value.clone())),
        None => drop(fields.remove(name)),
    }
    *json != before
}

/// What is expected of a block once the rules have changed it, and what may be anything.
pub struct Expected {
    pub block: Block,
    lax: Vec<Change>,
}

pub fn load() -> Rules {
    Rules::read(TEXT)
}

impl Rules {
    /// Counts the rules that change it, or let it be anything.
    pub fn apply(&mut self, recorded: &Block) -> Expected {
        let mut expected = Expected { block: recorded.clone(), lax: Vec::new() };
        let (asked, answered) = (&recorded.path, recorded.answer.join("\n"));
        for rule in self.0.iter_mut().filter(|r| r.concerns(&recorded.id, asked, &answered)) {
            let before = expected.block.clone();
            for change in &rule.changes {
                change.apply(&mut expected.block);
            }
            let lax = rule.changes.iter().filter(|c| record::Change::is_lax(*c)).cloned();
            let lax: Vec<Change> = lax.collect();
            let opens = |line: &String| lax.iter().any(|change| change.leaves_open(line));
            if expected.block != before || before.answer.iter().any(opens) {
                rule.hit(&recorded.id);
            }
            expected.lax.extend(lax);
        }
        expected
    }
}

impl Expected {
    /// The answer, with whatever may be anything as it is expected.
    pub fn let_pass(&self, mut answered: Block) -> Block {
        for change in &self.lax {
            match change {
                Change::Any if answered.status == self.block.status => return self.block.clone(),
                Change::AnyValue(place, _) => {
                    let both = answered.answer.iter_mut().zip(&self.block.answer);
                    for (line, wanted) in both.filter(|(_, wanted)| change.leaves_open(wanted)) {
                        let read = |line: &str| serde_json::from_str::<Value>(line).ok();
                        if let (Some(mut json), Some(wanted)) = (read(line), read(wanted))
                            && json.pointer(place).is_some_and(Value::is_string)
                            && set(&mut json, place, wanted.pointer(place))
                        {
                            *line = json.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        answered
    }
}
