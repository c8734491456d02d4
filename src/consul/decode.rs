//! Reads JSON bodies as Go does: names in any case, unknown fields refused, Go's error texts.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::duration;

/// What is wrong with a body, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Go's types of numbers: where one does not fit, its text says which.
const NUMBERS: [&str; 3] = ["int", "uint64", "time.Duration"];

/// As Go reads it: padded, and bits that no byte needs may be anything.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

type Result<T> = std::result::Result<T, DecodeError>;

/// The first JSON value of a body, which is an object; `null` is an empty one.
pub fn object(body: &[u8], of: &'static str) -> Result<Fields> {
    object_of_type(body, of, of)
}

/// The same where Go's texts have two names for it: one for all of it, one before its fields.
pub fn object_of_type(body: &[u8], of: &'static str, whole: &str) -> Result<Fields> {
    Fields::of(value(body)?, of, String::new(), &format!("value of type {whole}"))
}

/// The objects of a list, which is called `whole`; `null` is an empty one, here and in it.
pub fn objects(body: &[u8], of: &'static str, whole: &str) -> Result<Vec<Fields>> {
    let target = format!("value of type {of}");
    match value(body)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            items.into_iter().map(|item| Fields::of(item, of, String::new(), &target)).collect()
        }
        other => {
            let text =
                format!("json: cannot unmarshal {} into Go value of type {whole}", kind(&other));
            Err(DecodeError(text))
        }
    }
}

/// The first JSON value of a body; what follows it is ignored.
fn value(body: &[u8]) -> Result<Value> {
    let mut stream = serde_json::Deserializer::from_slice(body);
    Value::deserialize(&mut stream).map_err(|error| syntax(body, &error))
}

fn syntax(body: &[u8], error: &serde_json::Error) -> DecodeError {
    let text = if body.iter().all(u8::is_ascii_whitespace) {
        "EOF".to_owned()
    } else if error.is_eof() {
        "unexpected EOF".to_owned()
    } else {
        format!("json: {error}")
    };
    DecodeError(text)
}

/// The members of an object, taken out one by one; what is left in the end is unknown.
#[derive(Debug, Default)]
pub struct Fields {
    members: Vec<(String, Value)>,
    /// Its type, which error texts put before a field's name; empty for many.
    owner: &'static str,
    /// The names that led to it, each with a dot behind it.
    path: String,
}

impl Fields {
    /// `of` is Go's name of the type, its package included.
    fn of(value: Value, of: &'static str, path: String, target: &str) -> Result<Fields> {
        let members = match value {
            Value::Object(members) => members,
            Value::Null => Map::new(),
            other => {
                let text = format!("json: cannot unmarshal {} into Go {target}", kind(&other));
                return Err(DecodeError(text));
            }
        };
        let owner = of.split_once('.').map_or(of, |(_, name)| name);
        Ok(Fields { members: members.into_iter().collect(), owner, path })
    }

    /// What one of its members is called in error texts.
    fn field(&self, name: &str) -> String {
        format!("struct field {}.{}{name}", self.owner, self.path)
    }

    /// What is in one of its members.
    fn inner(&self, value: Value, name: &str, of: &'static str) -> Result<Fields> {
        let target = format!("{} of type {of}", self.field(name));
        Fields::of(value, of, format!("{}{name}.", self.path), &target)
    }

    /// The member by its first name that matches in any case; `null` is as if it were not there.
    pub fn take(&mut self, names: &[&str]) -> Option<Value> {
        let mut found = None;
        while let Some(at) = self
            .members
            .iter()
            .position(|(known, _)| names.iter().any(|name| known.eq_ignore_ascii_case(name)))
        {
            found = Some(self.members.swap_remove(at).1);
        }
        found.filter(|value| !value.is_null())
    }

    fn mismatch(&self, value: &Value, name: &str, target: &str) -> DecodeError {
        let value = match value {
            Value::Number(number) if NUMBERS.contains(&target) => format!("number {number}"),
            other => kind(other).to_owned(),
        };
        let field = self.field(name);
        DecodeError(format!("json: cannot unmarshal {value} into Go {field} of type {target}"))
    }

    pub fn string(&mut self, names: &[&str]) -> Result<String> {
        Ok(self.string_if_given(names)?.unwrap_or_default())
    }

    pub fn string_if_given(&mut self, names: &[&str]) -> Result<Option<String>> {
        match self.take(names) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch(&other, first(names), "string")),
        }
    }

    /// Text of a type of its own.
    pub fn text_of(&mut self, names: &[&str], of: &str) -> Result<String> {
        match self.take(names) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.mismatch(&other, first(names), of)),
        }
    }

    /// Whether the member says no, which is not what it means where it is missing.
    pub fn opposite(&mut self, names: &[&str]) -> Result<bool> {
        match self.take(names) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(!value),
            Some(other) => Err(self.mismatch(&other, first(names), "bool")),
        }
    }

    pub fn boolean(&mut self, names: &[&str]) -> Result<bool> {
        match self.take(names) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.mismatch(&other, first(names), "bool")),
        }
    }

    /// None where the field was not given.
    pub fn integer(&mut self, names: &[&str]) -> Result<Option<i64>> {
        let Some(value) = self.take(names) else { return Ok(None) };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.mismatch(&value, first(names), "int")),
        }
    }

    /// Zero where the field was not given.
    pub fn unsigned(&mut self, names: &[&str]) -> Result<u64> {
        let Some(value) = self.take(names) else { return Ok(0) };
        value.as_u64().ok_or_else(|| self.mismatch(&value, first(names), "uint64"))
    }

    /// What stands there in base64.
    pub fn bytes(&mut self, names: &[&str]) -> Result<Vec<u8>> {
        let text = match self.take(names) {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => text,
            Some(other) => return Err(self.mismatch(&other, first(names), "[]uint8")),
        };
        let unbroken: Vec<u8> = text.bytes().filter(|byte| !is_break(*byte)).collect();
        BASE64.decode(unbroken).map_err(|_| {
            let at = corrupt_at(text.as_bytes());
            DecodeError(format!("illegal base64 data at input byte {at}"))
        })
    }

    pub fn strings(&mut self, names: &[&str]) -> Result<Vec<String>> {
        Ok(self.strings_if_given(names)?.unwrap_or_default())
    }

    pub fn strings_if_given(&mut self, names: &[&str]) -> Result<Option<Vec<String>>> {
        let items = match self.take(names) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.mismatch(&other, first(names), "[]string")),
        };
        items.into_iter().map(|item| self.text(item, first(names))).collect::<Result<_>>().map(Some)
    }

    pub fn map(&mut self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let members = self.members_of(names, "map[string]string")?;
        let text = |(key, value)| Ok((key, self.text(value, first(names))?));
        members.into_iter().map(text).collect()
    }

    pub fn map_if_given(&mut self, names: &[&str]) -> Result<Option<BTreeMap<String, String>>> {
        let Some(value) = self.take(names) else { return Ok(None) };
        let Value::Object(members) = value else {
            return Err(self.mismatch(&value, first(names), "map[string]string"));
        };
        let text = |(key, value)| Ok((key, self.text(value, first(names))?));
        members.into_iter().map(text).collect::<Result<_>>().map(Some)
    }

    pub fn map_of_lists(&mut self, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        let mut lists = BTreeMap::new();
        for (key, value) in self.members_of(names, "map[string][]string")? {
            let items = match value {
                Value::Null => Vec::new(),
                Value::Array(items) => items,
                other => return Err(self.mismatch(&other, first(names), "[]string")),
            };
            let items: Result<Vec<String>> =
                items.into_iter().map(|item| self.text(item, first(names))).collect();
            lists.insert(key, items?);
        }
        Ok(lists)
    }

    /// The members of an object whose names are the caller's.
    pub fn objects_by_name(
        &mut self,
        names: &[&str],
        of: &'static str,
    ) -> Result<Vec<(String, Fields)>> {
        let members = self.members_of(names, &format!("map[string]{of}"))?;
        let object = |(key, value)| Ok((key, self.inner(value, first(names), of)?));
        members.into_iter().map(object).collect()
    }

    pub fn object(&mut self, names: &[&str], of: &'static str) -> Result<Option<Fields>> {
        let Some(value) = self.take(names) else { return Ok(None) };
        self.inner(value, first(names), of).map(Some)
    }

    pub fn objects(&mut self, names: &[&str], of: &'static str) -> Result<Vec<Fields>> {
        Ok(self.objects_if_given(names, of)?.unwrap_or_default())
    }

    pub fn objects_if_given(
        &mut self,
        names: &[&str],
        of: &'static str,
    ) -> Result<Option<Vec<Fields>>> {
        let items = match self.take(names) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.mismatch(&other, first(names), &format!("[]{of}"))),
        };
        let objects = items.into_iter().map(|item| self.inner(item, first(names), of));
        objects.collect::<Result<_>>().map(Some)
    }

    /// Nanoseconds: a number, or Go's text. Zero where it was not given.
    pub fn nanoseconds(&mut self, names: &[&str]) -> Result<i64> {
        match self.take(names) {
            None => Ok(0),
            Some(Value::String(text)) if text.is_empty() => Ok(0),
            Some(Value::String(text)) => {
                duration::parse(&text).ok_or_else(|| DecodeError(duration::complaint(&text)))
            }
            Some(Value::Number(number)) => number
                .as_i64()
                .or_else(|| number.as_f64().map(|number| number as i64))
                .ok_or_else(|| DecodeError(format!("time: invalid duration \"{number}\""))),
            Some(other) => Err(self.mismatch(&other, first(names), "time.Duration")),
        }
    }

    /// None where it was not given, or is not above zero.
    pub fn duration(&mut self, names: &[&str]) -> Result<Option<Duration>> {
        Ok(duration::positive(self.nanoseconds(names)?))
    }

    /// Takes fields that are known and mean nothing here.
    pub fn skip(&mut self, names: &[&str]) {
        self.members.retain(|(known, _)| !names.iter().any(|n| known.eq_ignore_ascii_case(n)));
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Everything has been taken, or the body names something that does not exist.
    pub fn finish(self) -> Result<()> {
        match self.members.first() {
            None => Ok(()),
            Some((name, _)) => Err(DecodeError(format!("json: unknown field {name:?}"))),
        }
    }

    fn members_of(&mut self, names: &[&str], target: &str) -> Result<Map<String, Value>> {
        match self.take(names) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(other) => Err(self.mismatch(&other, first(names), target)),
        }
    }

    fn text(&self, value: Value, name: &str) -> Result<String> {
        match value {
            Value::String(text) => Ok(text),
            Value::Null => Ok(String::new()),
            other => Err(self.mismatch(&other, name, "string")),
        }
    }
}

fn first<'a>(names: &[&'a str]) -> &'a str {
    names.first().copied().unwrap_or_default()
}

/// Go passes over these in base64.
fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Where Go finds that something is no base64: at the first byte that cannot stand there, or where
/// the last group begins, if bytes are missing.
fn corrupt_at(text: &[u8]) -> usize {
    let mut bytes = text.iter().enumerate().filter(|(_, byte)| !is_break(**byte));
    loop {
        for place in 0..4 {
            let Some((at, byte)) = bytes.next() else { return text.len() - place };
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
                b'=' if place == 2 => {
                    return match bytes.next() {
                        None => text.len(),
                        Some((at, b'=')) => bytes.next().map_or(at, |(behind, _)| behind),
                        Some((other, _)) => other - 1,
                    };
                }
                b'=' if place == 3 => return bytes.next().map_or(at, |(behind, _)| behind),
                _ => return at,
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> std::result::Result<Vec<u8>, String> {
        let body = serde_json::json!({ "Value": text }).to_string();
        let mut fields = object(body.as_bytes(), "").unwrap();
        fields.bytes(&["Value"]).map_err(|error| error.0)
    }

    /// As Consul 1.8.7 answers.
    #[test]
    fn base64_is_what_go_takes_for_it() {
        for (text, read) in [("", ""), ("dm==", "v"), ("dmFs\ndWU=", "value"), ("dg=\r\n=", "v")] {
            assert_eq!(bytes(text), Ok(read.as_bytes().to_vec()), "{text:?}");
        }
        for (text, at) in [
            ("d", 0),
            ("dm", 0),
            ("dmFsdWU", 4),
            ("dmFs!dWU", 4),
            ("dmFs\n!dWU=", 5),
            ("d===", 1),
            ("=", 0),
            ("dm=", 3),
            ("dm=x", 2),
            ("dm==x", 4),
            ("dmF=x", 4),
            ("dm=FsdWU", 2),
        ] {
            assert_eq!(
                bytes(text),
                Err(format!("illegal base64 data at input byte {at}")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_named_with_all_that_leads_to_it() {
        let body = br#"{"Service":{"Weights":{"Passing":"x"},"Tags":5}}"#;
        let mut root = object(body, "structs.RegisterRequest").unwrap();
        let mut service = root.object(&["Service"], "structs.NodeService").unwrap().unwrap();
        let mut weights = service.object(&["Weights"], "structs.Weights").unwrap().unwrap();
        let cannot = "json: cannot unmarshal";
        let passing = format!(
            "{cannot} string into Go struct field Weights.Service.Weights.Passing of type int"
        );
        assert_eq!(weights.integer(&["Passing"]), Err(DecodeError(passing)));
        let tags = format!(
            "{cannot} number into Go struct field NodeService.Service.Tags of type []string"
        );
        assert_eq!(service.strings(&["Tags"]), Err(DecodeError(tags)));
    }
}
