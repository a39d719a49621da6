//! The way of bytes from tasks to a thread that waits for them, with room for a few.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use storage_core::{Arriving, Piece, SourceError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::net::Net;

/// Bytes that may be on the way; beyond it the network waits.
const ROOM: usize = 4 << 20;

enum Message {
    Piece(Piece, OwnedSemaphorePermit),
    Failed(SourceError),
    Done,
}

/// Where tasks put bytes. What is sent at the end says whether all of them came.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
}

impl Outlet {
    /// Waits for room. A reader that is gone will have cancelled the task.
    pub(super) async fn room(&self, bytes: usize) -> Permit {
        let permits = u32::try_from(bytes.clamp(1, ROOM)).expect("no more than the room");
        let permit = self.room.clone().acquire_many_owned(permits).await;
        Permit(permit.expect("the semaphore is never closed"))
    }

    /// Hands a piece over; does not wait.
    pub(super) fn send(&self, range: usize, offset: u64, bytes: Bytes, permit: Permit) {
        self.put(Message::Piece(Piece { range, offset, bytes }, permit.0));
    }

    /// Ends the pieces.
    pub(super) fn finish(&self, result: Result<(), SourceError>) {
        self.put(result.map_or_else(Message::Failed, |()| Message::Done));
    }

    fn put(&self, message: Message) {
        // Refused only when nobody reads any more.
        let _: Result<(), _> = self.sender.send(message).map_err(drop);
    }
}

/// Room for one piece.
#[derive(Debug)]
pub(super) struct Permit(OwnedSemaphorePermit);

/// Where a thread takes the pieces; dropping it cancels the task behind them.
pub(super) struct Inlet {
    receiver: mpsc::Receiver<Message>,
    task: AbortHandle,
    /// What was received and not yet asked for.
    next: Option<Message>,
    ended: bool,
    /// Keeps the threads alive on which the task runs.
    _net: Arc<Net>,
}

/// Starts a task that puts pieces into an outlet.
pub(super) fn start<F>(net: &Arc<Net>, task: impl FnOnce(Outlet) -> F) -> Inlet
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let room = Arc::new(Semaphore::new(ROOM));
    let task = net.spawn(task(Outlet { sender, room }));
    Inlet { receiver, task, next: None, ended: false, _net: net.clone() }
}

impl Iterator for Inlet {
    type Item = Result<Piece, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.next.take().map_or_else(|| self.receiver.recv(), Ok) {
            Ok(Message::Piece(piece, permit)) => {
                drop(permit);
                return Some(Ok(piece));
            }
            Ok(Message::Done) => self.ended = true,
            Ok(Message::Failed(error)) => {
                self.ended = true;
                return Some(Err(error));
            }
            Err(mpsc::RecvError) => {
                self.ended = true;
                let attempt = "fetch the rest of the ranges".into();
                return Some(Err(SourceError { attempt, source: "the task was stopped".into() }));
            }
        }
        None
    }
}

impl Arriving for Inlet {
    fn is_ready(&mut self) -> bool {
        if self.next.is_none() && !self.ended {
            match self.receiver.try_recv() {
                Ok(message) => self.next = Some(message),
                Err(mpsc::TryRecvError::Empty) => return false,
                // The next one says so.
                Err(mpsc::TryRecvError::Disconnected) => {}
            }
        }
        true
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.task.abort();
    }
}
