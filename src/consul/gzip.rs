//! Compresses answers for clients that take it, where that is worth it.

use std::io::{self, Write as _};

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::lifecycle::aside;
use crate::model::limits;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whether the client takes gzip: the coding is named, and not with a weight of zero.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f64>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// The same answer with its body compressed, if it is whole already and long enough.
pub async fn compressed(response: Response<Body>) -> Response<Body> {
    let len = response.body().size_hint().exact().and_then(|len| usize::try_from(len).ok());
    let worth = len.is_some_and(|len| len >= limits::GZIP_LEAST);
    if !worth || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It waits for nothing: a body of a known length is there.
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Response::from_parts(parts, Body::empty());
    };
    let shorter = match body.len() {
        long if long > limits::GZIP_ASIDE => {
            let plain = body.clone();
            aside(move || gzip(&plain)).await.and_then(|done| done)
        }
        _ => gzip(&body),
    };
    match shorter {
        Ok(shorter) => {
            parts.headers.insert(CONTENT_ENCODING, GZIP);
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(shorter))
        }
        Err(_) => Response::from_parts(parts, Body::from(body)),
    }
}

/// Fast: what is saved on the way is most of it at any level.
fn gzip(plain: &Bytes) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn accepts(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        is_accepted(&headers)
    }

    #[test]
    fn who_names_gzip_takes_it_unless_the_weight_says_no() {
        for yes in ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5", " gzip ; q=1"] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "deflate", "gzip;q=0", "gzip;q=0.0, br", "gzip;q=x", "xgzip"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_bodies_are_compressed_and_short_ones_left() {
        for len in [0, limits::GZIP_LEAST - 1, limits::GZIP_LEAST, 10 * limits::GZIP_ASIDE] {
            let body: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let response = compressed(Response::new(Body::from(body.clone()))).await;
            let is_gzip = response.headers().get(CONTENT_ENCODING) == Some(&GZIP);
            let sent = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(is_gzip, len >= limits::GZIP_LEAST, "{len}");
            let mut plain = Vec::new();
            match is_gzip {
                true => drop(GzDecoder::new(&sent[..]).read_to_end(&mut plain).unwrap()),
                false => plain = sent.to_vec(),
            }
            assert_eq!(plain, body);
        }
    }

    #[tokio::test]
    async fn what_is_compressed_already_or_has_no_end_is_left() {
        let mut done = Response::new(Body::from(vec![b'x'; 2 * limits::GZIP_LEAST]));
        done.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(compressed(done).await.headers()[CONTENT_ENCODING], "br");
        let endless = futures::stream::pending::<io::Result<Bytes>>();
        let response = compressed(Response::new(Body::from_stream(endless))).await;
        assert!(response.headers().is_empty());
    }
}
