//! The tokens that this agent has for itself and for who shows none. They leave it only as tokens
//! that are shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Caller;

use super::{Cluster, logins};

/// What a token of the agent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnToken {
    /// For requests that show none.
    Default,
    /// For questions to DNS; without one, the default.
    Dns,
    /// Taken because clients set it, and without a use here: an agent speaks for itself with its
    /// certificate.
    Unused(&'static str),
}

#[derive(Clone, Default)]
pub struct OwnTokens(Arc<Mutex<BTreeMap<OwnToken, Arc<str>>>>);

impl fmt::Debug for OwnTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTokens(redacted)")
    }
}

impl OwnTokens {
    pub fn get(&self, kind: OwnToken) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
    }

    /// Until the agent ends; an empty one is none.
    pub fn set(&self, kind: OwnToken, token: &str) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match token {
            "" => tokens.remove(&kind),
            token => tokens.insert(kind, token.into()),
        };
    }
}

impl Cluster {
    pub fn own_token(&self, kind: OwnToken) -> Option<Arc<str>> {
        match kind {
            OwnToken::Dns => self.own.get(kind).or_else(|| self.own.get(OwnToken::Default)),
            kind => self.own.get(kind),
        }
    }

    /// Who speaks with that token: nobody where there is none.
    pub fn speaker(&self, kind: OwnToken) -> Caller {
        self.own_token(kind).map_or(Caller::Nobody, |token| logins::holder(&token))
    }

    pub fn set_own_token(&self, kind: OwnToken, token: &str) {
        self.own.set(kind, token);
    }
}
