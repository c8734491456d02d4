//! Answers that the transcripts hold in short are shortened the same way.

use serde_json::Value;

use super::transcript::Block;

/// A line of an answer as the recorder would have written it into that block.
pub fn shorten(block: &Block, line: &str) -> String {
    let marked = |mark: &str| block.answer.iter().any(|line| line.contains(mark));
    let Ok(mut value) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let before = value.clone();
    if block.answer == ["<lock>"] && value["key"].is_string() {
        return "<lock>".to_owned();
    }
    if marked("<remaining>") {
        remaining(&mut value);
    }
    if marked("<number of responses>") {
        first_response(&mut value);
    }
    if marked("<number of events>") {
        number_of_events(&mut value);
    }
    if marked(" base64 characters>") {
        long_bytes(&mut value);
    }
    if value == before { line.to_owned() } else { value.to_string() }
}

/// What is left of a lease is more than nothing, and no more than was granted.
fn remaining(value: &mut Value) {
    let number = |name: &str| value[name].as_str().and_then(|n| n.parse::<i64>().ok());
    if let (Some(left), Some(granted)) = (number("TTL"), number("grantedTTL"))
        && (granted - 30..=granted).contains(&left)
    {
        value["TTL"] = "<remaining>".into();
    }
}

fn first_response(value: &mut Value) {
    fn cut(txn: &mut Value) -> usize {
        let Some(responses) = txn["responses"].as_array_mut() else { return 0 };
        if responses.first().is_some_and(|first| first.get("response_txn").is_some()) {
            return cut(&mut responses[0]["response_txn"]);
        }
        let count = responses.len();
        responses.truncate(1);
        count
    }
    let count = cut(value);
    if count > 0 {
        value["<number of responses>"] = count.into();
    }
}

fn number_of_events(value: &mut Value) {
    let Some(result) = value["result"].as_object_mut() else { return };
    let events = result.remove("events");
    let count = events.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    result.insert("<number of events>".to_owned(), count.into());
}

fn long_bytes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let long = |text: &str| name == "blob" || (name == "value" && text.len() >= 60);
                match value.as_str().filter(|text| long(text)) {
                    Some(text) => *value = format!("<{} base64 characters>", text.len()).into(),
                    None => long_bytes(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(long_bytes),
        _ => {}
    }
}
