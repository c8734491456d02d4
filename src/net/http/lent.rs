//! A request's body as it is lent to who answers: what is left of it comes back, and is taken in
//! before the answer goes out.
//!
//! Over the rest of a request HTTP/1 closes the connection, which may take the answer along with
//! it. HTTP/2 resets the stream, which is no error (RFC 9113, section 8.1), and yet some clients
//! lose the answer over it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::model::limits;

pub struct Lent<B: Body> {
    /// Until it goes back.
    body: Option<B>,
    /// None: nobody wants it back.
    back: Option<oneshot::Sender<B>>,
}

/// Where the rest of a body comes back to. None: none is left, whatever is read.
pub(super) struct Rest<B>(Option<oneshot::Receiver<B>>);

pub(super) fn lend<B: Body>(body: B) -> (Lent<B>, Rest<B>) {
    if body.is_end_stream() {
        return give(body);
    }
    let (back, rest) = oneshot::channel();
    (Lent { body: Some(body), back: Some(back) }, Rest(Some(rest)))
}

/// Lends it for good.
pub(super) fn give<B: Body>(body: B) -> (Lent<B>, Rest<B>) {
    (Lent { body: Some(body), back: None }, Rest(None))
}

impl<B> Rest<B> {
    /// What is left of the body, if whoever answered has let go of it.
    pub(super) fn back(self) -> Option<B> {
        self.0?.try_recv().ok()
    }
}

/// Takes a body in that nobody reads: so much as a request may have, and only for a moment. Who
/// sends more, or never ends it, is answered as well.
pub(super) async fn take_in<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let all = async {
        let mut room = limits::HTTP_BODY;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match room.checked_sub(len) {
                Some(left) => room = left,
                None => return,
            }
        }
    };
    let _ = timeout(limits::REFUSED_BODY, all).await;
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Lent { body: Some(body), back } = self.get_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            // Read to its end: nothing is left.
            *back = None;
        }
        Poll::Ready(frame)
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

    use futures::stream::{self, BoxStream, StreamExt as _};
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use tokio::time::Instant;

    use super::{Bytes, Frame, Rest, give, lend, limits, take_in};

    type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

    /// A body of so many pieces, and how many of them were taken.
    fn counted(pieces: usize, size: usize, ends: bool) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let pieces = stream::iter(0..pieces).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; size])))
        });
        let body = match ends {
            true => StreamBody::new(pieces.boxed()),
            false => StreamBody::new(pieces.chain(stream::pending()).boxed()),
        };
        (body, taken)
    }

    async fn let_come(rest: Rest<Body>) {
        take_in(rest.back().expect("it came back")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_read_is_taken_in_but_not_without_end() {
        let begun = Instant::now();
        let (body, taken) = counted(3, 10, true);
        let (mut body, rest) = lend(body);
        body.frame().await.unwrap().unwrap();
        drop(body);
        let_come(rest).await;
        assert_eq!((taken.load(Ordering::Relaxed), begun.elapsed()), (3, Duration::ZERO));

        let (body, taken) = counted(10, limits::HTTP_BODY / 2, true);
        let (body, rest) = lend(body);
        drop(body);
        let_come(rest).await;
        assert_eq!((taken.load(Ordering::Relaxed), begun.elapsed()), (3, Duration::ZERO));

        let (body, _) = counted(3, 10, false);
        let (body, rest) = lend(body);
        drop(body);
        let_come(rest).await;
        assert_eq!(begun.elapsed(), limits::REFUSED_BODY);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_read_is_left_alone() {
        let (body, taken) = counted(3, 10, true);
        let (body, rest) = lend(body);
        assert!(rest.back().is_none());
        assert_eq!(taken.load(Ordering::Relaxed), 0);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 30);
    }

    #[tokio::test]
    async fn what_was_read_or_given_or_never_there_does_not_come_back() {
        let (body, rest) = lend(counted(3, 10, true).0);
        body.collect().await.unwrap();
        assert!(rest.back().is_none());
        let (body, rest) = lend(Empty::<Bytes>::new());
        drop(body);
        assert!(rest.back().is_none());
        let (body, rest) = give(counted(3, 10, true).0);
        drop(body);
        assert!(rest.back().is_none());
    }
}
