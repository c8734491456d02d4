//! Work that blocks, on other threads; in a simulation all of it is done on the one there is.

use std::future::Future;
use std::io;
use std::thread::{Builder, JoinHandle};

use super::chance::is_seeded;

/// Does work that blocks while other tasks go on. It fails only where the work has panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if is_seeded() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Does work on a thread of its own; in a simulation before it returns.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if is_seeded() {
        work();
        return Ok(());
    }
    Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// A task that may block: it has a thread of its own, but for a simulation's.
#[derive(Debug)]
pub struct Worker(Option<JoinHandle<()>>);

impl Worker {
    pub fn start(
        name: &str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Worker> {
        if is_seeded() {
            tokio::spawn(task);
            return Ok(Worker(None));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = Builder::new().name(name.to_owned());
        Ok(Worker(Some(thread.spawn(move || runtime.block_on(task))?)))
    }

    /// Waits for the end of the thread; a simulation's task ends by itself.
    pub fn join(self) {
        // A panic has been told to whoever waited for the work.
        let _ = self.0.map(JoinHandle::join);
    }
}
