//! Lets a request in as its route demands, and shows of what it asks for what may be seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::access::{Area, Caller, Demand, Denied, Level, Need, Of, Resource, Rights};
use crate::cluster::{Asker, Consistency, Credential, OwnToken};
use crate::model::{CheckDef, Folded, Health, Source};
use crate::net::http::token;
use crate::presence::PresenceError;
use crate::state::{
    CatalogOp, CheckKey, CheckRow, InstanceRow, Key, KeyRange, KeyRow, SessionRow, State,
};

use super::call::Call;
use super::error::Failure;
use super::params::Params;
use super::{Front, acl};

const DEFAULT_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
const FILTERED: HeaderName = HeaderName::from_static("x-consul-results-filtered-by-acls");

/// Who asks, and what has to be said of what it was not shown.
pub struct Visitor {
    pub asker: Asker,
    /// What it is known by.
    pub secret: Option<String>,
    /// It has shown a token of its own.
    shown: bool,
}

/// Who asks, by what it shows or by what this agent has for those who show nothing.
pub async fn visitor(
    front: &Front,
    demand: Demand,
    params: &Params<'_>,
    headers: &HeaderMap,
) -> Result<Visitor, Failure> {
    if demand == Demand::Open {
        return Ok(Visitor { asker: Asker::nobody(), secret: None, shown: false });
    }
    let credential = shown(params, headers);
    let shown = credential.is_some();
    let own = || front.cluster.own_token(OwnToken::Default);
    let credential: Option<Arc<str>> = credential.map(Into::into).or_else(own);
    let secret = credential.as_deref().map(str::to_owned);
    let credential = credential.map_or(Credential::Nothing, Credential::Token);
    Ok(Visitor { asker: front.cluster.asker(&credential).await?, secret, shown })
}

/// The token of a request: a parameter comes before headers.
pub fn shown<'a>(params: &'a Params<'_>, headers: &'a HeaderMap) -> Option<&'a str> {
    params.get("token").filter(|shown| !shown.is_empty()).or_else(|| token(headers))
}

impl Visitor {
    /// Who shows a token is told that it would see more with another.
    pub fn note(&self, hidden: &AtomicBool, response: &mut Response<Body>) {
        if self.shown && hidden.load(Ordering::Relaxed) {
            response.headers_mut().insert(FILTERED, HeaderValue::from_static("true"));
        }
    }
}

/// What every answer says. While tokens do not count, everything is allowed.
pub fn note_default(front: &Front, response: &mut Response<Body>) {
    let switch = front.cluster.snapshot().acl().switch();
    let word = if switch.enabled { switch.default.word() } else { "allow" };
    response.headers_mut().insert(DEFAULT_POLICY, HeaderValue::from_static(word));
}

impl Call<'_> {
    /// Whether who asks may come in at all. What depends on what is sent, or found, is judged
    /// where that is read.
    pub async fn admit(&self, demand: Demand) -> Result<(), Failure> {
        let state = self.front.cluster.snapshot();
        // Said before anybody is asked who it is.
        if matches!(demand, Demand::Takes(Resource::Acl, ..)) && !state.acl().enabled() {
            return Err(acl::disabled());
        }
        if matches!(demand, Demand::Open) || !state.is_guarded() {
            return Ok(());
        }
        let state = self.front.cluster.read(Consistency::Local).await?;
        let rights = self.rights(&state)?;
        match demand {
            Demand::Open | Demand::Known | Demand::Takes(_, _, Of::Message) => {}
            // Users close their area as a whole.
            Demand::Rows(resource) => {
                if Area::of(resource, Level::Read) == Area::Keys {
                    state.rights(&self.asker.caller)?;
                }
            }
            Demand::Takes(resource, level, Of::Agent) => {
                rights.may(Need::Rule(resource, self.front.cluster.name().as_str(), level))?;
            }
            Demand::Takes(Resource::Keyring, level, Of::Path) => {
                let denied = |denied| match denied {
                    Denied::Token => Failure::from(denied),
                    _ => Failure::internal("Reading keyring denied by ACLs"),
                };
                rights.may(Need::Rule(Resource::Keyring, "", level)).map_err(denied)?;
            }
            Demand::Takes(resource, level, Of::Path) => {
                let name = if resource.is_whole() { "".into() } else { self.name() };
                rights.may(Need::Rule(resource, &name, level))?;
            }
            Demand::Management => rights.may(Need::Root)?,
        }
        Ok(())
    }

    /// What who asks may do, as this state knows it.
    pub fn rights<'a>(&'a self, state: &'a State) -> Result<Rights<'a>, Failure> {
        Ok(state.standing(&self.asker.caller)?)
    }

    /// Shows what may be seen of this state, and remembers whether anything may not.
    pub fn seer<'a>(&'a self, state: &'a State) -> Result<Seer<'a>, Failure> {
        Seer::new(state, &self.asker.caller, &self.hidden)
    }

    /// Remembers whether something was not shown.
    pub fn hide(&self, hidden: bool) {
        self.hidden.fetch_or(hidden, Ordering::Relaxed);
    }

    /// Whether who asks may have this agent change its part of the catalog so.
    pub fn may_change(&self, ops: &[CatalogOp]) -> Result<(), Failure> {
        let state = self.front.cluster.snapshot();
        Ok(state.permits_catalog(&self.rights(&state)?, ops)?)
    }

    /// Whether it may have this agent run a check, or be in maintenance.
    pub fn may_check(&self, def: &CheckDef) -> Result<(), Failure> {
        let (node, def, source) = (self.node(), def.clone(), Source::Api);
        let (status, output) = (Health::Critical, String::new());
        self.may_change(&[CatalogOp::PutCheck { node, def, status, output, source }])
    }

    /// Whether it may speak for a check of this agent. To who may not do everything, one that the
    /// catalog does not have is none.
    pub fn may_report(&self, id: &str) -> Result<(), Failure> {
        let state = self.front.cluster.snapshot();
        let rights = self.rights(&state)?;
        let key = CheckKey::new(&self.node(), id);
        match state.check(&key.node, id) {
            None if rights.are_all() => Ok(()),
            None => Err(PresenceError::UnknownCheck(id.to_owned()).into()),
            Some(_) => Ok(state.permits_check(&rights, &key)?),
        }
    }

    /// Whether it may take an instance of this agent away; of one that is not there: nobody's.
    pub fn may_remove(&self, id: &str) -> Result<(), Failure> {
        let node = self.node();
        match self.front.cluster.snapshot().instance(&node, id) {
            None => Ok(()),
            Some(_) => self.may_change(&[CatalogOp::RemoveInstance { node, id: id.into() }]),
        }
    }

    pub fn node(&self) -> Folded {
        self.front.cluster.name().folded()
    }
}

/// What one caller is shown.
pub struct Seer<'a> {
    pub state: &'a State,
    rights: Rights<'a>,
    hidden: &'a AtomicBool,
}

impl<'a> Seer<'a> {
    /// An error: what the caller shows is worth nothing.
    pub fn new(
        state: &'a State,
        caller: &'a Caller,
        hidden: &'a AtomicBool,
    ) -> Result<Seer<'a>, Failure> {
        Ok(Seer { state, rights: state.standing(caller)?, hidden })
    }

    pub fn may(&self, need: Need<'_>) -> Result<(), Failure> {
        Ok(self.rights.may(need)?)
    }

    /// A user has to be one who may read all of it; who goes by rules is shown what it may read.
    pub fn may_list(&self, range: &KeyRange) -> Result<(), Failure> {
        match self.rights.goes_by_rules() {
            true => Ok(()),
            false => self.may(Need::Read(range)),
        }
    }

    /// Whether who asks manages the cluster, and is shown what is hidden from others.
    pub fn manages(&self) -> bool {
        self.rights.may(Need::Root).is_ok()
    }

    fn note(&self, seen: bool) -> bool {
        if !seen {
            self.hidden.store(true, Ordering::Relaxed);
        }
        seen
    }

    pub fn named(&self, resource: Resource, name: &str) -> bool {
        self.note(self.rights.sees(resource, name))
    }

    pub fn service(&self, name: &str) -> bool {
        self.named(Resource::Service, name)
    }

    pub fn node(&self, name: &str) -> bool {
        self.named(Resource::Node, name)
    }

    pub fn instance(&self, row: &InstanceRow) -> bool {
        self.note(self.state.shows_instance(&self.rights, row))
    }

    pub fn check(&self, row: &CheckRow) -> bool {
        self.note(self.state.shows_check(&self.rights, row))
    }

    pub fn session(&self, row: &SessionRow) -> bool {
        self.named(Resource::Session, &row.def.node)
    }

    pub fn keys_with_prefix<'s>(
        &'s self,
        prefix: &'s [u8],
    ) -> impl Iterator<Item = (&'s Key, &'s Arc<KeyRow>)> {
        let keys = self.state.keys_with_prefix(prefix);
        keys.filter(|(key, _)| self.note(self.rights.sees_key(key)))
    }
}
