//! A response's body on its way to the client: a short text of ours, or an instance's as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Serving;
use super::lane::Lane;
use super::upstream::{Picked, Upstream};

pub(super) enum Download {
    Text(Option<Bytes>),
    Instance(Box<Relay>),
}

/// Drives the lane that the body comes through, and gives it back when the body is complete. A
/// client that goes away drops it, and the connection to the instance with it.
pub(super) struct Relay {
    body: Incoming,
    lane: Option<Lane>,
    picked: Picked,
    upstream: Arc<Upstream>,
    _serving: Serving,
}

impl Download {
    pub(super) fn text(text: String) -> Download {
        Download::Text(Some(text.into()))
    }

    /// The body of a response that has just begun.
    pub(super) fn instance(
        body: Incoming,
        lane: Lane,
        picked: Picked,
        upstream: Arc<Upstream>,
        serving: Serving,
    ) -> Download {
        let lane = Some(lane);
        Download::Instance(Box::new(Relay { body, lane, picked, upstream, _serving: serving }))
    }

    /// Nobody asks for a body that is empty: what hangs on it is given back now.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if let Download::Instance(relay) = self
            && relay.body.is_end_stream()
        {
            relay.finish(cx);
            *self = Download::Text(None);
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(lane) = &mut self.lane
        {
            if lane.drive(cx).is_ready() {
                self.lane = None;
            }
            polled = Pin::new(&mut self.body).poll_frame(cx);
        }
        match &polled {
            Poll::Ready(None) => self.finish(cx),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.finish(cx),
            Poll::Ready(Some(Err(_))) => self.lane = None,
            _ => {}
        }
        polled
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(mut lane) = self.lane.take()
            && lane.is_ready(cx)
        {
            lane.reused = true;
            self.picked.target.pool.put(self.upstream.now(), lane);
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Download::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Download::Instance(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Download::Text(text) => text.is_none(),
            Download::Instance(relay) => relay.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Download::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Download::Instance(relay) => relay.body.size_hint(),
        }
    }
}
