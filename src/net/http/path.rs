//! Paths and queries of URLs as Go's server reads them: decoding, cleaning, odd characters.

use std::borrow::Cow;

/// `%` without two hexadecimal digits behind it; carries the escape as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEscape(pub String);

/// Percent-decoded bytes. In a query `+` is a space.
pub fn decode(text: &str, query: bool) -> Result<Cow<'_, [u8]>, BadEscape> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|b| *b == b'%' || (query && *b == b'+')) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(digit(*high) * 16 + digit(*low));
                tail
            }
            (b'%', _) => {
                let end = rest.len().min(3);
                let escape = rest.get(..end).unwrap_or_default();
                return Err(BadEscape(String::from_utf8_lossy(escape).into_owned()));
            }
            (b'+', tail) if query => {
                out.push(b' ');
                tail
            }
            (other, tail) => {
                out.push(*other);
                tail
            }
        };
    }
    Ok(Cow::Owned(out))
}

fn digit(hex: u8) -> u8 {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
}

/// Escapes a path so that it decodes to the same bytes.
pub fn encode_path(path: &[u8]) -> String {
    encode(path, b"/-_.~!$&'()*+,;=:@")
}

/// Escapes one part of a query as Go does: space becomes `+`.
pub fn encode_query(text: &[u8]) -> String {
    encode(text, b"-_.~ ").replace(' ', "+")
}

fn encode(bytes: &[u8], literal: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || literal.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The path without `//`, `/./` and `/../`, a slash at the end kept. None if it is clean already.
pub fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut cleaned = Vec::with_capacity(path.len());
    for part in &parts {
        cleaned.push(b'/');
        cleaned.extend_from_slice(part);
    }
    // A path that ends in `/.` or `/..` loses its slash with them, unless one is left.
    let keeps_slash = path.ends_with(b"/") || path.ends_with(b"/.");
    if cleaned.is_empty() || keeps_slash {
        cleaned.push(b'/');
    }
    (cleaned != path).then_some(cleaned)
}

/// Control characters and their like, which Consul refuses in paths. Bytes that are not UTF-8 are
/// let through.
pub fn has_unprintable(path: &[u8]) -> bool {
    String::from_utf8_lossy(path).chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_byte_by_byte() {
        assert_eq!(decode("a%2Fb%FF%00", false).as_deref(), Ok(&b"a/b\xff\0"[..]));
        assert_eq!(decode("a+b", false).as_deref(), Ok(&b"a+b"[..]));
        assert_eq!(decode("a+b", true).as_deref(), Ok(&b"a b"[..]));
        assert_eq!(decode("%zz", false), Err(BadEscape("%zz".to_owned())));
        assert_eq!(decode("a%2", false), Err(BadEscape("%2".to_owned())));
    }

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode_path(&all), false).as_deref(), Ok(&all[..]));
        assert_eq!(decode(&encode_query(&all), true).as_deref(), Ok(&all[..]));
    }

    #[test]
    fn cleaning_follows_consul() {
        let cases: [(&str, Option<&str>); 10] = [
            ("/v1/kv/a", None),
            ("/v1/kv/", None),
            ("/v1/kv//lead", Some("/v1/kv/lead")),
            ("/v1/kv/.", Some("/v1/kv/")),
            ("/v1/kv/..", Some("/v1")),
            ("/v1/kv/a/./b", Some("/v1/kv/a/b")),
            ("/v1/kv/a/../b", Some("/v1/kv/b")),
            ("//v1/status/leader", Some("/v1/status/leader")),
            ("/../..", Some("/")),
            ("/v1/kv/a//", Some("/v1/kv/a/")),
        ];
        for (path, cleaned) in cases {
            assert_eq!(clean(path.as_bytes()).as_deref(), cleaned.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn unprintable_characters_are_seen() {
        for path in [&b"a\0b"[..], b"a\x7fb", b"a\nb", "\u{2028}".as_bytes()] {
            assert!(has_unprintable(path), "{path:?}");
        }
        assert!(!has_unprintable("é a\u{fffd}".as_bytes()) && !has_unprintable(b"\xff"));
    }
}
