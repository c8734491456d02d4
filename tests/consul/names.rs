//! What this run calls what the record calls otherwise: ids, and indexes that a request gives back.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

pub static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap()
});
/// A number that a request took from an answer.
static INDEX: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?<before>[?&](?:index|cas)=|"Index":)(?<number>\d+)"#).unwrap()
});
static HASH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(?<before>[?&]hash=)(?<number>[0-9a-f]+)").unwrap());

/// An id whose like has not been seen on the other side.
const NEW: &str = "<new id>";

#[derive(Debug, Default)]
pub struct Names {
    ours: HashMap<String, String>,
    recorded: HashMap<String, String>,
    /// Indexes and hashes.
    numbers: HashMap<String, String>,
}

impl Names {
    pub fn learn(&mut self, recorded: &str, ours: &str) {
        if !self.ours.contains_key(recorded) && !self.recorded.contains_key(ours) {
            self.ours.insert(recorded.to_owned(), ours.to_owned());
            self.recorded.insert(ours.to_owned(), recorded.to_owned());
        }
    }

    /// The same, also of something that has a name of its own in the record already.
    pub fn call(&mut self, recorded: &str, ours: &str) {
        self.ours.insert(recorded.to_owned(), ours.to_owned());
        self.recorded.entry(ours.to_owned()).or_insert_with(|| recorded.to_owned());
    }

    pub fn learn_number(&mut self, recorded: &str, ours: &str) {
        self.numbers.insert(recorded.to_owned(), ours.to_owned());
    }

    /// A text of a request as it is said to this run's agents. An id that no answer has shown is
    /// the client's own.
    pub fn ours_of(&mut self, text: &str) -> String {
        let ids: Vec<String> = UUID.find_iter(text).map(|id| id.as_str().to_owned()).collect();
        ids.iter().for_each(|id| self.learn(id, id));
        let ours = |found: &Captures<'_>| self.ours.get(&found[0]).unwrap_or(&ids[0]).clone();
        UUID.replace_all(text, ours).into_owned()
    }

    /// The same, with the numbers that it took from earlier answers.
    pub fn numbers_of(&self, text: &str) -> String {
        let ours = |found: &Captures<'_>| {
            let number = &found["number"];
            let ours = self.numbers.get(number).map_or(number, String::as_str);
            format!("{}{ours}", &found["before"])
        };
        let text = INDEX.replace_all(text, ours);
        HASH.replace_all(&text, ours).into_owned()
    }

    /// A text of the record, with what has no counterpart yet out of sight.
    pub fn recorded(&self, text: &str) -> String {
        let shown = |found: &Captures<'_>| match self.ours.contains_key(&found[0]) {
            true => found[0].to_owned(),
            false => NEW.to_owned(),
        };
        UUID.replace_all(text, shown).into_owned()
    }

    /// A text of this run as the record would have it.
    pub fn answered(&self, text: &str) -> String {
        let shown = |found: &Captures<'_>| match self.recorded.get(&found[0]) {
            Some(recorded) => recorded.clone(),
            None => NEW.to_owned(),
        };
        UUID.replace_all(text, shown).into_owned()
    }

    /// A text of this run in the record's words, as far as it has any.
    pub fn in_the_record(&self, text: &str) -> String {
        let known = |found: &Captures<'_>| {
            self.recorded.get(&found[0]).cloned().unwrap_or_else(|| found[0].to_owned())
        };
        UUID.replace_all(text, known).into_owned()
    }

    /// Learns from texts that stand at the same place of both answers.
    pub fn pair_texts(&mut self, recorded: &str, ours: &str) {
        let recorded: Vec<&str> = UUID.find_iter(recorded).map(|id| id.as_str()).collect();
        let ours: Vec<&str> = UUID.find_iter(ours).map(|id| id.as_str()).collect();
        if recorded.len() == ours.len() {
            recorded.into_iter().zip(ours).for_each(|(recorded, ours)| self.learn(recorded, ours));
        }
    }

    /// The same of JSON; what may come in any order stands already in the same.
    pub fn pair(&mut self, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::String(recorded), Value::String(ours)) => self.pair_texts(recorded, ours),
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
                recorded.iter().zip(ours).for_each(|(recorded, ours)| self.pair(recorded, ours));
            }
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded {
                    let theirs = ours.get(name).or_else(|| {
                        let mut alone = ours.iter().filter(|_| ours.len() == recorded.len());
                        alone.find(|(other, _)| self.answered(other) == *name).map(|(_, v)| v)
                    });
                    if let Some(theirs) = theirs {
                        self.pair(value, theirs);
                    }
                }
            }
            _ => {}
        }
    }
}
