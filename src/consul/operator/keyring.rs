//! `/v1/operator/keyring`: there is no gossip to encrypt, so there are no keys to list or change.

use std::fmt::Write as _;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use crate::consul::call::{Answer, Call, whole};
use crate::consul::decode::{self, DecodeError};
use crate::consul::error::Failure;
use crate::model::limits;

pub(super) async fn answer(call: &Call<'_>, body: Body) -> Answer {
    let bad = |why: String| Failure::bad(format!("Bad request: {why}"));
    if let Some(factor) = call.params.get("relay-factor").filter(|factor| !factor.is_empty()) {
        match factor.parse::<i64>() {
            Ok(0..=5) => {}
            Ok(_) => {
                let why = "Invalid relay-factor: Relay factor must be in range: [0, 5]";
                return Err(bad(why.to_owned()));
            }
            Err(_) => {
                let why = format!("strconv.Atoi: parsing {factor:?}: invalid syntax");
                return Err(bad(format!("Error parsing relay factor: {why}")));
            }
        }
    }
    let (node, datacenter) = (call.front.cluster.name(), &call.front.config.datacenter);
    if *call.method == Method::GET {
        let local = call.params.get("local-only").is_some_and(|value| value != "false");
        let why = "Keyring is empty (encryption not enabled)";
        return Err(failed(node.as_str(), datacenter, why, local));
    }
    let body = whole(body, limits::HTTP_BODY).await?;
    let undecodable = |error: DecodeError| bad(format!("Request decode failed: {error}"));
    let mut fields = decode::object(&body, "").map_err(undecodable)?;
    let key = fields.string(&["Key"]).map_err(undecodable)?;
    match STANDARD.decode(&key) {
        Ok(_) => {
            let why = "No keyring to modify (encryption not enabled)";
            Err(failed(node.as_str(), datacenter, why, false))
        }
        Err(_) => Err(Failure::internal(format!(
            "2 errors occurred:\n\t* WAN error: illegal base64 data at input byte 0\n\t* \
             {datacenter} (LAN) error: illegal base64 data at input byte 0\n\n"
        ))),
    }
}

/// In the words of an agent that gossips with one other pool and encrypts neither.
fn failed(node: &str, datacenter: &str, why: &str, local: bool) -> Failure {
    let mut text = format!("{} errors occurred:\n", if local { 2 } else { 4 });
    if !local {
        _ = write!(
            text,
            "\t* WAN error: 1/1 nodes reported failure\n\t* {node}.{datacenter}: {why}\n"
        );
    }
    _ = write!(
        text,
        "\t* {datacenter} (LAN) error: 1/1 nodes reported failure\n\t* {node}: {why}\n\n"
    );
    Failure::internal(text)
}
