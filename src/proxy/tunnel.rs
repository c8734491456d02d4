//! After a change of protocol (a WebSocket, say): bytes both ways until one end closes.

use std::future::poll_fn;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional};

use super::activity::Serving;
use super::lane::Lane;
use super::upstream::Picked;

/// The ends of a connection whose protocol has changed.
pub(super) struct Tunnel {
    pub client: OnUpgrade,
    pub lane: Lane,
    pub picked: Picked,
    pub serving: Serving,
}

impl Tunnel {
    /// Runs until an end closes.
    pub(super) async fn run(mut self) {
        // The lane hands its socket over by ending.
        poll_fn(|cx| self.lane.drive(cx)).await;
        let (mut instance, early) = self.lane.into_stream();
        let Ok(client) = self.client.await else { return };
        let mut client = TokioIo::new(client);
        if client.write_all(&early).await.is_ok() {
            // A broken connection is the business of its two ends; both are closed now.
            let _ = copy_bidirectional(&mut client, &mut instance).await;
        }
        drop((self.picked, self.serving));
    }
}
