//! A stream behind one buffer, from which whole headers can be borrowed.

use std::io::{self, ErrorKind, Read};

use crate::TarError;

/// What is read at once.
const BUFFER: usize = 256 << 10;

/// Bytes of a stream that were read and not yet taken.
#[derive(Debug)]
pub(crate) struct Input<R> {
    stream: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the stream of what comes next.
    offset: u64,
    ended: bool,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, end: 0, offset: 0, ended: false }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until so many bytes are available; fewer are at the end of the stream only.
    pub(crate) fn fill(&mut self, wanted: usize) -> Result<&[u8], TarError> {
        while self.end - self.start < wanted && !self.ended {
            self.make_room(wanted);
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.offset + (self.end - self.start) as u64;
                    return Err(TarError::Read { offset, source });
                }
            }
        }
        Ok(self.available())
    }

    /// Takes bytes that are available.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let taken = self.start..self.start + count;
        debug_assert!(taken.end <= self.end, "taken before it was there");
        self.start = taken.end;
        self.offset += count as u64;
        &self.buffer[taken]
    }

    pub(crate) fn into_stream(self) -> R {
        self.stream
    }

    /// Moves what is available to the front when it is little or in the way.
    fn make_room(&mut self, wanted: usize) {
        let available = self.end - self.start;
        if available == 0 || self.buffer.len() - self.start < wanted.max(BUFFER / 4) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, available);
        }
        if self.buffer.len() < wanted.max(BUFFER) {
            self.buffer.resize(wanted.max(BUFFER), 0);
        }
    }
}

impl From<TarError> for io::Error {
    /// Keeps the kind of what the stream or the sink said; anything else is invalid data.
    fn from(error: TarError) -> Self {
        let kind = match &error {
            TarError::Read { source, .. } | TarError::Record { source, .. } => source.kind(),
            TarError::CutHeader { .. } | TarError::CutContent { .. } => ErrorKind::UnexpectedEof,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, and an interruption before each.
    struct Bits<'a>(&'a [u8], bool);

    impl Read for Bits<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = out.len().min(7);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn bytes_come_in_order_whatever_is_asked_for() {
        let stream: Vec<u8> = (0..=255u8).cycle().take(700_000).collect();
        let mut input = Input::new(Bits(&stream, false));
        let mut seen = Vec::new();
        for wanted in [1, 511, 100_000, 3, 400_000, 1_000_000] {
            let available = input.fill(wanted).unwrap();
            assert!(available.len() >= wanted || seen.len() + available.len() == stream.len());
            let count = available.len().min(wanted) / 2 + 1;
            assert_eq!(input.offset(), seen.len() as u64);
            seen.extend_from_slice(input.take(count));
        }
        assert_eq!(seen, stream[..seen.len()]);
        assert!(seen.len() > 400_000);
    }

    #[test]
    fn errors_say_where_and_keep_their_kind() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        let mut input = Input::new((&b"abc"[..]).chain(Broken));
        let error = input.fill(4).unwrap_err();
        assert!(matches!(error, TarError::Read { offset: 3, .. }));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
    }
}
