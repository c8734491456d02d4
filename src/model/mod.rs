//! The nouns everyone speaks: validated names, ids, health, instances, checks, limits.

mod check;
mod health;
mod id;
mod instance;
pub mod limits;
mod member;
mod name;
mod range;
mod time;
mod token;

pub use check::{CheckDef, CheckKind, Flaps, HttpTarget, Target, TlsTarget};
pub use health::Health;
pub use id::{AclId, Applied, Index, LeaseId, NodeId, QueryId, Revision, SessionId};
pub use instance::{Endpoint, ServiceDef, Source, TaggedAddress, Weights};
pub use member::{Member, Role};
pub use name::{Folded, NameError, NodeName, fold, validate_service_name};
pub use range::KeyRange;
pub use time::Stamp;
pub use token::{Digest, TokenId, unhex};
