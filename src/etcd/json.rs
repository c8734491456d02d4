//! Messages as the gateway reads them.

use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Map, Value};

use crate::model::limits;

use super::error::Failure;
use super::kv::too_long;

/// The first object of a body; none at all is an empty message.
pub(super) fn read<M: Message + DeserializeOwned + Default>(body: &[u8]) -> Result<M, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(M::default());
    }
    let message = first(body)?;
    let len = M::encoded_len(&message);
    if len > limits::ETCD_MESSAGE { Err(too_long(len as u64)) } else { Ok(message) }
}

/// The messages of a body, one after the other, up to the first that is none.
pub(super) fn each<M: DeserializeOwned>(body: &[u8]) -> Vec<M> {
    let values = Deserializer::from_slice(body).into_iter::<&RawValue>();
    values.map_while(|value| first(value.ok()?.get().as_bytes()).ok()).collect()
}

/// What is written as etcd writes it is read as it stands; what is not, once more in other words.
fn first<M: DeserializeOwned>(body: &[u8]) -> Result<M, Failure> {
    let mut stream = Deserializer::from_slice(body);
    let strict = match M::deserialize(&mut stream) {
        Ok(message) => return Ok(message),
        Err(error) if error.is_eof() => return Err(Failure::invalid("unexpected EOF")),
        Err(error) => error,
    };
    let refused = || Failure::invalid(format!("proto: {}", located::<M>(body, &strict)));
    let mut values = Deserializer::from_slice(body).into_iter::<Value>();
    let Some(Ok(mut value)) = values.next() else { return Err(refused()) };
    // Of two fields of one name a value keeps the last; the message may have neither.
    if strict.to_string().contains("duplicate field") {
        return Err(refused());
    }
    plain(&mut value);
    loop {
        let error = match M::deserialize(&value) {
            Ok(message) => return Ok(message),
            Err(error) => error.to_string(),
        };
        // Names of choices that are not known count as not given.
        let unknown = error.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`'));
        if !unknown.is_some_and(|(name, _)| forget(&mut value, name)) {
            return Err(refused());
        }
    }
}

/// What is wrong, with the field that it is wrong with: only then is it read to find that out.
fn located<M: DeserializeOwned>(body: &[u8], strict: &serde_json::Error) -> String {
    let mut stream = Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, M>(&mut stream) {
        Err(error) if error.path().iter().next().is_some() && strict.is_data() => {
            let (place, why) = (strict.line(), strict.to_string());
            let at = format!(" at line {place} column {}", strict.column());
            let why = why.strip_suffix(&at).unwrap_or(&why);
            let column = strict.column();
            format!("(line {place}:{column}): invalid value for field {}: {why}", error.path())
        }
        _ => strict.to_string(),
    }
}

/// Leaves out the fields whose value is that name, and says whether there were any.
fn forget(value: &mut Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => {
            let before = fields.len();
            fields.retain(|_, value| value.as_str() != Some(name));
            let inside = fields.values_mut().fold(false, |any, value| forget(value, name) | any);
            inside || fields.len() < before
        }
        Value::Array(items) => {
            let before = items.len();
            items.retain(|item| item.as_str() != Some(name));
            let inside = items.iter_mut().fold(false, |any, item| forget(item, name) | any);
            inside || items.len() < before
        }
        _ => false,
    }
}

/// Leaves out what is null, and writes whole numbers as such: `1.0` and `"1e1"`.
fn plain(value: &mut Value) {
    let number = match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            unknown_numbers(fields);
            return fields.values_mut().for_each(plain);
        }
        Value::Array(items) => return items.iter_mut().for_each(plain),
        Value::Number(number) if number.is_f64() => number.as_f64(),
        Value::String(text) if text.contains(['.', 'e', 'E']) => text.parse().ok(),
        _ => None,
    };
    if let Some(whole) = number.and_then(whole) {
        *value = whole.into();
    }
}

/// Choices by numbers that stand for none. An order like that is none, and a comparison with such
/// a result holds always, as that with a version above -1 does.
fn unknown_numbers(fields: &mut Map<String, Value>) {
    let unknown = |value: &Value, most| value.as_i64().is_some_and(|n| !(0..=most).contains(&n));
    fields.retain(|name, value| {
        !(["sort_order", "sortOrder"].contains(&name.as_str()) && unknown(value, 2))
    });
    if fields.get("result").is_some_and(|result| unknown(result, 3)) {
        fields.retain(|name, _| ["key", "range_end", "rangeEnd"].contains(&name.as_str()));
        let holds = [("target", "VERSION"), ("result", "GREATER"), ("version", "-1")];
        fields.extend(holds.map(|(name, value)| (name.to_owned(), value.into())));
    }
    if let Some(Value::Array(filters)) = fields.get_mut("filters") {
        filters.retain(|filter| !unknown(filter, 1));
    }
}

fn whole(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() < 9.2e18;
    fits.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use crate::etcd::proto::{RangeRequest, TxnRequest};

    use super::*;

    fn refused<M: Message + DeserializeOwned + Default>(body: &str) -> String {
        read::<M>(body.as_bytes()).err().expect(body).message
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        assert_eq!(
            refused::<RangeRequest>(r#"{"key":"YQ==","limit":"abc"}"#),
            "proto: (line 1:28): invalid value for field limit: invalid digit found in string"
        );
        let txn = "{\"success\":[{},\n{\"request_put\":{\"key\":5}}]}";
        assert_eq!(
            refused::<TxnRequest>(txn),
            "proto: (line 2:23): invalid value for field success[1].request_put.key: invalid \
             type: integer `5`, expected a base64 string"
        );
        assert_eq!(refused::<RangeRequest>("{"), "unexpected EOF");
        let comma = refused::<RangeRequest>(r#"{"key":"YQ==",}"#);
        assert_eq!(comma, "proto: trailing comma at line 1 column 15");
    }
}
