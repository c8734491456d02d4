//! Named tasks: a panic is logged with the task's name, and all are awaited at the end.

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
}

impl Tasks {
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // On the heap by itself: what runs a task is compiled once for all of them.
        self.run(name, Box::pin(task));
    }

    fn run(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let running = tokio::spawn(task);
        self.tracker.spawn(async move {
            if let Err(error) = running.await
                && error.is_panic()
            {
                tracing::error!(task = name, %error, "a task has panicked");
            }
        });
    }

    /// Waits for all tasks to end; false if the deadline came first.
    pub async fn join(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}
