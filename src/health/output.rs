//! What of a check's output is kept when there is too much of it.

use crate::model::limits;

/// A note that an app sends with its report: the beginning, and how much there was (Consul's form).
pub fn cut_note(note: String) -> String {
    const MOST: usize = limits::CHECK_OUTPUT;
    if note.len() <= MOST {
        return note;
    }
    let end = (0..=MOST).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    let head = note.get(..end).unwrap_or_default();
    format!("{head} ... (captured {MOST} of {} bytes)", note.len())
}

/// What an app is told about its TTL check when it was silent for too long (Consul's words).
pub fn expired(last: &str) -> String {
    if last.is_empty() {
        "TTL expired".to_owned()
    } else {
        format!("TTL expired (last output before timeout follows): {last}")
    }
}
