//! What the recorder did beside its blocks: `setup/TOPIC.txt`.
//!
//! `before N`, `during N` and `after N` say when, in respect of the topic's block N, the lines
//! below are done; `during`: while it waits. A line is one of:
//!
//! - `[@AGENT ][as TOKEN ]METHOD PATH[ BODY][ -> NAME]`: a request. NAME is what the record calls
//!   something of the answer: an id (the answer's own), a hash, or an index (`-> 512 = +100`: the
//!   record has added 100).
//! - `until METHOD PATH shows TEXT`, or `lacks TEXT`: asked again until the answer does.
//! - `settle`: from here to the next write a question may be asked again until it is answered as
//!   recorded, for what it asks about comes a moment after the writes before.
//! - `kill AGENT`
//! - `for A..B LINE`: the line for each number, which stands there as `<n>`, `<n+1>` or `<n:3>`
//!   (with so many digits).
//! - `include NAME`: the lines of `setup/NAME.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::{Captures, Regex};

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Ask(Ask),
    Until(Ask, String, bool),
    Settle,
    Kill(String),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    pub agent: Option<String>,
    pub token: Option<String>,
    pub method: String,
    pub path: String,
    pub body: Option<String>,
    /// What the record calls something of the answer.
    pub name: Option<String>,
    /// Added to an index before it is given that name.
    pub plus: u64,
}

/// The acts around each block.
#[derive(Debug, Default)]
pub struct Setup {
    pub before: BTreeMap<usize, Vec<Act>>,
    pub during: BTreeMap<usize, Vec<Act>>,
    pub after: BTreeMap<usize, Vec<Act>>,
}

impl Setup {
    pub fn of(topic: &str) -> Setup {
        let mut setup = Setup::default();
        if let Some(text) = file(topic) {
            setup.read(&text);
        }
        setup
    }

    fn read(&mut self, text: &str) {
        let mut acts = None;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let when = line.split_once(' ').and_then(|(w, n)| Some((w, n.parse::<usize>().ok()?)));
            acts = match when {
                Some(("before", n)) => Some(self.before.entry(n).or_default()),
                Some(("during", n)) => Some(self.during.entry(n).or_default()),
                Some(("after", n)) => Some(self.after.entry(n).or_default()),
                _ => {
                    let mut acts = acts;
                    acts.as_mut().unwrap().extend(lines(line).iter().map(|line| act(line)));
                    acts
                }
            };
        }
    }
}

fn file(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consul/setup");
    fs::read_to_string(folder.join(format!("{name}.txt"))).ok()
}

/// What a line stands for.
fn lines(line: &str) -> Vec<String> {
    if let Some(name) = line.strip_prefix("include ") {
        let text = file(name).unwrap();
        return text.lines().filter(|line| !line.is_empty()).flat_map(lines).collect();
    }
    let Some(rest) = line.strip_prefix("for ") else { return vec![line.to_owned()] };
    let (range, line) = rest.split_once(' ').unwrap();
    let (first, end) = range.split_once("..").unwrap();
    let places = Regex::new(r"<n(?:\+(?<plus>\d+))?(?::(?<digits>\d))?>").unwrap();
    let at = |n: u64| {
        let shown = |found: &Captures<'_>| {
            let number = |name| found.name(name).map_or(0, |m| m.as_str().parse::<u64>().unwrap());
            format!("{:0width$}", n + number("plus"), width = number("digits") as usize)
        };
        places.replace_all(line, shown).into_owned()
    };
    (first.parse().unwrap()..end.parse().unwrap()).map(at).collect()
}

fn act(line: &str) -> Act {
    if line == "settle" {
        return Act::Settle;
    }
    if let Some(agent) = line.strip_prefix("kill ") {
        return Act::Kill(agent.to_owned());
    }
    if let Some(rest) = line.strip_prefix("until ") {
        return match rest.split_once(" shows ") {
            Some((asked, text)) => Act::Until(ask(asked), text.to_owned(), true),
            None => {
                let (asked, text) = rest.split_once(" lacks ").unwrap();
                Act::Until(ask(asked), text.to_owned(), false)
            }
        };
    }
    Act::Ask(ask(line))
}

fn ask(line: &str) -> Ask {
    let mut ask = Ask::default();
    let mut rest = line;
    if let Some((before, name)) = rest.rsplit_once(" -> ") {
        rest = before;
        let (name, plus) = name.split_once(" = +").unwrap_or((name, "0"));
        ask.name = Some(name.to_owned());
        ask.plus = plus.parse().unwrap();
    }
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        word.to_owned()
    };
    let mut first = word();
    if let Some(agent) = first.strip_prefix('@') {
        ask.agent = Some(agent.to_owned());
        first = word();
    }
    if first == "as" {
        ask.token = Some(word());
        first = word();
    }
    ask.method = first;
    ask.path = word();
    ask.body = Some(rest.to_owned()).filter(|body| !body.is_empty());
    ask
}
