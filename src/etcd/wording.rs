//! What gRPC's machinery refuses before a call is reached, in the words that etcd's clients know.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response};
use tonic::{Code, Status};

use super::kv::too_long;

/// How tonic says that a message is too long, as it stands in a header.
const TOO_LONG: &str = "message%20length%20too%20large:%20found%20";

/// Alters a refusal of tonic's own; other answers go through as they are.
pub(super) fn reworded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let word = match code(headers) {
        Some(Code::OutOfRange) => length(headers).map(|len| Status::from(too_long(len))),
        _ => None,
    };
    if let Some(status) = word
        && let Ok(message) = HeaderValue::from_str(status.message())
    {
        let headers = response.headers_mut();
        headers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
        headers.insert(Status::GRPC_MESSAGE, message);
    }
    response
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// Of the message that was too long.
fn length(headers: &HeaderMap) -> Option<u64> {
    let message = headers.get(Status::GRPC_MESSAGE)?.to_str().ok()?;
    let (_, rest) = message.split_once(TOO_LONG)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Status) -> Response<Body> {
        status.into_http()
    }

    fn said(response: &Response<Body>) -> (Option<Code>, Option<&[u8]>) {
        let message = response.headers().get(Status::GRPC_MESSAGE).map(HeaderValue::as_bytes);
        (code(response.headers()), message)
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_as_etcd_refuses_it() {
        let text = "Error, decoded message length too large: found 3000008 bytes, \
                    the limit is: 2097152 bytes";
        let told = reworded(answer(Status::out_of_range(text)));
        let expected = &b"grpc: received message larger than max (3000008 vs. 2097152)"[..];
        assert_eq!(said(&told), (Some(Code::ResourceExhausted), Some(expected)));
    }

    #[test]
    fn what_a_call_refuses_itself_is_left_alone() {
        let future =
            Status::out_of_range("etcdserver: mvcc: required revision is a future revision");
        for status in [future, Status::unimplemented("by joining"), Status::not_found("no")] {
            let before = answer(status.clone());
            let after = reworded(answer(status));
            assert_eq!(said(&after), said(&before));
        }
    }
}
