//! A request's body as it is lent to who answers: what is left of it comes back, and is taken in
//! before the answer goes out.
//!
//! A server that has answered and drops the rest of a request resets the stream, which is no error
//! (RFC 9113, section 8.1). Some clients lose the answer over it all the same.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::model::limits;
use crate::net::http::take_in;

pub(super) struct Lent<B: Body> {
    /// Until it goes back.
    body: Option<B>,
    back: Option<oneshot::Sender<B>>,
}

/// Where the rest of a body comes back to.
pub(super) struct Rest<B>(oneshot::Receiver<B>);

pub(super) fn lend<B: Body>(body: B) -> (Lent<B>, Rest<B>) {
    let (back, rest) = oneshot::channel();
    (Lent { body: Some(body), back: Some(back) }, Rest(rest))
}

impl<B: Body<Data = Bytes> + Unpin> Rest<B> {
    /// Takes in what is left of the body, if whoever answered has let go of it: so much as a
    /// message may have, and only for a moment. A stream's client may never end it.
    pub(super) async fn take_in(mut self) {
        if let Ok(body) = self.0.try_recv() {
            take_in(body, limits::ETCD_MESSAGE).await;
        }
    }
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.get_mut().body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B: Body> Drop for Lent<B> {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        if let Some((rest, back)) = rest.zip(self.back.take()) {
            // Nobody wants it back once the answer is on its way.
            let _ = back.send(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::body::Body;
    use futures::stream::{self, StreamExt as _};
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::{Bytes, lend, limits};

    /// A body of so many pieces, and how many of them were taken.
    fn counted(pieces: usize, size: usize, ends: bool) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let pieces = stream::iter(0..pieces).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![0; size]))
        });
        let body = match ends {
            true => Body::from_stream(pieces),
            false => Body::from_stream(pieces.chain(stream::pending())),
        };
        (body, taken)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_read_is_taken_in_but_not_without_end() {
        let begun = Instant::now();
        let (body, taken) = counted(3, 10, true);
        let (mut body, rest) = lend(body);
        body.frame().await.unwrap().unwrap();
        drop(body);
        rest.take_in().await;
        assert_eq!((taken.load(Ordering::Relaxed), begun.elapsed()), (3, Duration::ZERO));

        let (body, taken) = counted(10, limits::ETCD_MESSAGE / 2, true);
        let (body, rest) = lend(body);
        drop(body);
        rest.take_in().await;
        assert_eq!((taken.load(Ordering::Relaxed), begun.elapsed()), (3, Duration::ZERO));

        let (body, _) = counted(3, 10, false);
        let (body, rest) = lend(body);
        drop(body);
        rest.take_in().await;
        assert_eq!(begun.elapsed(), limits::REFUSED_BODY);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_read_is_left_alone() {
        let begun = Instant::now();
        let (body, taken) = counted(3, 10, true);
        let (body, rest) = lend(body);
        rest.take_in().await;
        assert_eq!((taken.load(Ordering::Relaxed), begun.elapsed()), (0, Duration::ZERO));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 30);
    }
}
