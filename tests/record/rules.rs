//! Rules: what is answered differently on purpose, why, and in how many recorded answers.

use std::collections::BTreeMap;

use regex::Regex;

/// Why an answer may be another; only the last two may leave open what it is.
const CLASSES: [&str; 5] = ["newer", "bug", "design", "left out", "library text"];
const LAX: [&str; 2] = ["left out", "library text"];

/// What becomes of a recorded answer.
pub trait Change: Sized {
    /// A line of a rule: its first word, and the rest.
    fn read(word: &str, text: &str) -> Option<Self>;
    /// Whether it leaves something open.
    fn is_lax(&self) -> bool;
    /// For the document.
    fn worded(&self) -> String;
}

#[derive(Debug, Clone)]
pub struct Rule<C> {
    pub id: String,
    pub class: String,
    /// Ids of blocks, ranges of them, or all of a file: `kv-001`, `kv-001..kv-005`, `kv-*`.
    pub blocks: Vec<String>,
    /// What such a block's request and its recorded answer hold.
    pub asked: Option<Regex>,
    pub answered: Option<Regex>,
    pub changes: Vec<C>,
    pub reason: String,
    /// How many blocks of each file it changes.
    pub hits: BTreeMap<String, usize>,
    found: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
pub struct Rules<C>(pub Vec<Rule<C>>);

impl<C: Change> Rules<C> {
    pub fn read(text: &str) -> Rules<C> {
        let paragraphs = text.split("\n\n").map(|text| {
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
        });
        Rules(paragraphs.filter(|text| !text.is_empty()).map(|text| rule(&text)).collect())
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

impl<C> Rule<C> {
    pub fn concerns(&self, id: &str, asked: &str, answered: &str) -> bool {
        let holds = |wanted: &Option<Regex>, text| wanted.as_ref().is_none_or(|w| w.is_match(text));
        let named = self.blocks.iter().any(|blocks| match blocks.split_once("..") {
            Some((first, last)) => topic_of(first) == topic_of(id) && first <= id && id <= last,
            None => match blocks.strip_suffix('*') {
                Some(begin) => id.starts_with(begin),
                None => blocks == id,
            },
        });
        named && holds(&self.asked, asked) && holds(&self.answered, answered)
    }

    /// It has changed that block, or left something of it open.
    pub fn hit(&mut self, id: &str) {
        *self.found.entry(topic_of(id).to_owned()).or_default() += 1;
    }
}

pub fn topic_of(id: &str) -> &str {
    id.rsplit_once('-').unwrap().0
}

fn rule<C: Change>(text: &str) -> Rule<C> {
    let mut rule = Rule {
        id: String::new(),
        class: String::new(),
        blocks: Vec::new(),
        asked: None,
        answered: None,
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
            "asked" => rule.asked = Some(Regex::new(rest).unwrap()),
            "answered" => rule.answered = Some(Regex::new(rest).unwrap()),
            "reason" => rule.reason = format!("{} {rest}", rule.reason).trim().to_owned(),
            "hits" => {
                for hits in rest.split(", ") {
                    let (topic, count) = hits.split_once(' ').unwrap();
                    rule.hits.insert(topic.to_owned(), count.parse().unwrap());
                }
            }
            word => {
                let change = C::read(word, rest);
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
