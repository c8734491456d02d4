//! A bounded board on which every part of the agent says how it is; `status` reads it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::model::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Works, but somebody should look: waiting for a key, an insecure listener.
    Warning,
    /// Does not do its work.
    Failed,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub level: Level,
    pub text: String,
    /// Since when it has been at this level with this text.
    pub since: Instant,
}

#[derive(Debug, Clone, Default)]
pub struct Board {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `subject` is `part` or `part/thing`, for example `files//etc/nginx/upstreams.conf`.
    pub fn set(&self, subject: &str, level: Level, text: impl Into<String>) {
        let text = text.into();
        let mut entries = self.lock();
        if let Some(entry) = entries.get(subject)
            && entry.level == level
            && entry.text == text
        {
            return;
        }
        if entries.len() >= limits::BOARD && !entries.contains_key(subject) {
            return;
        }
        entries.insert(subject.to_owned(), Entry { level, text, since: Instant::now() });
    }

    pub fn clear(&self, subject: &str) {
        self.lock().remove(subject);
    }

    /// Everything on the board, by subject.
    pub fn entries(&self) -> Vec<(String, Entry)> {
        self.lock().iter().map(|(subject, entry)| (subject.clone(), entry.clone())).collect()
    }
}
