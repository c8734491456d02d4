//! Which place of the gateway a path names. Pure.

use std::borrow::Cow;

use crate::net::http::path as url;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// What stands below `/v3/`, decoded.
    Below(Cow<'a, str>),
    /// The same place is written that way.
    Elsewhere(String),
    Unknown,
}

/// What was a beta is the same today.
pub(super) fn place(path: &str) -> Place<'_> {
    if path == "/v3" || path == "/v3beta" {
        return Place::Elsewhere(format!("{path}/"));
    }
    if !path.contains(['%', '.']) && !path.contains("//") {
        let below = below(path);
        return below.map_or(Place::Unknown, |below| Place::Below(Cow::Borrowed(below)));
    }
    let Ok(decoded) = url::decode(path, false) else { return Place::Unknown };
    if let Some(clean) = url::clean(&decoded) {
        return Place::Elsewhere(url::encode_path(&clean));
    }
    let text = std::str::from_utf8(&decoded).ok();
    let below = text.and_then(below).map(str::to_owned);
    below.map_or(Place::Unknown, |below| Place::Below(Cow::Owned(below)))
}

fn below(path: &str) -> Option<&str> {
    path.strip_prefix("/v3beta/").or_else(|| path.strip_prefix("/v3/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_etcd_reads_it() {
        let here = |path| Place::Below(Cow::Borrowed(path));
        let moved = |path: &str| Place::Elsewhere(path.to_owned());
        let cases = [
            ("/v3/kv/range", here("kv/range")),
            ("/v3beta/kv/range", here("kv/range")),
            ("/v3/kv/%72ange", here("kv/range")),
            ("/v3/kv/range/", here("kv/range/")),
            ("/v3", moved("/v3/")),
            ("/v3//kv/range", moved("/v3/kv/range")),
            ("/v3/kv/range/../put", moved("/v3/kv/put")),
            ("/v3/kv/%2e%2e/a%20b", moved("/v3/a%20b")),
            ("/v3alpha/kv/range", Place::Unknown),
            ("/v3/kv/%zz", Place::Unknown),
        ];
        for (path, wanted) in cases {
            assert_eq!(place(path), wanted, "{path}");
        }
    }
}
