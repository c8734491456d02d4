//! The cluster module, tested: agents over loopback in one process, in temporary directories.

mod founding;
mod joining;
mod world;
