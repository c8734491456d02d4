//! How long a caller of the gateway waits: gRPC's own header says so.

use std::time::Duration;

use axum::body::Body;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, Response};
use http_body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::error::{Code, Failure};

const HEADER: &str = "grpc-timeout";

/// When the call is to be given up; none if the caller does not say.
pub(super) fn of(headers: &HeaderMap, now: Instant) -> Result<Option<Instant>, Failure> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    match duration(&text) {
        // What lies beyond all time is no deadline.
        Some(duration) => Ok(now.checked_add(duration)),
        None => Err(Failure::invalid(format!("invalid grpc-timeout: {text}"))),
    }
}

/// A number and its unit: hours to nanoseconds.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    // What is over already is over now.
    let number = u64::try_from(number).unwrap_or(0);
    Some(match unit {
        'H' => Duration::from_secs(number.saturating_mul(3600)),
        'M' => Duration::from_secs(number.saturating_mul(60)),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The answer, or that there was none in time; a stream ends with that.
pub(super) async fn within(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<Response<Body>, Failure>>,
) -> Result<Response<Body>, Failure> {
    let Some(at) = deadline else { return answer.await };
    let response = timeout_at(at, answer).await.unwrap_or_else(|_| Err(overdue()))?;
    Ok(response.map(|body| until(body, at)))
}

fn until(body: Body, at: Instant) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let lines = stream::unfold(Some(body.into_data_stream()), move |rest| async move {
        let mut rest = rest?;
        match timeout_at(at, rest.next()).await {
            Ok(line) => Some((line?, Some(rest))),
            Err(_) => Some((Ok(overdue().line()), None)),
        }
    });
    Body::from_stream(lines)
}

pub(super) fn overdue() -> Failure {
    Failure::new(Code::DeadlineExceeded, "context deadline exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_and_a_unit() {
        assert_eq!(duration("10S"), Some(Duration::from_secs(10)));
        assert_eq!(duration("500m"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(duration("-1S"), Some(Duration::ZERO));
        for wrong in ["", "x", "S", "10", "1.5S", "10s", "99999999999999999999S"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_goes_on_is_cut_with_an_error() {
        let lines = stream::iter(["one\n"]).chain(stream::pending());
        let response = Response::new(Body::from_stream(lines.map(Ok::<_, std::io::Error>)));
        let at = Instant::now() + Duration::from_secs(1);
        let response = within(Some(at), async { Ok(response) }).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let error = r#"{"error":{"code":4,"message":"context deadline exceeded"}}"#;
        assert_eq!(body, format!("one\n{error}\n"));
    }
}
