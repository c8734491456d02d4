//! Protobuf messages in JSON, as the gateway reads and writes them: proto or camel names, numbers
//! of 64 bits as strings, base64, zero values left out.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::{Key, KeyRow};

use super::error::Failure;
use super::kv::{DeleteRangeRequest, Header, PutRequest, RangeRequest};

/// Padded or not, of either alphabet.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message that can be read field by field.
pub trait Message: Default {
    /// Takes a field that it knows; false for one that it does not.
    fn field(&mut self, name: &str, value: &Value<'_>) -> Result<bool, String>;
}

/// The first object of a body; none at all is an empty message.
pub fn read<M: Message>(body: &[u8]) -> Result<M, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(M::default());
    }
    let mut stream = serde_json::Deserializer::from_slice(body);
    match Reading::<M>::deserialize(&mut stream) {
        Ok(reading) => Ok(reading.0),
        Err(error) if error.is_eof() => Err(Failure::invalid("unexpected EOF")),
        Err(error) => Err(Failure::invalid(format!("proto: {error}"))),
    }
}

struct Reading<M>(M);

impl<'de, M: Message> Deserialize<'de> for Reading<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<M>(std::marker::PhantomData<M>);

        impl<'de, M: Message> Visitor<'de> for Fields<M> {
            type Value = Reading<M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading<M>, A::Error> {
                let mut message = M::default();
                let mut seen: Vec<String> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = map.next_value::<Value<'de>>()?;
                    let proto = proto_name(&name);
                    if matches!(value, Value::Null) {
                        continue;
                    }
                    if seen.contains(&proto) {
                        return Err(A::Error::custom(format!("duplicate field {name:?}")));
                    }
                    if message.field(&proto, &value).map_err(A::Error::custom)? {
                        seen.push(proto);
                    }
                }
                Ok(Reading(message))
            }
        }

        deserializer.deserialize_map(Fields(std::marker::PhantomData))
    }
}

/// `rangeEnd` is `range_end`.
fn proto_name(name: &str) -> String {
    // `Key` is another name than `key`, and no known one.
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return name.to_owned();
    }
    let mut proto = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            proto.push('_');
        }
        proto.push(c.to_ascii_lowercase());
    }
    proto
}

/// A field's value before it is known what it should be.
#[derive(Debug)]
pub enum Value<'de> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(std::borrow::Cow<'de, str>),
    /// An array or an object: no field here is one.
    Nested,
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value<'de>, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
                Ok(Value::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
                Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
                Ok(Value::Float(value))
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
                Ok(Value::Text(value.to_owned().into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Value<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Nested)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Nested)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Value<'_> {
    pub fn bytes(&self, field: &str) -> Result<Bytes, String> {
        let bad = || format!("invalid value for bytes field {field}");
        let Value::Text(text) = self else { return Err(bad()) };
        let decoded = if text.contains(['-', '_']) {
            LENIENT.decode(text.replace('-', "+").replace('_', "/"))
        } else {
            LENIENT.decode(text.as_bytes())
        };
        decoded.map(Bytes::from).map_err(|_| bad())
    }

    /// A number, or a string with one; `1.0` and `1e1` are whole numbers too.
    pub fn int64(&self, field: &str) -> Result<i64, String> {
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && number.abs() < 9.2e18;
            fits.then_some(number as i64)
        };
        let number = match self {
            Value::Integer(number) => Some(*number),
            Value::Float(number) => whole(*number),
            Value::Text(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
                text.parse().ok()
            }
            Value::Text(text) if !text.starts_with(char::is_whitespace) => {
                text.parse::<f64>().ok().and_then(whole)
            }
            _ => None,
        };
        number.ok_or_else(|| format!("invalid value for int64 field {field}"))
    }

    pub fn boolean(&self, field: &str) -> Result<bool, String> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => Err(format!("invalid value for bool field {field}")),
        }
    }

    /// A name or a number; names that are not known count as the zero value.
    pub fn choice(&self, field: &str, names: &[&str]) -> Result<i32, String> {
        let position = |text: &str| names.iter().position(|name| *name == text);
        match self {
            Value::Text(text) => {
                Ok(position(text).and_then(|at| i32::try_from(at).ok()).unwrap_or(0))
            }
            Value::Integer(number) => {
                i32::try_from(*number).map_err(|_| format!("invalid value for enum field {field}"))
            }
            _ => Err(format!("invalid value for enum field {field}")),
        }
    }
}

const ORDERS: &[&str] = &["NONE", "ASCEND", "DESCEND"];
const TARGETS: &[&str] = &["KEY", "VERSION", "CREATE", "MOD", "VALUE"];

impl Message for RangeRequest {
    fn field(&mut self, name: &str, value: &Value<'_>) -> Result<bool, String> {
        match name {
            "key" => self.key = value.bytes(name)?,
            "range_end" => self.range_end = value.bytes(name)?,
            "limit" => self.limit = value.int64(name)?,
            "revision" => self.revision = value.int64(name)?,
            "sort_order" => self.sort_order = value.choice(name, ORDERS)?,
            "sort_target" => self.sort_target = value.choice(name, TARGETS)?,
            "serializable" => self.serializable = value.boolean(name)?,
            "keys_only" => self.keys_only = value.boolean(name)?,
            "count_only" => self.count_only = value.boolean(name)?,
            "min_mod_revision" => self.mod_revision.min = value.int64(name)?,
            "max_mod_revision" => self.mod_revision.max = value.int64(name)?,
            "min_create_revision" => self.create_revision.min = value.int64(name)?,
            "max_create_revision" => self.create_revision.max = value.int64(name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Message for PutRequest {
    fn field(&mut self, name: &str, value: &Value<'_>) -> Result<bool, String> {
        match name {
            "key" => self.key = value.bytes(name)?,
            "value" => self.value = value.bytes(name)?,
            "lease" => self.lease = value.int64(name)?,
            "prev_kv" => self.prev_kv = value.boolean(name)?,
            "ignore_value" => self.ignore_value = value.boolean(name)?,
            "ignore_lease" => self.ignore_lease = value.boolean(name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Message for DeleteRangeRequest {
    fn field(&mut self, name: &str, value: &Value<'_>) -> Result<bool, String> {
        match name {
            "key" => self.key = value.bytes(name)?,
            "range_end" => self.range_end = value.bytes(name)?,
            "prev_kv" => self.prev_kv = value.boolean(name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A number of 64 bits, which JSON carries as a string.
struct Long<N>(N);

impl<N: fmt::Display> Serialize for Long<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("cluster_id", &Long(self.cluster_id))?;
        fields.serialize_entry("member_id", &Long(self.member_id))?;
        if self.revision != 0 {
            fields.serialize_entry("revision", &Long(self.revision))?;
        }
        if self.raft_term != 0 {
            fields.serialize_entry("raft_term", &Long(self.raft_term))?;
        }
        fields.end()
    }
}

/// `mvccpb.KeyValue`.
pub struct KeyValue<'a> {
    pub key: &'a Key,
    pub row: &'a KeyRow,
    pub keys_only: bool,
}

impl Serialize for KeyValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("key", &STANDARD.encode(self.key))?;
        fields.serialize_entry("create_revision", &Long(self.row.create))?;
        fields.serialize_entry("mod_revision", &Long(self.row.modified))?;
        fields.serialize_entry("version", &Long(self.row.version))?;
        if !self.keys_only && !self.row.value.is_empty() {
            fields.serialize_entry("value", &STANDARD.encode(&self.row.value))?;
        }
        if !self.row.lease.is_none() {
            fields.serialize_entry("lease", &Long(self.row.lease.0))?;
        }
        fields.end()
    }
}

#[derive(Serialize)]
pub struct RangeResponse<'a> {
    pub header: Header,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kvs: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "long")]
    pub count: u64,
}

#[derive(Serialize)]
pub struct PutResponse<'a> {
    pub header: Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue<'a>>,
}

#[derive(Serialize)]
pub struct DeleteRangeResponse<'a> {
    pub header: Header,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "long")]
    pub deleted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prev_kvs: Vec<KeyValue<'a>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn long<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}
