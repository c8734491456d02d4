//! Answers without what may differ between any two servers: ids, terms, and where their history
//! begins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::script::{DRAWN, ORIGIN};

/// Lease ids above this are drawn by the server: scripts name small ones.
const NAMED_MAX: u64 = 1 << 40;
/// Of the remaining seconds of a lease.
const ELAPSED_MAX: i64 = 20;
/// Lengths of the hexadecimal form of a drawn id.
const HEX: std::ops::RangeInclusive<usize> = 11..=16;

#[derive(Debug, Default)]
pub struct Normal {
    /// The server's revision where the script begins.
    pub base: i64,
    /// Lease ids that the server drew, in the order in which they were seen.
    pub drawn: Vec<i64>,
}

impl Normal {
    pub fn answer(&mut self, answer: &mut Value) {
        match answer {
            Value::Object(fields) => self.message(fields),
            Value::Array(items) => items.iter_mut().for_each(|item| self.answer(item)),
            _ => {}
        }
    }

    fn message(&mut self, fields: &mut Map<String, Value>) {
        for gone in ["cluster_id", "member_id", "raft_term"] {
            fields.remove(gone);
        }
        remaining(fields);
        for (name, value) in fields.iter_mut() {
            match name.as_str() {
                "revision" | "create_revision" | "mod_revision" | "compact_revision" | "rev" => {
                    if let Some(revision) = number(value) {
                        *value = json!(revision - self.base + ORIGIN);
                    }
                }
                "ID" | "lease" => {
                    if let Some(id) = number(value) {
                        *value = json!(self.id(id));
                    }
                }
                "key" | "keys" => self.keys(value),
                "leases" => {
                    self.answer(value);
                    sort(value);
                }
                _ => self.answer(value),
            }
        }
    }

    fn id(&mut self, id: i64) -> i64 {
        if id.unsigned_abs() < NAMED_MAX {
            return id;
        }
        let known = self.drawn.iter().position(|drawn| *drawn == id);
        let nth = known.unwrap_or_else(|| {
            self.drawn.push(id);
            self.drawn.len() - 1
        });
        DRAWN + i64::try_from(nth).unwrap()
    }

    /// Keys of queues end with a lease's id. Those of a lease stand in no order.
    fn keys(&mut self, value: &mut Value) {
        match value {
            Value::Array(keys) => {
                keys.iter_mut().for_each(|key| self.keys(key));
                sort(value);
            }
            Value::String(key) => *key = self.key(key),
            _ => {}
        }
    }

    fn key(&mut self, base64: &str) -> String {
        let Ok(key) = STANDARD.decode(base64) else { return format!("no base64: {base64}") };
        let text = key.escape_ascii().to_string();
        let id = text.rsplit_once('/').filter(|(_, id)| HEX.contains(&id.len()));
        match id.map(|(name, id)| (name, i64::from_str_radix(id, 16))) {
            Some((name, Ok(id))) => format!("{name}/lease {}", self.id(id)),
            _ => text,
        }
    }
}

/// The seconds that are left of a lease, which differ with the moment.
fn remaining(fields: &mut Map<String, Value>) {
    let granted = fields.get("grantedTTL").and_then(number);
    if let (Some(granted), Some(left)) = (granted, fields.get_mut("TTL"))
        && number(left).is_some_and(|left| left <= granted && left >= granted - ELAPSED_MAX)
    {
        *left = json!("about all of it");
    }
}

pub fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn sort(value: &mut Value) {
    if let Value::Array(items) = value {
        items.sort_by_key(Value::to_string);
    }
}
