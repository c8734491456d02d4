//! Serves HTTP/1 and HTTP/2 on one listener: own accept loop, TLS, limits, a drain at the end.

mod authority;
mod body;
mod door;
mod gather;
mod hosts;
mod lent;
mod names;
pub mod path;
mod pulse;
mod requests;
mod secure;
mod serve;
mod spoken;
mod token;
mod written;

#[cfg(test)]
mod tests;

pub use body::{BodyError, collect, pieces};
pub use door::{Door, UnixDoor};
pub use hosts::{HostRules, Verdict};
pub use lent::Lent;
pub use names::ClientName;
pub use requests::Requests;
pub use secure::{ServerTls, TlsFiles};
pub use serve::{Limits, serve};
pub use token::token;
pub use written::written;
