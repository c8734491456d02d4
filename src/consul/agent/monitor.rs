//! `/v1/agent/monitor`: the agent's log as it is written.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};

use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::error::Failure;
use crate::telemetry::{LogLine, LogWatch, Verbosity};

/// As Consul has it: in any case, `info` where nothing is said.
fn verbosity(word: &str) -> Option<Verbosity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => Verbosity::Trace,
        "debug" => Verbosity::Debug,
        "" | "info" => Verbosity::Info,
        "warn" => Verbosity::Warn,
        "err" | "error" => Verbosity::Error,
        _ => return None,
    })
}

/// Answers until the client hangs up or the agent stops.
pub fn answer(call: &Call<'_>) -> Answer {
    let asked = call.params.get("loglevel").unwrap_or_default();
    let wanted = verbosity(asked)
        .ok_or_else(|| Failure::bad(format!("Bad request: Unknown log level: {asked}")))?;
    let write = if call.params.has("logjson") { LogLine::json } else { LogLine::text };
    let watch = call.front.logs.watch(wanted).ok_or_else(|| {
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "Too many clients watch this agent's log")
    })?;
    let shutdown = call.front.shutdown.clone();
    let next = async move |mut watch: LogWatch| {
        let line = shutdown.or(watch.next()).await.flatten()?;
        let line = Bytes::from(write(&line) + "\n");
        Some((Ok::<_, Infallible>(line), watch))
    };
    let lines = stream::unfold(watch, move |watch| {
        let next = next.clone();
        async move { next(watch).await }
    });
    let mut response = Response::new(Body::from_stream(lines));
    answer::add_vary(response.headers_mut());
    Ok(response)
}
