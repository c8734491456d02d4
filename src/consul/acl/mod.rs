//! `/v1/acl`: tokens, roles and policies, and what an installation without other ways to log in
//! says of those.

mod json;
mod links;
mod policy;
mod role;
mod token;

use axum::body::Body;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::access::{Acl, AclCommand, AclError, AclRow, Denied};
use crate::cluster::OwnToken;
use crate::model::{AclId, limits};
use crate::replica::Topic;
use crate::state::{Command, Outcome, State};

use super::answer;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call, whole};
use super::decode::{self, DecodeError, Fields};
use super::error::{Failure, plain};
use super::guard::Seer;
use super::params::Options;
use super::routes::Endpoint;
use super::shared::{self, Content, Question};

/// What is asked for below `/v1/acl/`, and of the agent's own tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Bootstrap,
    Tokens,
    TokenNew,
    TokenSelf,
    Token,
    Policies,
    PolicyNew,
    PolicyNamed,
    Policy,
    Roles,
    RoleNew,
    RoleNamed,
    Role,
    AuthMethods,
    AuthMethod,
    BindingRules,
    BindingRule,
    Login,
    Logout,
    Replication,
    /// Of the ACLs that Consul had before version 1.4, and took away in 1.11.
    Legacy,
    AgentToken,
}

pub async fn answer(call: Call<'_>, path: Path, body: Body) -> Answer {
    if !call.front.cluster.snapshot().acl().enabled() {
        return Err(disabled());
    }
    match path {
        Path::Bootstrap => token::bootstrap(&call, body).await,
        Path::Tokens => token::list(&call).await,
        Path::TokenNew => token::put(&call, None, body).await,
        Path::TokenSelf => token::of_oneself(&call).await,
        Path::Token => token::one(&call, body).await,
        Path::Policies => policy::list(&call).await,
        Path::PolicyNew => policy::put(&call, None, body).await,
        Path::PolicyNamed => policy::named(&call).await,
        Path::Policy => policy::one(&call, body).await,
        Path::Roles => role::list(&call).await,
        Path::RoleNew => role::put(&call, None, body).await,
        Path::RoleNamed => role::named(&call).await,
        Path::Role => role::one(&call, body).await,
        Path::AuthMethods | Path::BindingRules => nothing(&call),
        Path::AuthMethod => auth_method(&call, body).await,
        Path::BindingRule => binding_rule(&call, body).await,
        Path::Login => login(body).await,
        // Nobody has come in by a login.
        Path::Logout => Err(Denied::Permission.into()),
        Path::Replication => Ok(answer::json(&not_replicated(), call.pretty())),
        Path::Legacy => {
            let why = "This endpoint of the legacy ACL system was removed in Consul 1.11.";
            Ok(plain(StatusCode::GONE, why))
        }
        Path::AgentToken => agent_token(&call, body).await,
    }
}

/// What all of it says while tokens do not count.
pub fn disabled() -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, AclError::Disabled.to_string())
}

/// A body that is an object, with Consul's text where it is none.
async fn fields(body: Body, kind: &'static str) -> Result<Fields, Failure> {
    let body = whole(body, limits::HTTP_BODY).await?;
    decode::object(&body, "").map_err(|error| undecoded(kind, &error))
}

fn undecoded(kind: &str, error: &DecodeError) -> Failure {
    Failure::bad(format!("Bad request: {kind} decoding failed: {error}"))
}

/// The id of something of that kind, or what Consul says of what cannot be one.
fn id(text: &str, kind: &str) -> Result<AclId, Failure> {
    let wrong = |why: &str| Failure::internal(format!("failed acl {kind} lookup: {why}"));
    if text.len() != 36 {
        return Err(wrong("index error: UUID must be 36 characters"));
    }
    let id = Uuid::try_parse(text).map_err(|_| wrong("index error: Invalid UUID"))?;
    Ok(AclId(id.as_u128()))
}

/// Of what is put: the one in the path of what is changed, which the body may repeat, or a new one.
fn id_of(path: Option<&str>, given: &str, kind: &str) -> Result<AclId, Failure> {
    let lower = kind.to_ascii_lowercase();
    match path {
        None if given.is_empty() => Ok(draw()),
        None => {
            let why = format!("Bad request: Cannot specify the ID when creating a new {lower}");
            Err(Failure::bad(why))
        }
        Some(path) if given.is_empty() || given == path => id(path, &lower),
        Some(_) => {
            Err(Failure::bad(format!("Bad request: {kind} ID in URL and payload do not match")))
        }
    }
}

/// A new number; or one of one's own.
fn draw() -> AclId {
    use rand::RngExt as _;
    let bytes = crate::lifecycle::chance::Dice.random();
    AclId(uuid::Builder::from_random_bytes(bytes).into_uuid().as_u128())
}

/// What there is of one kind, as equal questions share it. All kinds have one index.
struct Listed<F> {
    rows: F,
}

impl<F: Fn(&Acl) -> Content + Send + Sync> Question for Listed<F> {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Acl]
    }

    fn mark(&self, state: &State) -> Mark {
        mark(state)
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        Ok((self.rows)(seer.state.acl()))
    }
}

async fn listed(call: &Call<'_>, rows: impl Fn(&Acl) -> Content + Send + Sync + 'static) -> Answer {
    let options = call.options()?;
    let make = || -> Result<Box<dyn Question>, Failure> { Ok(Box::new(Listed { rows })) };
    let told = shared::read(call, Class::Keys, &options, call.key(""), make).await?;
    admit_again(call, &options).await?;
    let Some(mut response) = answer::content(&told.evaluated.content) else {
        return Err(Failure::internal("an answer of ACLs without rows"));
    };
    answer::add_freshness(response.headers_mut(), &told.freshness);
    Ok(response)
}

fn mark(state: &State) -> Mark {
    Mark { index: state.acl().switch().index, found: true }
}

async fn read(call: &Call<'_>) -> Result<View, Failure> {
    let options = call.options()?;
    let topics = || vec![Topic::Acl];
    let view = blocking::read(call.front, Class::Keys, &options, topics, mark).await?;
    if call.route.endpoint != Endpoint::Acl(Path::TokenSelf) {
        admit_again(call, &options).await?;
    }
    Ok(view)
}

/// What who waited could see when it began to wait it may not see any more.
async fn admit_again(call: &Call<'_>, options: &Options) -> Result<(), Failure> {
    match options.index {
        0 => Ok(()),
        _ => call.admit(call.route.demand(call.method)).await,
    }
}

fn shown<T: Serialize>(call: &Call<'_>, view: &View, value: &T) -> Answer {
    let mut response = answer::json(value, call.pretty());
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

/// What Consul says of what is not there, in the words for a token that is worth nothing.
fn missing(view: &View) -> Answer {
    let mut response = Failure::from(Denied::Token).into_response();
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

/// What was put, as the state has it now.
async fn change(call: &Call<'_>, command: AclCommand) -> Result<AclRow, Failure> {
    match call.propose(Command::Acl(command)).await? {
        Outcome::Acl(row) => Ok(row),
        other => Err(Failure::internal(format!("unexpected outcome {other:?}"))),
    }
}

/// Deleting what is not there is done.
async fn delete(call: &Call<'_>, command: AclCommand) -> Answer {
    call.propose(Command::Acl(command)).await?;
    Ok(answer::json(&true, call.pretty()))
}

fn nothing(call: &Call<'_>) -> Answer {
    let mut response = answer::json(&[(); 0], call.pretty());
    let standing = call.front.cluster.standing();
    let freshness = answer::Freshness {
        index: 1,
        known_leader: standing.leader.is_some(),
        last_contact: standing.last_contact,
        effective: None,
    };
    answer::add_freshness(response.headers_mut(), &freshness);
    Ok(response)
}

/// Nobody logs in by another's word here: there are none of these, and none can be made.
async fn auth_method(call: &Call<'_>, body: Body) -> Answer {
    match *call.method {
        Method::GET => Ok(answer::empty(StatusCode::NOT_FOUND)),
        Method::DELETE => Ok(answer::json(&true, call.pretty())),
        _ => {
            let mut fields = fields(body, "AuthMethod").await?;
            let name = fields.string(&["Name"]).map_err(|e| undecoded("AuthMethod", &e))?;
            Err(Failure::internal(match name.as_str() {
                "" => "Invalid Auth Method: no Name is set",
                _ => "Invalid Auth Method: no Type is supported, tokens are made by /v1/acl/token",
            }))
        }
    }
}

async fn binding_rule(call: &Call<'_>, body: Body) -> Answer {
    if *call.method == Method::PUT {
        let mut fields = fields(body, "BindingRule").await?;
        let name = fields.string(&["AuthMethod"]).map_err(|e| undecoded("BindingRule", &e))?;
        return Err(Failure::internal(match name.as_str() {
            "" => "Invalid Binding Rule: no AuthMethod is set".to_owned(),
            name => format!("Invalid Binding Rule: cannot find auth method with name {name:?}"),
        }));
    }
    id(&call.name(), "binding rule").map_err(Failure::with_index)?;
    match *call.method {
        Method::DELETE => Ok(answer::json(&true, call.pretty())),
        _ => Ok(answer::empty(StatusCode::NOT_FOUND)),
    }
}

async fn login(body: Body) -> Answer {
    let mut fields = fields(body, "Login").await?;
    fields.string(&["AuthMethod"]).map_err(|e| undecoded("Login", &e))?;
    Err(Denied::Token.into())
}

fn not_replicated() -> serde_json::Value {
    json!({
        "Enabled": false,
        "Running": false,
        "SourceDatacenter": "",
        "ReplicationType": "",
        "ReplicatedIndex": 0,
        "ReplicatedRoleIndex": 0,
        "ReplicatedTokenIndex": 0,
        "LastSuccess": "0001-01-01T00:00:00Z",
        "LastError": "0001-01-01T00:00:00Z",
    })
}

/// `agent/token/:kind`: what this agent shows where nothing is shown to it, until it ends.
async fn agent_token(call: &Call<'_>, body: Body) -> Answer {
    let kind = match &*call.name() {
        "default" | "acl_token" => OwnToken::Default,
        "dns" => OwnToken::Dns,
        "agent" | "acl_agent_token" => OwnToken::Unused("agent"),
        "agent_recovery" | "agent_master" | "acl_agent_master_token" => {
            OwnToken::Unused("agent_recovery")
        }
        "replication" | "acl_replication_token" => OwnToken::Unused("replication"),
        "config_file_service_registration" => OwnToken::Unused("config_file_service_registration"),
        other => {
            let why = format!("Token {other:?} is unknown");
            return Err(Failure::new(StatusCode::NOT_FOUND, why));
        }
    };
    let body = whole(body, limits::HTTP_BODY).await?;
    let wrong = |error: DecodeError| Failure::bad(format!("Request decode failed: {error}"));
    let mut fields = decode::object(&body, "").map_err(wrong)?;
    let token = fields.string(&["Token"]).map_err(wrong)?;
    fields.finish().map_err(wrong)?;
    if token.len() > limits::ACCESS_TOKEN {
        return Err(Failure::bad("Request decode failed: Token is too long"));
    }
    call.front.cluster.set_own_token(kind, &token);
    Ok(answer::empty(StatusCode::OK))
}
