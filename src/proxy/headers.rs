//! What a proxy must take out of a message's head, and what it adds (RFC 9110, section 7.6).

use std::net::IpAddr;

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request, response};

use super::failure::Failure;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Makes a client's request fit for an instance. `Host` stays as the client sent it, or becomes the
/// authority of an absolute target; a client of HTTP/1.0 may send none and gets the service's name.
pub(super) fn request(
    head: &mut request::Parts,
    client: IpAddr,
    service: &str,
) -> Result<(), Failure> {
    if head.method == Method::CONNECT {
        return Err(Failure::Unsupported("CONNECT is not carried by an upstream"));
    }
    match head.headers.get_all(HOST).iter().count() {
        0 if head.version == Version::HTTP_11 && head.uri.authority().is_none() => {
            return Err(Failure::Malformed("the request has no Host"));
        }
        0 | 1 => {}
        _ => return Err(Failure::Malformed("the request has more than one Host")),
    }
    let upgrade = upgrade(&head.headers);
    strip(&mut head.headers);
    // The interim response is given by this side, when the body is asked for.
    head.headers.remove(EXPECT);
    if let Some(protocol) = upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    origin_form(head);
    if !head.headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(service)
    {
        head.headers.insert(HOST, host);
    }
    head.version = Version::HTTP_11;
    forwarded(&mut head.headers, client)
}

/// Makes an instance's response fit for the client. An answer to an upgrade keeps what says so.
pub(super) fn response(head: &mut response::Parts) {
    let upgrade = if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        head.headers.get(UPGRADE).cloned()
    } else {
        None
    };
    strip(&mut head.headers);
    if let Some(protocol) = upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    head.version = Version::HTTP_11;
}

/// The protocol a message asks to change to, or has changed to.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let wanted = listed(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    wanted.then(|| protocol.clone())
}

/// The tokens of all `Connection` headers.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = listed(headers).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// An absolute target's authority becomes the `Host`, its path the target.
fn origin_form(head: &mut request::Parts) {
    let Some(authority) = head.uri.authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        head.headers.insert(HOST, host);
    }
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

fn forwarded(headers: &mut HeaderMap, client: IpAddr) -> Result<(), Failure> {
    let mut chain = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(client.to_string().as_bytes());
    let chain = HeaderValue::from_maybe_shared(bytes::Bytes::from(chain));
    let chain = chain.map_err(|_| Failure::Malformed("X-Forwarded-For is no header value"))?;
    headers.insert(FORWARDED_FOR, chain);
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    Ok(())
}
