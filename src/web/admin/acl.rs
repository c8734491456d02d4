//! Whether tokens count, in the whole cluster: shown and switched.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};

use crate::access::{AclCommand, DefaultPolicy};
use crate::cluster::Consistency;
use crate::state::Command;
use crate::web::Parts;

use super::{Denial, parse, respond};

#[derive(Serialize)]
struct Shown {
    enabled: bool,
    /// What counts where no rule fits: `deny` or `allow`.
    default_policy: &'static str,
    /// Whether the first token has been made.
    bootstrapped: bool,
    tokens: usize,
    policies: usize,
    roles: usize,
}

pub(super) async fn show(State(parts): State<Arc<Parts>>) -> Response<Body> {
    respond(&parts, shown(&parts).await)
}

async fn shown(parts: &Parts) -> Result<Shown, Denial> {
    let state = parts.cluster.read(Consistency::Local).await?;
    let acl = state.acl();
    let switch = acl.switch();
    Ok(Shown {
        enabled: switch.enabled,
        default_policy: switch.default.word(),
        bootstrapped: switch.bootstrapped != 0,
        tokens: acl.tokens().count(),
        policies: acl.policies().count(),
        roles: acl.roles().count(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    enabled: bool,
    #[serde(default)]
    default_policy: DefaultWord,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DefaultWord {
    #[default]
    Deny,
    Allow,
}

pub(super) async fn switch(State(parts): State<Arc<Parts>>, body: Bytes) -> Response<Body> {
    let done = async {
        let wanted: Wanted = parse(&body)?;
        let default = match wanted.default_policy {
            DefaultWord::Deny => DefaultPolicy::Deny,
            DefaultWord::Allow => DefaultPolicy::Allow,
        };
        // For people to see, and never compared.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let command = match wanted.enabled {
            true => AclCommand::Enable { default, created },
            false => AclCommand::Disable,
        };
        parts.cluster.decide(Command::Acl(command)).await?;
        tracing::warn!(enabled = wanted.enabled, "whether tokens count was switched");
        shown(&parts).await
    };
    respond(&parts, done.await)
}
