//! The threads on which everything asynchronous happens.

use std::future::Future;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// Threads for sockets.
///
/// Only handles that users hold own one, never a task that runs on it.
#[derive(Debug)]
pub(super) struct Net(Option<Runtime>);

impl Net {
    pub(super) fn start() -> io::Result<Self> {
        // Two threads move more bytes than hashing can take.
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("reflayer-net")
            .enable_io()
            .enable_time()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    /// Runs a task and waits for what it gives.
    ///
    /// Works on any thread, also on one of another runtime, where blocking on a
    /// future is forbidden but waiting for a channel is not.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move {
            // Refused only when the waiting thread is gone.
            drop(sender.send(task.await));
        });
        receiver.recv().expect("only a task that panicked sends nothing")
    }

    /// Starts a task.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let runtime = self.0.as_ref().expect("taken only on drop");
        runtime.spawn(task).abort_handle()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Does not wait for a name server that does not answer.
            runtime.shutdown_background();
        }
    }
}
