//! Frames compressed on several threads, handed back in order.

use std::collections::VecDeque;
use std::io;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use storage_core::{ChunkDigest, Digest};

use super::frame::FrameCompressor;

/// Contents of frames that lie side by side in the blob.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The contents, one after the other.
    pub(super) content: Vec<u8>,
    /// Their lengths.
    pub(super) frames: Vec<Uncompressed>,
}

/// One frame's content in a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Uncompressed {
    pub(super) len: usize,
    /// Whether its digest is wanted.
    pub(super) digest: bool,
}

/// A batch as it goes into the blob.
#[derive(Debug, Default)]
pub(super) struct CompressedBatch {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: Vec<Compressed>,
}

/// One frame of a [`CompressedBatch`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressed {
    pub(super) len: usize,
    /// Of its content, where that was wanted.
    pub(super) digest: Option<ChunkDigest>,
}

type Answer = io::Result<CompressedBatch>;

/// Threads that compress batches.
///
/// What a frame becomes depends on its content alone, so the number of threads
/// cannot be seen in the blob.
#[derive(Debug)]
pub(super) struct Pool {
    jobs: Option<Sender<(Batch, Sender<Answer>)>>,
    threads: Vec<JoinHandle<()>>,
    answers: VecDeque<Receiver<Answer>>,
}

impl Pool {
    pub(super) fn start(threads: usize, level: i32) -> io::Result<Self> {
        let (jobs, queue) = unbounded::<(Batch, Sender<Answer>)>();
        let mut pool = Self { jobs: Some(jobs), threads: Vec::new(), answers: VecDeque::new() };
        for _ in 0..threads.max(1) {
            let queue = queue.clone();
            let mut compressor = FrameCompressor::new(level)?;
            pool.threads.push(thread::Builder::new().name("compress".into()).spawn(move || {
                for (batch, answer) in queue {
                    // Nobody waits for the answer when writing has failed.
                    answer.send(compress(&mut compressor, &batch)).ok();
                }
            })?);
        }
        Ok(pool)
    }

    /// Batches that were pushed and not taken.
    pub(super) fn pending(&self) -> usize {
        self.answers.len()
    }

    /// Whether as many batches are under way as keep all threads busy.
    pub(super) fn is_full(&self) -> bool {
        self.pending() > 2 * self.threads.len()
    }

    pub(super) fn push(&mut self, batch: Batch) {
        let (answer, result) = bounded(1);
        if let Some(jobs) = &self.jobs {
            // If no thread is left, `pop` finds that there is no answer.
            jobs.send((batch, answer)).ok();
        }
        self.answers.push_back(result);
    }

    /// Waits for the oldest batch that was pushed and not yet taken.
    pub(super) fn pop(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        Some(answer.recv().unwrap_or_else(|_| Err(io::Error::other("a thread has died"))))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic has shown as a missing answer.
            thread.join().ok();
        }
    }
}

fn compress(compressor: &mut FrameCompressor, batch: &Batch) -> Answer {
    let mut done = CompressedBatch::default();
    let mut rest = &batch.content[..];
    for frame in &batch.frames {
        let (content, after) = rest.split_at(frame.len);
        rest = after;
        done.frames.push(Compressed {
            len: compressor.append(content, &mut done.bytes)?,
            digest: frame.digest.then(|| Digest::of(content).into()),
        });
    }
    Ok(done)
}
