//! What the process is told from outside.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Returns on SIGTERM or SIGINT. SIGHUP is logged: the config is read at the start only.
pub async fn until_told_to_stop() -> Result<()> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                tracing::warn!("SIGHUP: the config is read at the start only; nothing was reloaded");
            }
        }
    }
    tracing::info!("told to stop");
    Ok(())
}
