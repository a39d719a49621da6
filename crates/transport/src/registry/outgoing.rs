//! A file as the body of a request.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// What is read at once, and how much of it may wait: 1 MiB for each upload.
const BLOCK: usize = 256 * 1024;
const DEPTH: usize = 3;

/// Is told how many bytes of a blob have gone out so far; less than before after a restart.
pub(super) type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// A file's bytes, read by another thread as they are sent.
pub(super) struct Outgoing {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    size: u64,
    /// Bytes that the connection has taken.
    sent: Arc<AtomicU64>,
    told: Told,
}

impl Outgoing {
    /// The first `size` bytes of `file`. Must be called on a thread of the runtime.
    pub(super) fn new(file: Arc<File>, size: u64, sent: Arc<AtomicU64>, told: Told) -> Self {
        let (sender, blocks) = mpsc::channel(DEPTH);
        tokio::task::spawn_blocking(move || read(&file, size, &sender));
        Self { blocks, size, sent, told }
    }

    fn left(&self) -> u64 {
        self.size.saturating_sub(self.sent.load(Ordering::Relaxed))
    }
}

/// Reads until the end, an error, or until nobody wants any more.
fn read(file: &File, size: u64, to: &mpsc::Sender<io::Result<Bytes>>) {
    let mut at = 0;
    while at < size {
        // At most a block, so it fits.
        let mut block = vec![0; usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK)];
        let read = file.read_exact_at(&mut block, at);
        at += block.len() as u64;
        let failed = read.is_err();
        if to.blocking_send(read.map(|()| block.into())).is_err() || failed {
            return;
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(block) = ready!(self.blocks.poll_recv(context)) else {
            let cut = self.left() > 0;
            return Poll::Ready(cut.then(|| Err(io::ErrorKind::UnexpectedEof.into())));
        };
        Poll::Ready(Some(block.map(|block| {
            let length = block.len() as u64;
            let sent = self.sent.fetch_add(length, Ordering::Relaxed) + length;
            (self.told)(sent);
            Frame::data(block)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
