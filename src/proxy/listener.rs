//! Accepts an upstream's clients, as many at once as the limit allows.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::lifecycle::Life;

use super::config::Protocol;
use super::upstream::Upstream;
use super::{http1, tcp};

/// After an error of accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
    content-length: 40\r\nconnection: close\r\n\r\nremora: too many connections, try later\n";

/// Runs until the shutdown; the connections then drain by themselves.
pub(super) async fn listen(listener: TcpListener, upstream: Arc<Upstream>, life: Life) {
    let permits = Arc::new(Semaphore::new(upstream.config.connections));
    while let Some(accepted) = life.shutdown.or(listener.accept()).await {
        let (client, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(service = %upstream.label, %error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            upstream.meter.refused.inc();
            refuse(upstream.config.protocol, client);
            continue;
        };
        let open = upstream.meter.open();
        // Only a latency is lost where the option cannot be set.
        let _ = client.set_nodelay(true);
        let (upstream, shutdown) = (upstream.clone(), life.shutdown.clone());
        life.tasks.spawn("proxy connection", async move {
            match upstream.config.protocol {
                Protocol::Tcp => tcp::serve(&upstream, client, &shutdown).await,
                Protocol::Http => http1::serve(&upstream, client, peer.ip(), &shutdown).await,
            }
            drop((permit, open));
        });
    }
}

/// Says so where the protocol allows, without waiting for the client.
fn refuse(protocol: Protocol, mut client: TcpStream) {
    match protocol {
        Protocol::Http => {
            // The socket is new: its buffer takes the few bytes at once.
            let _ = client.write_all(TOO_MANY).now_or_never();
        }
        Protocol::Tcp => {
            let _ = client.set_zero_linger();
        }
    }
}
