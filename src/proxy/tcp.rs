//! A TCP upstream's connection: bytes both ways, each end closed when its peer closes.

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::lifecycle::Shutdown;

use super::activity::{Activity, Watched, drained};
use super::connect::Tried;
use super::upstream::Upstream;

/// Of each direction.
const BUFFER: usize = 16 * 1024;

/// Serves one client. Where no instance can be had, the client sees a reset rather than an orderly
/// end, which it could take for an empty answer.
pub(super) async fn serve(upstream: &Upstream, client: TcpStream, shutdown: &Shutdown) {
    let mut tried = Tried::default();
    let (_picked, mut server) = match tried.connection(upstream).await {
        Ok(connected) => connected,
        Err(failure) => {
            tracing::warn!(service = %upstream.label, %failure, "a connection was refused");
            // Without the option the client sees an end of stream.
            let _ = client.set_zero_linger();
            return;
        }
    };
    let activity = Activity::new();
    let _serving = activity.serve();
    let mut client = Watched::new(client, activity.clone());
    let copying = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER);
    tokio::select! {
        // A broken connection is the business of its two ends; both are closed now.
        _ = copying => {}
        () = activity.expired(&upstream.config.timeouts) => {
            tracing::debug!(service = %upstream.label, "an idle connection was closed");
        }
        () = drained(shutdown, upstream.config.timeouts.drain) => {}
    }
}
