//! Names of nodes and services: what is accepted, and how they compare.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::limits;

/// Why a name is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {what} must not be empty")]
    Empty { what: &'static str },
    #[error("a {what} has at most {max} bytes, this one has {len}")]
    TooLong { what: &'static str, len: usize, max: usize },
    #[error("{name:?} is no {what}: {bad:?} is not allowed, only letters, digits, '-', '_', '.'")]
    BadChar { what: &'static str, name: String, bad: char },
}

/// A name in the form in which names compare: lower case. Stored rows keep the case they came in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Folded(Arc<str>);

impl Folded {
    /// The name in lower case.
    pub fn new(name: &str) -> Folded {
        Folded(fold(name).into())
    }

    /// The same; a name that is in lower case already is shared, not copied.
    pub fn of(name: &Arc<str>) -> Folded {
        if name.chars().any(char::is_uppercase) { Folded::new(name) } else { Folded(name.clone()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name in lower case, as a `Folded` borrows it: what is looked up need not be owned.
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) { name.to_lowercase().into() } else { name.into() }
}

impl Borrow<str> for Folded {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an agent's node: what DNS and a file name can carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Letters, digits, `-`, `_` and `.`, up to `limits::NODE_NAME` bytes.
    pub fn new(name: &str) -> Result<NodeName, NameError> {
        const WHAT: &str = "node name";
        if name.is_empty() {
            return Err(NameError::Empty { what: WHAT });
        }
        if name.len() > limits::NODE_NAME {
            let (len, max) = (name.len(), limits::NODE_NAME);
            return Err(NameError::TooLong { what: WHAT, len, max });
        }
        match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
            Some(bad) => Err(NameError::BadChar { what: WHAT, name: name.to_owned(), bad }),
            None => Ok(NodeName(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which the node's row is keyed.
    pub fn folded(&self) -> Folded {
        Folded::new(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        NodeName::new(&name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Service names are taken as clients send them (Consul takes spaces and slashes too); only the
/// empty and the endless are refused.
pub fn validate_service_name(name: &str) -> Result<(), NameError> {
    const WHAT: &str = "service name";
    if name.is_empty() {
        return Err(NameError::Empty { what: WHAT });
    }
    if name.len() > limits::SERVICE_NAME {
        let (len, max) = (name.len(), limits::SERVICE_NAME);
        return Err(NameError::TooLong { what: WHAT, len, max });
    }
    Ok(())
}
