//! Filters beside the engine's own: JSON and base64, in and out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, Error, ErrorKind, Value};

pub(super) fn install(engine: &mut Environment<'static>) {
    engine.add_filter("from_json", from_json);
    engine.add_filter("to_json", to_json);
    engine.add_filter("b64encode", b64encode);
    engine.add_filter("b64decode", b64decode);
}

fn fail(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// Text of JSON as a value.
fn from_json(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| fail(format!("from_json: {error}")))
}

/// Compact JSON as it is, where the engine's `tojson` also escapes what HTML would trip over.
fn to_json(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| fail(format!("to_json: {error}")))
}

fn b64encode(text: &str) -> String {
    STANDARD.encode(text)
}

fn b64decode(text: &str) -> Result<String, Error> {
    let bytes =
        STANDARD.decode(text.trim()).map_err(|error| fail(format!("b64decode: {error}")))?;
    String::from_utf8(bytes).map_err(|_| fail("b64decode: the bytes are not UTF-8".to_owned()))
}
