//! The name in a client's certificate: the common name of its subject.

use std::sync::Arc;

/// Who the verified certificate of a request's connection says its client is. A handler finds it
/// among the request's extensions; it is not there where no certificate was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(pub Arc<str>);

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// UTF8String, PrintableString and IA5String: those whose bytes are UTF-8.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// 2.5.4.3, commonName (RFC 5280, appendix A.1).
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The common name in a subject, given without its outer tag and length. None where there is none,
/// or more than one: then which is meant is anybody's guess, and a user is never guessed.
pub(super) fn common_name(subject: &[u8]) -> Option<ClientName> {
    let mut found = None;
    let mut sets = subject;
    while !sets.is_empty() {
        let (set, rest) = element(sets, SET)?;
        sets = rest;
        let mut attributes = set;
        while !attributes.is_empty() {
            let (attribute, rest) = element(attributes, SEQUENCE)?;
            attributes = rest;
            let (kind, value) = element(attribute, OBJECT_ID)?;
            if kind != COMMON_NAME {
                continue;
            }
            if found.is_some() {
                return None;
            }
            found = Some(text(value)?);
        }
    }
    found
}

fn text(value: &[u8]) -> Option<ClientName> {
    let tag = *value.first()?;
    let (bytes, rest) = element(value, tag)?;
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = !text.is_empty() && !text.chars().any(char::is_control);
    (TEXTS.contains(&tag) && rest.is_empty() && plain).then(|| ClientName(text.into()))
}

/// The contents of the element of this tag that `bytes` begin with, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, short], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, contents: &[u8]) -> Vec<u8> {
        let len = contents.len();
        let mut bytes = vec![tag];
        if len < 0x80 {
            bytes.push(u8::try_from(len).unwrap());
        } else {
            bytes.push(0x82);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        bytes.extend(contents);
        bytes
    }

    fn attribute(id: &[u8], tag: u8, value: &str) -> Vec<u8> {
        let pair = [wrap(OBJECT_ID, id), wrap(tag, value.as_bytes())].concat();
        wrap(SET, &wrap(SEQUENCE, &pair))
    }

    fn name(subject: &[u8]) -> Option<String> {
        common_name(subject).map(|name| name.0.to_string())
    }

    #[test]
    fn the_common_name_is_found_among_the_rest() {
        let organisation = attribute(&[0x55, 0x04, 0x0a], 0x0c, "Ops");
        for tag in TEXTS {
            let subject = [organisation.clone(), attribute(&COMMON_NAME, tag, "ann")].concat();
            assert_eq!(name(&subject).as_deref(), Some("ann"));
        }
        let long = "n".repeat(300);
        assert_eq!(name(&attribute(&COMMON_NAME, 0x0c, &long)), Some(long));
        assert_eq!(name(&organisation), None);
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn a_name_is_never_guessed() {
        let ann = attribute(&COMMON_NAME, 0x0c, "ann");
        assert_eq!(name(&[ann.clone(), attribute(&COMMON_NAME, 0x0c, "root")].concat()), None);
        assert_eq!(name(&attribute(&COMMON_NAME, 0x0c, "")), None);
        assert_eq!(name(&attribute(&COMMON_NAME, 0x0c, "root\0ann")), None);
        assert_eq!(name(&attribute(&COMMON_NAME, 0x1e, "\0a\0n")), None, "a BMPString");
        for cut in 1..ann.len() {
            assert_eq!(name(&ann[..cut]), None, "cut at {cut}");
        }
    }
}
