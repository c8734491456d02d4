//! When keys that hang on leases were first seen to be gone: the heralds write it down, and the
//! clients whose keys they were wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::history::{Micros, Revision};

/// Key to the revision of its end and the time when somebody knew.
#[derive(Clone)]
pub struct Board(Arc<watch::Sender<BTreeMap<String, (Revision, Micros)>>>);

impl Board {
    pub fn new() -> Board {
        Board(Arc::new(watch::Sender::default()))
    }

    pub fn write_down(&self, key: String, revision: Revision, now: Micros) {
        self.0.send_if_modified(|ends| {
            let known = ends.contains_key(&key);
            ends.entry(key).or_insert((revision, now));
            !known
        });
    }

    /// Returns once a key is gone. No key of these lives twice.
    pub async fn end_of(&self, key: &str) -> (Revision, Micros) {
        let mut ends = self.0.subscribe();
        let ends = ends.wait_for(|ends| ends.contains_key(key)).await;
        ends.expect("the board outlives who looks at it")[key]
    }
}
