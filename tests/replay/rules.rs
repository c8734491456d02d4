//! What Remora answers differently on purpose: `rules.txt`, and how it changes what is expected.

use std::collections::BTreeMap;

use serde_json::Value;

use super::transcript::Block;

const TEXT: &str = include_str!("rules.txt");

/// Why an answer may be another; only the last two may leave open what it is.
const CLASSES: [&str; 5] = ["newer", "bug", "design", "left out", "library text"];
const LAX: [&str; 2] = ["left out", "library text"];

#[derive(Debug, Clone)]
pub struct Rule {
    pub id: String,
    pub class: String,
    /// Ids of blocks, ranges of them, or all of a file: `kv-001`, `kv-001..kv-005`, `kv-*`.
    pub blocks: Vec<String>,
    pub changes: Vec<Change>,
    pub reason: String,
    /// How many blocks of each file it changes.
    pub hits: BTreeMap<String, usize>,
    found: BTreeMap<String, usize>,
}

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

impl Change {
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

    pub fn is_lax(&self) -> bool {
        matches!(self, Change::Any | Change::AnyValue(..))
    }

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

#[derive(Debug, Clone)]
pub struct Rules(pub Vec<Rule>);

/// What is expected of a block once the rules have changed it, and what may be anything.
pub struct Expected {
    pub block: Block,
    lax: Vec<Change>,
}

impl Rules {
    pub fn load() -> Rules {
        let paragraphs = TEXT.split("\n\n").map(|text| {
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
        });
        Rules(paragraphs.filter(|text| !text.is_empty()).map(|text| rule(&text)).collect())
    }

    /// Counts the rules that change it, or let it be anything.
    pub fn apply(&mut self, recorded: &Block) -> Expected {
        let mut expected = Expected { block: recorded.clone(), lax: Vec::new() };
        for rule in self.0.iter_mut().filter(|rule| rule.concerns(&recorded.id)) {
            let before = expected.block.clone();
            for change in &rule.changes {
                change.apply(&mut expected.block);
            }
            let lax: Vec<Change> = rule.changes.iter().filter(|c| c.is_lax()).cloned().collect();
            let opens = |line: &String| lax.iter().any(|change| change.leaves_open(line));
            if expected.block != before || before.answer.iter().any(opens) {
                let topic = topic_of(&recorded.id).to_owned();
                *rule.found.entry(topic).or_default() += 1;
            }
            expected.lax.extend(lax);
        }
        expected
    }

    /// The rules that say another number of that file's blocks than they change.
    pub fn miscounted(&self, topic: &str) -> Vec<String> {
        let counts = self.0.iter().map(|rule| {
            let said = rule.hits.get(topic).copied().unwrap_or(0);
            let found = rule.found.get(topic).copied().unwrap_or(0);
            (&rule.id, said, found)
        });
        counts
            .filter(|(_, said, found)| said != found)
            .map(|(id, said, found)| format!("rule {id}: {found} hits in {topic}, said {said}"))
            .collect()
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

impl Rule {
    fn concerns(&self, id: &str) -> bool {
        self.blocks.iter().any(|blocks| match blocks.split_once("..") {
            Some((first, last)) => topic_of(first) == topic_of(id) && first <= id && id <= last,
            None => match blocks.strip_suffix('*') {
                Some(begin) => id.starts_with(begin),
                None => blocks == id,
            },
        })
    }
}

fn topic_of(id: &str) -> &str {
    id.rsplit_once('-').unwrap().0
}

fn rule(text: &str) -> Rule {
    let mut rule = Rule {
        id: String::new(),
        class: String::new(),
        blocks: Vec::new(),
        changes: Vec::new(),
        reason: String::new(),
        hits: BTreeMap::new(),
        found: BTreeMap::new(),
    };
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "rule" => rule.id = rest.to_owned(),
            "class" => rule.class = rest.to_owned(),
            "blocks" => rule.blocks.extend(rest.split(' ').map(str::to_owned)),
            "reason" => rule.reason = format!("{} {rest}", rule.reason).trim().to_owned(),
            "hits" => {
                for hits in rest.split(", ") {
                    let (topic, count) = hits.split_once(' ').unwrap();
                    rule.hits.insert(topic.to_owned(), count.parse().unwrap());
                }
            }
            word => {
                let change = Change::read(word, rest);
                rule.changes.push(change.unwrap_or_else(|| panic!("{}: {line}", rule.id)));
            }
        }
    }
    let Rule { id, class, blocks, changes, reason, hits, .. } = &rule;
    assert!(CLASSES.contains(&class.as_str()), "rule {id}: class {class}");
    assert!(!reason.is_empty() && !blocks.is_empty() && !changes.is_empty(), "rule {id}: half");
    assert!(!hits.is_empty() && hits.values().all(|hits| *hits > 0), "rule {id}: no hits");
    let lax = changes.iter().any(Change::is_lax);
    assert!(!lax || LAX.contains(&class.as_str()), "rule {id}: {class} may not be just anything");
    rule
}
