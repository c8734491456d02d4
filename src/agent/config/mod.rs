//! Reads `remora.yaml`, checks it whole, and turns it into each module's own `Config`.
//!
//! Loading binds nothing and starts nothing: what is returned is valid or it is an error that
//! names the file, the line and the key.

mod acl;
mod check;
mod dns;
mod file;
mod load;
mod resolve;
mod service;
mod token;
mod urls;
mod values;

pub use file::{File, RoleSetting};
pub use load::{ConfigError, load, parse};
pub use resolve::{Flags, HttpConfig, Resolved, resolve};
pub use service::{Service, parse_service};
pub use values::{Advertise, HttpListen, Listen};
