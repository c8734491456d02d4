//! Binds, accepts, limits and secures connections: the only place that opens a socket to listen on.

mod bind;
mod client_files;
mod fabric;
pub mod http;
pub mod peer;
mod pem;
mod resolve;
mod route;
mod tls;
mod validity;
mod words;

pub use bind::{BindError, UnixBindError, bind_tcp, bind_udp, bind_unix, is_loopback};
pub use client_files::{ClientFiles, tls_trouble};
pub use fabric::{Arrivals, ByteStream, Connection, Fabric, Tcp};
pub use pem::PemError;
pub use resolve::{ResolveError, resolve};
pub use route::{RouteError, default_route_ip, interface_ip};
/// Plain types of keys and certificates, which name no session.
pub use rustls::pki_types;
pub use tls::{Trust, client_tls};
pub use validity::{ending, validity};
pub use words::words;
