//! The cluster module, tested: agents over loopback in one process, in temporary directories.

mod backups;
mod candidates;
mod compare;
mod cuts;
mod deadlines;
mod envelope;
mod fabric;
mod following;
mod founding;
mod joining;
mod levels;
mod logins;
mod lost;
mod merging;
mod operating;
mod past;
mod patience;
mod promotion;
mod relays;
mod removal;
mod rights;
mod survey;
mod trust;
mod world;
