//! The cluster module, tested: agents over loopback in one process, in temporary directories.

mod candidates;
mod deadlines;
mod following;
mod founding;
mod joining;
mod lost;
mod patience;
mod promotion;
mod world;
