//! What a template sees of a service, an instance and a key.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use crate::model::Health;
use crate::state::{InstanceRow, InstanceView};

/// A row of `services()`: `name`, `tags`.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) tags: Vec<Arc<str>>,
}

impl Object for Service {
    fn get_value(self: &Arc<Self>, field: &Value) -> Option<Value> {
        match field.as_str()? {
            "name" => Some(Value::from(self.name.as_ref())),
            "tags" => Some(words(&self.tags)),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["name", "tags"])
    }
}

/// A row of `service(…)`. Values are made when they are asked for: a template rarely wants all.
#[derive(Debug)]
pub(super) struct Instance {
    row: Arc<InstanceRow>,
    node: Arc<str>,
    address: Arc<str>,
    health: Health,
}

impl Instance {
    pub(super) fn new(view: &InstanceView<'_>) -> Instance {
        Instance {
            row: view.instance.clone(),
            node: view.node.def.name.clone(),
            address: view.address().clone(),
            health: view.health(),
        }
    }
}

impl Object for Instance {
    fn get_value(self: &Arc<Self>, field: &Value) -> Option<Value> {
        let def = &self.row.def;
        match field.as_str()? {
            "id" => Some(Value::from(def.id.as_ref())),
            "name" => Some(Value::from(def.name.as_ref())),
            "address" => Some(Value::from(self.address.as_ref())),
            "port" => Some(Value::from(def.port)),
            "tags" => Some(words(&def.tags)),
            "meta" => Some(Value::from(def.meta.clone())),
            "weight" => Some(Value::from(def.weights.at(self.health))),
            "node" => Some(Value::from(self.node.as_ref())),
            "health" => Some(Value::from(self.health.as_str())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&[
            "id", "name", "address", "port", "tags", "meta", "weight", "node", "health",
        ])
    }
}

/// A row of `ls` and `tree`: unpacks into name and value (`for k, v in …`), and has `key` (the
/// name relative to the prefix), `value` and `path` (the whole key).
#[derive(Debug)]
pub(super) struct Pair {
    key: Value,
    path: Value,
    value: Value,
}

impl Pair {
    pub(super) fn new(name: &str, path: &str, value: &str) -> Pair {
        Pair { key: Value::from(name), path: Value::from(path), value: Value::from(value) }
    }
}

impl Object for Pair {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, field: &Value) -> Option<Value> {
        let value = match (field.as_usize(), field.as_str()) {
            (Some(0), _) | (_, Some("key")) => &self.key,
            (Some(1), _) | (_, Some("value")) => &self.value,
            (_, Some("path")) => &self.path,
            _ => return None,
        };
        Some(value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

fn words(words: &[Arc<str>]) -> Value {
    words.iter().map(|word| Value::from(word.as_ref())).collect()
}
