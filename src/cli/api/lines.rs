//! Answers that come line by line, for as long as it takes.

use std::time::Duration;

use anyhow::anyhow;

use super::{Api, Reply, unanswered};
use crate::cli::Result;
use crate::model::limits;

/// A stream ends when its reader goes.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// An answer that comes line by line.
pub(in crate::cli) struct Lines<'a> {
    api: &'a Api,
    answer: reqwest::Response,
    rest: Vec<u8>,
}

impl Api {
    /// Posts, and takes the answer as it comes, for as long as it takes.
    pub(in crate::cli) async fn lines(&self, path: &str, body: Vec<u8>) -> Result<Lines<'_>> {
        let request = self.client.post(format!("{}{path}", self.place.base));
        let answer = request.timeout(FOR_EVER).body(body).send().await;
        let answer = answer.map_err(|error| unanswered(&self.place.shown, &error))?;
        let status = answer.status();
        let mut lines = Lines { api: self, answer, rest: Vec::new() };
        if !status.is_success() {
            let body = lines.next().await?.unwrap_or_default();
            let shown = self.place.shown.clone();
            Reply { status, body, index: None, omitted: 0, shown }.success()?;
        }
        Ok(lines)
    }
}

impl Lines<'_> {
    /// The next line; none at the end.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let shown = &self.api.place.shown;
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            let piece = self.answer.chunk().await.map_err(|error| unanswered(shown, &error))?;
            match piece {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.rest))),
            }
            if self.rest.len() > limits::CLI_ANSWER {
                let most = limits::CLI_ANSWER;
                return Err(anyhow!("a line of {shown} has more than {most} bytes").into());
            }
        }
    }
}
