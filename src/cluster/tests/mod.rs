//! The cluster module, tested: agents over loopback in one process, in temporary directories.

mod backups;
mod candidates;
mod compare;
mod deadlines;
mod following;
mod founding;
mod joining;
mod lost;
mod operating;
mod patience;
mod promotion;
mod removal;
mod rights;
mod trust;
mod world;
