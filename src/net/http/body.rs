//! Takes in a request's whole body, within a size and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// `len` is what was announced, or what had come when the limit was passed.
    #[error("the body has {len} bytes or more, at most {max} are allowed")]
    TooLarge { len: u64, max: usize },
    #[error("the body did not arrive within {0:?}")]
    Slow(Duration),
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// The body, if it has at most `max` bytes and arrives within `within`.
pub async fn collect<B>(body: B, max: usize, within: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(BodyError::TooLarge { len: announced, max });
    }
    match timeout(within, gather(body, max)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(BodyError::Slow(within)),
    }
}

/// The body as it comes in. Each of its pieces may take that long.
pub fn pieces<B>(body: B, patience: Duration) -> impl Stream<Item = Result<Bytes, BodyError>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(patience, body.frame()).await {
            Ok(None) => None,
            Ok(Some(Ok(frame))) => Some((Ok(frame.into_data().unwrap_or_default()), Some(body))),
            Ok(Some(Err(error))) => Some((Err(BodyError::Broken(error.to_string())), None)),
            Err(_) => Some((Err(BodyError::Slow(patience)), None)),
        }
    })
}

async fn gather<B>(mut body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let len = first.len() + rest.len() + data.len();
        if len > max {
            return Err(BodyError::TooLarge { len: len as u64, max });
        }
        // Most bodies are one frame, which needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    const LONG: Duration = Duration::from_secs(5);

    fn chunks(parts: &'static [&'static str]) -> impl Body<Data = Bytes, Error = String> + Unpin {
        let parts = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
        StreamBody::new(stream::iter(parts))
    }

    #[tokio::test]
    async fn bodies_come_whole_up_to_their_limit() {
        let whole = collect(chunks(&["ab", "", "c", "de"]), 5, LONG).await;
        assert_eq!(whole.ok(), Some(Bytes::from_static(b"abcde")));
        let over = collect(chunks(&["ab", "c", "de"]), 4, LONG).await;
        assert!(matches!(over, Err(BodyError::TooLarge { len: 5, max: 4 })), "{over:?}");
        let announced = collect(Full::new(Bytes::from_static(b"abcde")), 4, LONG).await;
        assert!(matches!(announced, Err(BodyError::TooLarge { len: 5, max: 4 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let stalled = StreamBody::new(stream::pending::<Result<Frame<Bytes>, String>>());
        let outcome = collect(stalled, 10, LONG).await;
        assert!(matches!(outcome, Err(BodyError::Slow(LONG))), "{outcome:?}");
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"a")))]);
        let then = stream::pending::<Result<Frame<Bytes>, String>>();
        let came: Vec<_> = pieces(StreamBody::new(first.chain(then)), LONG).collect().await;
        assert!(matches!(&came[..], [Ok(_), Err(BodyError::Slow(LONG))]), "{came:?}");
    }
}
