//! An event as a client reads it, and in the gateway's form. The product has one of its own in its
//! place, which the generated messages name by this path.

use serde::{Deserialize, Serialize, Serializer};

use crate::proto::KeyValue;

#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
pub struct Event {
    /// 0: put, 1: deleted.
    #[prost(int32, tag = "1")]
    #[serde(rename = "type", skip_deserializing)]
    #[serde(skip_serializing_if = "is_put", serialize_with = "name")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<KeyValue>,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue>,
}

fn is_put(kind: &i32) -> bool {
    *kind == 0
}

fn name<S: Serializer>(kind: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    match kind {
        1 => serializer.serialize_str("DELETE"),
        other => serializer.serialize_i32(*other),
    }
}
