//! One service, key or prefix that a stream is about, and what was told of it last.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::Caller;
use crate::consul::call::Call;
use crate::consul::error::Failure;
use crate::consul::filter::Filter;
use crate::consul::health;
use crate::consul::instances::Wanted;
use crate::consul::kv::{Keys, OneKey};
use crate::consul::params::Params;
use crate::consul::routes;
use crate::consul::shared::{Evaluated, Key, Question, Slot};
use crate::model::limits;
use crate::state::{KeyRange, State};

use super::place::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Service,
    Key,
    Prefix,
}

impl Kind {
    fn of(parameter: &str) -> Option<Kind> {
        match parameter {
            "service" => Some(Kind::Service),
            "key" => Some(Kind::Key),
            "prefix" => Some(Kind::Prefix),
            _ => None,
        }
    }

    /// The name of its events.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Key => "key",
            Kind::Prefix => "prefix",
        }
    }
}

pub struct Subject {
    pub kind: Kind,
    pub name: String,
    /// The same question as a blocking query's.
    pub slot: Arc<Slot>,
    /// The last change that was looked at; none: nothing was.
    seen: Option<u64>,
    /// Of what was told last.
    told: Option<u64>,
}

/// Everything that a request names.
pub fn all(call: &Call<'_>) -> Result<Vec<Subject>, Failure> {
    let mut subjects: Vec<Subject> = Vec::new();
    for (parameter, name) in call.params.iter() {
        let Some(kind) = Kind::of(parameter) else { continue };
        if name.is_empty() && kind != Kind::Prefix {
            return Err(Failure::bad(format!("Missing {} name", kind.word())));
        }
        if subjects.iter().any(|known| known.kind == kind && known.name == **name) {
            continue;
        }
        if subjects.len() == limits::STREAM_SUBJECTS {
            let most = limits::STREAM_SUBJECTS;
            return Err(Failure::bad(format!(
                "One stream is about {most} services, keys and prefixes at most"
            )));
        }
        subjects.push(subject(call, kind, name)?);
    }
    match subjects.is_empty() {
        true => Err(Failure::bad("Missing what to watch: ?service=, ?key= or ?prefix=")),
        false => Ok(subjects),
    }
}

fn subject(call: &Call<'_>, kind: Kind, name: &str) -> Result<Subject, Failure> {
    let slot = call
        .front
        .shelf
        .slot(key(kind, name, &call.asker.caller), || Ok(question(call, kind, name.to_owned())))?;
    Ok(Subject { kind, name: name.to_owned(), slot, seen: None, told: None })
}

/// As who asks for it once has it.
fn key(kind: Kind, name: &str, caller: &Caller) -> Key {
    let (path, query) = match kind {
        Kind::Service => (routes::HEALTH_SERVICE, None),
        Kind::Key => (routes::KV, None),
        Kind::Prefix => (routes::KV, Some("recurse")),
    };
    let params = Params::parse(query).unwrap_or_default();
    Key::new(path, name.as_bytes(), "", &params, caller)
}

fn question(call: &Call<'_>, kind: Kind, name: String) -> Box<dyn Question> {
    let bytes = Bytes::from(name.clone());
    match kind {
        Kind::Service => {
            let wanted = Wanted::all(name, call.front.config.datacenter.clone());
            Box::new(health::OfService { wanted, passing: false, filter: Filter::default() })
        }
        Kind::Key => {
            let range = KeyRange::one(bytes.clone());
            Box::new(OneKey { key: bytes, range, raw: false, pretty: false })
        }
        Kind::Prefix => {
            let range = KeyRange::prefix(&bytes);
            Box::new(Keys { prefix: bytes, range, separator: None, pretty: false })
        }
    }
}

impl Subject {
    /// What the client has heard before is not told again.
    pub fn begin(&mut self, heard: Option<Place>, state: &State) {
        let heard = heard.filter(|heard| heard.counts_in(state));
        self.seen = heard.map(|heard| match self.kind {
            Kind::Service => heard.index,
            // An index alone says nothing of keys.
            Kind::Key | Kind::Prefix => u64::try_from(heard.revision).unwrap_or_default(),
        });
    }

    /// Whether it may have changed since it was looked at. `keys`: some key has.
    pub fn is_due(&self, state: &State, keys: bool) -> bool {
        match (self.seen, self.kind) {
            (None, _) => true,
            (Some(_), Kind::Key | Kind::Prefix) if !keys => false,
            (Some(seen), _) => self.changed(state) > seen,
        }
    }

    fn changed(&self, state: &State) -> u64 {
        let revision = match self.kind {
            Kind::Service => return state.service_health_index(&self.name),
            Kind::Key => state.key_changed(self.name.as_bytes()),
            Kind::Prefix => state.prefix_changed(self.name.as_bytes()),
        };
        u64::try_from(revision).unwrap_or_default()
    }

    /// Everything was restored: nothing that was told counts any more.
    pub fn begin_anew(&mut self) {
        self.seen = None;
    }

    /// Notes what is about to be told, of a state no older than this one; false: it was told
    /// already.
    pub fn is_news(&mut self, evaluated: &Evaluated, state: &State) -> bool {
        let seen = self.seen.unwrap_or_default();
        self.seen = Some(self.changed(state).max(seen));
        self.told.replace(evaluated.digest()) != Some(evaluated.digest())
    }
}
