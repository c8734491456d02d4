//! Tokens: made, shown, copied, changed, deleted; and the first one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::Method;

use crate::access::{
    ANONYMOUS, ANONYMOUS_SECRET, AclCommand, AclRow, AclToken, AclTokenPut, Level, Links, Need,
    Resource, SecretId,
};
use crate::consul::answer;
use crate::consul::call::{Answer, Call, whole};
use crate::consul::decode::{self, DecodeError, Fields};
use crate::consul::duration;
use crate::consul::error::Failure;
use crate::consul::shared::Content;
use crate::model::{AclId, limits};
use crate::state::{Outcome, State};

use super::json::{Bootstrapped, Expanded, TokenJson};
use super::{change, delete, draw, fields, id, links, listed, missing, read, shown, undecoded};

const KIND: &str = "Token";
/// In the place of a secret that is not for who asks.
const HIDDEN: &str = "<hidden>";

/// What a body says of a token.
struct Wanted {
    accessor: String,
    secret: String,
    description: Option<String>,
    links: Links,
    roles: Vec<AclId>,
    local: bool,
    ttl: Option<Duration>,
}

pub(super) async fn list(call: &Call<'_>) -> Answer {
    let asked =
        |name: &str| call.params.get(name).filter(|asked| !asked.is_empty()).map(str::to_owned);
    let (policy, role) = (asked("policy"), asked("role"));
    let (service, method) = (asked("servicename"), asked("authmethod"));
    let pretty = call.pretty();
    listed(call, move |acl| {
        let is = |id: &AclId, asked: &String| id.to_string() == *asked;
        let rows = acl.tokens().filter(|token| {
            let AclToken { links, roles, .. } = &***token;
            let serves = |asked: &String| links.services.iter().any(|known| *known.name == **asked);
            policy.as_ref().is_none_or(|asked| links.policies.iter().any(|id| is(id, asked)))
                && role.as_ref().is_none_or(|asked| roles.iter().any(|id| is(id, asked)))
                && service.as_ref().is_none_or(serves)
                && method.is_none()
        });
        let rows: Vec<_> = rows.map(|token| TokenJson::new(acl, token, None)).collect();
        Content::json(&rows, pretty)
    })
    .await
}

/// The token that was shown, for whoever shows it.
pub(super) async fn of_oneself(call: &Call<'_>) -> Answer {
    let view = read(call).await?;
    let own = call.rights(&view.state).ok().and_then(|rights| rights.token());
    let Some(token) = own.and_then(|id| view.state.acl().token(id)) else {
        return missing(&view);
    };
    let secret = call.secret.clone().unwrap_or_else(|| HIDDEN.to_owned());
    shown(call, &view, &TokenJson::new(view.state.acl(), token, Some(secret)))
}

pub(super) async fn one(call: &Call<'_>, body: Body) -> Answer {
    let name = call.required("Bad request: Missing token ID")?;
    if let Some(original) = name.strip_suffix("/clone") {
        return clone(call, original, body).await;
    }
    match *call.method {
        Method::PUT => put(call, Some(&name), body).await,
        Method::DELETE => {
            let id = id(&name, "token")?;
            let state = call.front.cluster.snapshot();
            if call.rights(&state)?.token() == Some(id) {
                let why = "Deletion of the request's authorization token is not permitted";
                return Err(Failure::internal(why));
            }
            delete(call, AclCommand::TokenDelete(id)).await
        }
        _ => get(call, id(&name, "token").map_err(Failure::with_index)?).await,
    }
}

async fn get(call: &Call<'_>, id: AclId) -> Answer {
    let view = read(call).await?;
    let acl = view.state.acl();
    let Some(token) = acl.token(id) else {
        return missing(&view);
    };
    let json = TokenJson::new(acl, token, Some(secret(call, &view.state, id).await));
    if !call.params.has("expanded") {
        return shown(call, &view, &json);
    }
    let agent = call.front.cluster.name().as_str();
    shown(call, &view, &Expanded::new(acl, token, json, agent))
}

/// For who may make tokens: others could take them on.
async fn secret(call: &Call<'_>, state: &State, id: AclId) -> String {
    let may = state.judge(&call.asker.caller, Need::Rule(Resource::Acl, "", Level::Write));
    if id == ANONYMOUS {
        return ANONYMOUS_SECRET.to_owned();
    }
    let secret = match may {
        Ok(()) => call.front.cluster.reveal(&call.asker, id).await,
        Err(_) => None,
    };
    secret.map_or_else(|| HIDDEN.to_owned(), |secret| secret.to_string())
}

/// `path`: the accessor in it, of one that is changed.
pub(super) async fn put(call: &Call<'_>, path: Option<&str>, body: Body) -> Answer {
    let state = call.front.cluster.snapshot();
    let wanted = wanted(call, &state, fields(body, KIND).await?)?;
    let accessor = match path {
        None if wanted.accessor.is_empty() => draw(),
        None => id(&wanted.accessor, "token").map_err(|failure| {
            Failure::internal(format!("Failed acl token lookup by accessor: {}", failure.text))
        })?,
        Some(path) if wanted.accessor.is_empty() || wanted.accessor == path => id(path, "token")?,
        Some(_) => {
            let why = "Bad request: Token Accessor ID in URL and payload do not match";
            return Err(Failure::bad(why));
        }
    };
    let secret = match path {
        None => Some(own_secret(&wanted.secret)?),
        Some(_) => None,
    };
    let put = AclTokenPut {
        accessor,
        secret: secret.clone().map(SecretId::Open),
        description: wanted.description.unwrap_or_default(),
        links: wanted.links,
        roles: wanted.roles,
        local: wanted.local,
        created: now(),
        ttl: wanted.ttl,
    };
    respond(call, AclCommand::TokenPut(put), secret).await
}

async fn clone(call: &Call<'_>, original: &str, body: Body) -> Answer {
    let state = call.front.cluster.snapshot();
    let wanted = wanted(call, &state, fields(body, KIND).await?)?;
    let original = id(original, "token")?;
    let Some(token) = state.acl().token(original) else {
        return Err(Failure::internal(format!("Cannot find token \"{original}\"")));
    };
    if original == ANONYMOUS {
        return Err(Failure::internal("Cannot clone the anonymous token"));
    }
    let secret = own_secret("")?;
    let put = AclTokenPut {
        accessor: draw(),
        secret: Some(SecretId::Open(secret.clone())),
        description: wanted.description.unwrap_or_else(|| token.description.clone()),
        links: token.links.clone(),
        roles: token.roles.clone(),
        local: token.local,
        created: now(),
        ttl: token.ttl,
    };
    respond(call, AclCommand::TokenPut(put), Some(secret)).await
}

/// The first token is for who asks first; that is why it is to be asked for at once.
pub(super) async fn bootstrap(call: &Call<'_>, body: Body) -> Answer {
    let body = whole(body, limits::HTTP_BODY).await?;
    let wrong = |error: DecodeError| undecoded("Bootstrap", &error);
    let given = match body.is_empty() {
        true => String::new(),
        false => {
            let mut fields = decode::object(&body, "").map_err(wrong)?;
            let given = fields.string(&["BootstrapSecret"]).map_err(wrong)?;
            fields.finish().map_err(wrong)?;
            given
        }
    };
    let secret = own_secret(&given)?;
    let put = AclTokenPut {
        description: "Bootstrap Token (Global Management)".to_owned(),
        created: now(),
        ..AclTokenPut::new(draw(), Some(SecretId::Open(secret.clone())))
    };
    let token = match call.front.cluster.bootstrap(&call.asker, put).await? {
        Outcome::Acl(AclRow::Token(token)) => token,
        Outcome::Refused(refusal) => return Err(refusal.into()),
        other => return Err(Failure::internal(format!("unexpected outcome {other:?}"))),
    };
    tracing::warn!("the first token was made: it may do everything");
    let state = call.front.cluster.snapshot();
    let token = TokenJson::new(state.acl(), &token, Some(secret.to_string()));
    Ok(answer::json(&Bootstrapped { id: secret.to_string(), token }, call.pretty()))
}

async fn respond(call: &Call<'_>, command: AclCommand, known: Option<Arc<str>>) -> Answer {
    let AclRow::Token(token) = change(call, command).await? else {
        return Err(Failure::internal("a token became something else"));
    };
    let state = call.front.cluster.snapshot();
    let shown = match known {
        Some(known) => known.to_string(),
        None => secret(call, &state, token.accessor).await,
    };
    Ok(answer::json(&TokenJson::new(state.acl(), &token, Some(shown)), call.pretty()))
}

/// A secret of one's own has the form of those that are drawn.
fn own_secret(given: &str) -> Result<Arc<str>, Failure> {
    match given {
        "" => Ok(draw().to_string().into()),
        given if given.len() == 36 && uuid::Uuid::try_parse(given).is_ok() => Ok(given.into()),
        _ => Err(Failure::bad("Bad request: Invalid Token: SecretID is not a valid UUID")),
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn wanted(call: &Call<'_>, state: &State, mut fields: Fields) -> Result<Wanted, Failure> {
    let wrong = |error: DecodeError| undecoded(KIND, &error);
    let accessor = fields.string(&["AccessorID"]).map_err(wrong)?;
    let secret = fields.string(&["SecretID"]).map_err(wrong)?;
    let description = fields.string_if_given(&["Description"]).map_err(wrong)?;
    let local = fields.boolean(&["Local"]).map_err(wrong)?;
    let ttl = fields.nanoseconds(&["ExpirationTTL"]).map_err(wrong)?;
    let time = fields.string(&["ExpirationTime"]).map_err(wrong)?;
    let links = links::take(&mut fields, call, state.acl(), KIND)?;
    let roles = links::roles(&mut fields, state.acl())?;
    fields.skip(&["CreateTime", "Hash", "CreateIndex", "ModifyIndex", "AuthMethod"]);
    fields.finish().map_err(wrong)?;
    let ttl = lives(ttl, &time)?;
    Ok(Wanted { accessor, secret, description, links, roles, local, ttl })
}

/// For how long a token is asked to live, by a span or by a date.
fn lives(ttl: i64, time: &str) -> Result<Option<Duration>, Failure> {
    let ttl = match (ttl, time) {
        (0, "") => return Ok(None),
        (0, time) => {
            let wrong = |_| {
                let why = format!("Token decoding failed: parsing time {time:?} as a date");
                Failure::bad(format!("Bad request: {why}"))
            };
            let at = humantime::parse_rfc3339_weak(time).map_err(wrong)?;
            at.duration_since(SystemTime::now()).unwrap_or_default()
        }
        (ttl, "") => duration::positive(ttl).unwrap_or_default(),
        _ => {
            let why = "Expiration TTL and Expiration Time cannot both be set";
            return Err(Failure::internal(why));
        }
    };
    let (least, most) = limits::ACL_TTL;
    let bound = |word: &str, bound: Duration| {
        let (bound, was) = (duration::format(bound), duration::format(ttl));
        let why = format!("ExpirationTime cannot be {word} than {bound} in the future (was {was})");
        Failure::internal(why)
    };
    match ttl {
        ttl if ttl < least => Err(bound("less", least)),
        ttl if ttl > most => Err(bound("more", most)),
        ttl => Ok(Some(ttl)),
    }
}
