//! Reading zstd streams in bounded memory: small windows for all, a large one for one at a time.

use std::io::{self, BufRead, Read};
use std::sync::{Condvar, Mutex, PoisonError};

use zstd::zstd_safe::{
    DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, get_error_name,
};

/// Window that every reader may have: 8 MiB, which is what the format's description asks of
/// all decoders (RFC 8878, 3.1.1.1.2).
const SMALL: u32 = 23;

/// Longest header of a frame, magic number included (RFC 8878, 3.1.1).
const HEADER: usize = 18;

/// What zstd says of a window beyond what it may have: its error 16, a number that stays.
const WINDOW_TOO_LARGE: ErrorCode = (16 as ErrorCode).wrapping_neg();

/// Decodes a stream of zstd frames.
///
/// A window of more than 8 MiB, and of up to 128 MiB or less if so asked, is waited for: in a
/// process one reader at a time has one, until it is dropped. Nobody may hold one while
/// waiting for another who may need it. A longer one is an error of the kind
/// [`OutOfMemory`](io::ErrorKind::OutOfMemory).
pub struct ZstdReader<R> {
    inner: R,
    context: DCtx<'static>,
    /// What was read of the present frame, as long as that may be but a part of its header.
    head: Vec<u8>,
    between_frames: bool,
    /// Longest window that is waited for.
    longest: u32,
    large: Option<LargeWindow>,
}

impl<R> std::fmt::Debug for ZstdReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdReader").field("large", &self.large).finish_non_exhaustive()
    }
}

impl<R> ZstdReader<R> {
    /// The longest window that is ever allocated, as a power of two of bytes: 128 MiB.
    pub const LONGEST_WINDOW_LOG: u32 = 27;
}

impl<R: BufRead> ZstdReader<R> {
    /// A reader of all frames of `inner`, to its end.
    ///
    /// # Errors
    ///
    /// If the decoder cannot be set up.
    pub fn new(inner: R) -> io::Result<Self> {
        Self::with_window_log(inner, Self::LONGEST_WINDOW_LOG)
    }

    /// The same with windows of at most 2^`longest` bytes, or 8 MiB if that is more.
    ///
    /// # Errors
    ///
    /// If the decoder cannot be set up.
    pub fn with_window_log(inner: R, longest: u32) -> io::Result<Self> {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(SMALL)).map_err(error)?;
        let (head, longest) = (Vec::new(), longest.min(Self::LONGEST_WINDOW_LOG));
        Ok(Self { inner, context, head, between_frames: true, longest, large: None })
    }

    /// What is decoded.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// What was decoded.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let bytes = self.inner.fill_buf()?;
            let ends = bytes.is_empty();
            let (mut input, mut output) =
                (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            if ends && self.between_frames {
                return Ok(0);
            }
            if self.between_frames {
                self.head.clear();
            }
            let hint = match self.context.decompress_stream(&mut output, &mut input) {
                Err(WINDOW_TOO_LARGE) if self.large.is_none() && self.longest > SMALL => {
                    self.large = Some(LargeWindow::wait());
                    begin_again(&mut self.context, &self.head, self.longest)
                        .and_then(|()| self.context.decompress_stream(&mut output, &mut input))
                }
                result => result,
            };
            let hint = hint.map_err(error)?;
            let (read, written) = (input.pos(), output.pos());
            self.between_frames = hint == 0;
            let more = HEADER.saturating_sub(self.head.len()).min(read);
            self.head.extend_from_slice(&bytes[..more]);
            self.inner.consume(read);
            if written > 0 {
                return Ok(written);
            }
            if ends && !self.between_frames {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a zstd frame is cut"));
            }
        }
    }
}

/// Begins a frame anew whose header begins with `head`, with larger windows allowed.
fn begin_again(context: &mut DCtx<'static>, head: &[u8], longest: u32) -> Result<(), ErrorCode> {
    context.reset(ResetDirective::SessionOnly)?;
    context.set_parameter(DParameter::WindowLogMax(longest))?;
    if !head.is_empty() {
        context
            .decompress_stream(&mut OutBuffer::around(&mut [][..]), &mut InBuffer::around(head))?;
    }
    Ok(())
}

fn error(code: ErrorCode) -> io::Error {
    let kind = match code {
        WINDOW_TOO_LARGE => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, get_error_name(code))
}

static IN_USE: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// The right to a large window.
#[derive(Debug)]
struct LargeWindow(());

impl LargeWindow {
    fn wait() -> Self {
        let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = FREE.wait_while(in_use, |in_use| *in_use);
        *in_use.unwrap_or_else(PoisonError::into_inner) = true;
        Self(())
    }
}

impl Drop for LargeWindow {
    fn drop(&mut self) {
        *IN_USE.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};
    use std::thread;

    use super::*;

    /// Frames of these bytes, each with a window of so many bits, and of no stated size.
    fn frames(frames: &[(&[u8], u32)]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (bytes, window) in frames {
            let mut encoder = zstd::stream::write::Encoder::new(&mut stream, 1).unwrap();
            encoder.window_log(*window).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        stream
    }

    fn read(stream: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        ZstdReader::new(BufReader::with_capacity(piece, stream))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn frames_are_read_whatever_their_windows_and_wherever_the_pieces_end() {
        let large = vec![5; 20 << 20];
        let stream = frames(&[(b"one", 10), (&large, 26), (b"three", 10), (&large[..9 << 20], 27)]);
        let expected = [b"one", &large[..], b"three", &large[..9 << 20]].concat();
        for piece in [1, 2, 3, 7, 17, 64, 1 << 20] {
            assert!(read(&stream, piece).unwrap() == expected, "{piece}");
        }
    }

    #[test]
    fn what_is_no_stream_of_frames_is_an_error() {
        let large = vec![5; 1 << 20];
        let whole = frames(&[(b"one", 10)]);
        assert_eq!(read(&whole, 4).unwrap(), b"one");
        assert_eq!(read(b"", 4).unwrap(), b"");
        let cut = read(&whole[..whole.len() - 1], 4).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert!(read(&[&whole[..], b"more"].concat(), 4).is_err());
        let too_large = read(&frames(&[(&large[..], 28)]), 4).unwrap_err();
        assert_eq!(too_large.kind(), io::ErrorKind::OutOfMemory, "{too_large}");
    }

    #[test]
    fn windows_are_no_longer_than_asked_for() {
        let large = vec![5; 20 << 20];
        let read = |window, longest| {
            let stream = frames(&[(&large, window)]);
            let mut bytes = Vec::new();
            let mut reader = ZstdReader::with_window_log(&stream[..], longest).unwrap();
            reader.read_to_end(&mut bytes).map(|_| bytes == large)
        };
        assert!(read(24, 24).unwrap() && read(23, 0).unwrap() && read(27, 40).unwrap());
        for (window, longest) in [(25, 24), (24, 0)] {
            assert_eq!(read(window, longest).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        }
    }

    #[test]
    fn one_reader_at_a_time_has_a_large_window() {
        let large = vec![7; 9 << 20];
        let stream = frames(&[(&large, 27)]);
        let mut first = ZstdReader::new(&stream[..]).unwrap();
        first.read_exact(&mut [0; 100]).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| read(&stream, 1 << 20));
            assert_eq!(read(&frames(&[(b"small", 10)]), 4).unwrap(), b"small");
            assert!(*IN_USE.lock().unwrap() && !second.is_finished());
            drop(first);
            assert!(second.join().unwrap().unwrap() == large);
        });
    }
}
