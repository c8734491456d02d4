//! What makes two questions the same: path, parameters and who asks. Pure.

use std::borrow::Cow;

use crate::access::Caller;
use crate::consul::params::Params;

/// What says how fresh, since when and for whom, but not what is asked.
const NOT_ASKED: [&str; 9] =
    ["index", "wait", "stale", "consistent", "cached", "max_stale", "token", "dc", "datacenter"];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: Box<[u8]>,
    caller: Caller,
}

impl Key {
    /// `path` is the route's own, `rest` what stands behind it, `about` what that stands for.
    pub fn new(path: &str, rest: &[u8], about: &str, params: &Params<'_>, caller: &Caller) -> Key {
        let mut text = Vec::with_capacity(path.len() + rest.len() + 64);
        // Each part with its length before it, so that no two questions are written the same.
        part(&mut text, path.as_bytes());
        part(&mut text, rest);
        part(&mut text, about.as_bytes());
        let asked = params.iter().filter(|(name, _)| !NOT_ASKED.contains(&name.as_ref()));
        let mut asked: Vec<&(Cow<'_, str>, Cow<'_, str>)> = asked.collect();
        // By name alone: of equal names the first may be the one that counts.
        asked.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (name, value) in asked {
            part(&mut text, name.as_bytes());
            part(&mut text, value.as_bytes());
        }
        Key { text: text.into(), caller: caller.clone() }
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Key>() + self.text.len()
    }
}

fn part(text: &mut Vec<u8>, part: &[u8]) {
    text.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    text.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rest: &str, query: &str) -> Key {
        let params = Params::parse(Some(query)).unwrap();
        Key::new("/v1/health/service/", rest.as_bytes(), "", &params, &Caller::Nobody)
    }

    #[test]
    fn how_fresh_and_since_when_make_no_other_question() {
        let waits = "index=7&passing&wait=5s&stale&token=x&tag=a";
        assert_eq!(key("web", "tag=a&passing"), key("web", waits));
    }

    #[test]
    fn what_is_asked_does() {
        let keys = [
            key("web", ""),
            key("we", "b"),
            key("web", "passing"),
            key("web", "passing=0"),
            key("web", "tag=a&tag=b"),
            key("web", "tag=b&tag=a"),
            key("web", "tag=a%26tag%3Db"),
            key("web", "pretty"),
        ];
        for (at, one) in keys.iter().enumerate() {
            for other in keys.iter().skip(at + 1) {
                assert_ne!(one, other);
            }
        }
        let params = Params::default();
        let of = |caller| Key::new("/v1/kv/", b"a", "", &params, &caller);
        assert_ne!(of(Caller::Nobody), of(Caller::Stranger));
    }
}
