//! What an etcd of another version than the one that Remora follows answers otherwise, and why.
//!
//! Remora follows 3.5.30, whose answers are recorded. A rule turns exactly one kind of answer of
//! the other into what 3.5.30 says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::script::{Script, Step};
use crate::wire::Way;

pub struct Rule {
    pub id: &'static str,
    pub reason: &'static str,
    /// Versions of etcd that need it.
    versions: &'static [&'static str],
    /// Alters the answer of etcd; whether it had to.
    apply: fn(Way, &Step, &mut Value) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        id: "failed-precondition-is-400",
        reason: "the gateway's status of FailedPrecondition became 400 in 3.5",
        versions: &["3.4"],
        apply: |_, _, answer| {
            let precondition = answer["refused"]["code"] == 9 && answer["refused"]["http"] == 412;
            if precondition {
                answer["refused"]["http"] = json!(400);
            }
            precondition
        },
    },
    Rule {
        id: "no-progress-without-watches",
        reason: "a stream without watches is told of no progress since 3.5.21",
        versions: &["3.4"],
        apply: |_, _, answer| {
            let told = answer["live"] == 0 && answer["progress"]["watch_id"] == "-1";
            if told {
                answer["progress"] = json!("silence");
            }
            told
        },
    },
    Rule {
        id: "no-lock-without-a-lease",
        reason: "whose lease went while it waited is refused the lock since 3.5",
        versions: &["3.4"],
        apply: |way, step, answer| {
            let lock = answer["ok"].get("key").is_some();
            refuse_the_gone(way, step, answer, lock)
        },
    },
    Rule {
        id: "no-lead-without-a-lease",
        reason: "etcd has who lost its lease while it waited lead with a key that is not there",
        versions: &["3.4", "3.5"],
        apply: |way, step, answer| {
            let leads = answer["ok"].get("leader").is_some();
            refuse_the_gone(way, step, answer, leads)
        },
    },
];

fn refuse_the_gone(way: Way, step: &Step, answer: &mut Value, held: bool) -> bool {
    let gone = held && matches!(step, Step::Turn { gone: true, .. });
    if gone {
        let mut refused = json!({ "code": 2, "message": "mutex: session is expired" });
        if way == Way::Json {
            refused["http"] = json!(500);
        }
        *answer = json!({ "refused": refused });
    }
    gone
}

pub struct Rules {
    rules: Vec<&'static Rule>,
    hits: BTreeMap<&'static str, usize>,
}

impl Rules {
    pub fn of(version: &str) -> Rules {
        let rules = RULES.iter().filter(|rule| rule.versions.contains(&version));
        Rules { rules: rules.collect(), hits: BTreeMap::new() }
    }

    /// Sets right what etcd answered. What follows the steps has no rules.
    pub fn apply(&mut self, script: &Script, answers: &mut [Value]) {
        for (step, answer) in script.steps.iter().zip(answers) {
            for rule in &self.rules {
                if (rule.apply)(script.way, step, answer) {
                    *self.hits.entry(rule.id).or_default() += 1;
                }
            }
        }
    }

    pub fn take(&mut self, other: Rules) {
        for (id, hits) in other.hits {
            *self.hits.entry(id).or_default() += hits;
        }
    }

    pub fn unused(&self) -> Vec<&'static str> {
        let rules = self.rules.iter().map(|rule| rule.id);
        rules.filter(|id| !self.hits.contains_key(id)).collect()
    }

    pub fn tell(&self) {
        for rule in &self.rules {
            let hits = self.hits.get(rule.id).copied().unwrap_or(0);
            println!("{hits:6} hits of {}: {}", rule.id, rule.reason);
        }
    }
}
