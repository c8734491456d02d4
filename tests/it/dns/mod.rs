//! DNS as its users see it: dig and kdig, HAProxy, the C library, a cluster that goes away.

mod haproxy;
mod matrix;
mod port53;
mod remote;
mod stale;
