//! Threads joined by bounded channels of bytes.

use std::io::{self, Read, Write};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};

/// Bytes in one message, and messages under way at most: 2 MiB a channel.
const BLOCK: usize = 256 * 1024;
const DEPTH: usize = 8;

type Message = io::Result<Bytes>;

/// The reading end of a channel that another thread fills.
#[derive(Debug)]
pub(crate) struct ChannelReader {
    receiver: Receiver<Message>,
    current: Bytes,
    ended: bool,
}

/// A channel, and a reader of what is sent into it.
pub(crate) fn channel() -> (Sender<Message>, ChannelReader) {
    let (sender, receiver) = bounded(DEPTH);
    (sender, ChannelReader { receiver, current: Bytes::new(), ended: false })
}

/// The writing end of a channel, for what writes rather than reads.
#[derive(Debug)]
pub(crate) struct ChannelWriter(Sender<Message>);

impl ChannelWriter {
    pub(crate) fn new(to: Sender<Message>) -> Self {
        Self(to)
    }

    /// Says that the stream is complete; without this, its reader gets an error.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.send(Bytes::new())
    }

    fn send(&self, block: Bytes) -> io::Result<()> {
        self.0.send(Ok(block)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An empty block would be the end of the stream.
        if !bytes.is_empty() {
            self.send(Bytes::copy_from_slice(bytes))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads `from` to its end and hands every block to `each`, then to the channel.
///
/// The end of the stream, or the error that ended it, is the last message; a
/// channel closed without one was left by a thread that died.
pub(crate) fn pump(mut from: impl Read, to: &Sender<Message>, mut each: impl FnMut(&[u8])) {
    loop {
        let message = read_block(&mut from);
        if let Ok(block) = &message {
            each(block);
        }
        let last = !matches!(&message, Ok(block) if !block.is_empty());
        if to.send(message).is_err() || last {
            return;
        }
    }
}

/// The next block: full, or the last one, which may be empty.
fn read_block(from: &mut impl Read) -> Message {
    let mut block = Vec::with_capacity(BLOCK);
    from.take(BLOCK as u64).read_to_end(&mut block)?;
    Ok(block.into())
}

impl Read for ChannelReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            let message = self.receiver.recv();
            let lost = || io::Error::new(io::ErrorKind::BrokenPipe, "the thread that reads died");
            self.current = message.map_err(|_| lost())??;
            self.ended = self.current.is_empty();
        }
        let n = buf.len().min(self.current.len());
        buf[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_errors_cross_the_channel_in_order() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("unplugged"));
                }
                let n = buf.len().min(self.0);
                buf[..n].fill(7);
                self.0 -= n;
                Ok(n)
            }
        }
        let (sender, mut reader) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || pump(&vec![1; 1_000_000][..], &sender, |_| {}));
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all, vec![1; 1_000_000]);
        });
        let (sender, mut reader) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || pump(Failing(300_000), &sender, |_| {}));
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "unplugged");
        });
    }
}
