//! What somebody is shown of the catalog, kept for as long as tokens and policies stay as they are.

use std::fmt;

use crate::model::{AclId, Index};

use super::grants::Grants;
use super::rule::{Level, Resource};
use super::verdict::{Caller, Gate};

/// What a sight follows from. While that stays, so does the sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Basis {
    /// Tokens do not count, and users know nothing of the catalog.
    #[default]
    Open,
    /// What is shown is worth nothing.
    Worthless,
    /// By a token, or without any, since that change of tokens and policies.
    Token(Option<AclId>, Index),
}

/// What one caller is shown of nodes and services.
#[derive(Clone, Default)]
pub struct Sight {
    basis: Basis,
    /// None: everything, or where the token is worth nothing, nothing.
    grants: Option<Grants>,
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sight({:?})", self.basis)
    }
}

impl Sight {
    /// Of everything.
    pub fn is_open(&self) -> bool {
        self.basis == Basis::Open
    }

    pub fn service(&self, name: &str) -> bool {
        self.sees(Resource::Service, name)
    }

    pub fn node(&self, name: &str) -> bool {
        self.sees(Resource::Node, name)
    }

    pub fn query(&self, name: &str) -> bool {
        self.sees(Resource::Query, name)
    }

    fn sees(&self, resource: Resource, name: &str) -> bool {
        match &self.grants {
            Some(grants) => grants.allows(resource, name.as_bytes(), Level::Read),
            None => self.is_open(),
        }
    }
}

impl Gate<'_> {
    /// What a caller is shown of the catalog; none where `known` still says it.
    pub fn sight(&self, caller: &Caller, known: &Sight) -> Option<Sight> {
        let token = match caller {
            Caller::Holder(digest) => self.acl.held(digest, self.now),
            _ => None,
        };
        let index = self.acl.switch().index;
        let basis = match (caller, token) {
            _ if !self.acl.enabled() => Basis::Open,
            (_, Some(token)) => Basis::Token(Some(token.accessor), index),
            (Caller::Nobody, None) => Basis::Token(None, index),
            _ => Basis::Worthless,
        };
        if basis == known.basis {
            return None;
        }
        let by_token = matches!(basis, Basis::Token(..));
        let grants = || self.acl.grants(token.map(|token| &**token), self.accounts.enabled());
        Some(Sight { basis, grants: by_token.then(grants) })
    }
}
