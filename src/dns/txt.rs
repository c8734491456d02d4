//! Metadata as TXT records: `key=value` with the quoting of RFC 1464.

use super::wire::{self, rtype};

/// Keys that start so hold free text: the value stands alone.
const BARE: &str = "rfc1035-";
/// Longest character string; a text is as many of them as it needs.
const STRING: usize = 255;

pub fn body(key: &str, value: &str, ttl: u32) -> Vec<u8> {
    let bare = key.get(..BARE.len()).is_some_and(|head| head.eq_ignore_ascii_case(BARE));
    let text = if bare { value.to_owned() } else { format!("{}={value}", quoted(key)) };
    let mut data = Vec::with_capacity(text.len() + 2);
    if text.is_empty() {
        data.push(0);
    }
    for string in text.as_bytes().chunks(STRING) {
        data.push(string.len() as u8);
        data.extend_from_slice(string);
    }
    wire::body(rtype::TXT, ttl, &data)
}

/// A grave accent goes before what would end the key or be trimmed from it.
fn quoted(key: &str) -> String {
    let inner = key.trim_matches([' ', '\t']);
    let lead = key.len() - key.trim_start_matches([' ', '\t']).len();
    let mut out = String::with_capacity(key.len() + 4);
    for (at, char) in key.char_indices() {
        let at_edge = at < lead || at >= lead + inner.len();
        if matches!(char, '=' | '`') || at_edge {
            out.push('`');
        }
        out.push(char);
    }
    out
}
