//! Frames to bytes.

use std::io;

use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use crate::Limits;

const BUFFER: usize = 128 << 10;

/// Decodes chunks that are in memory, each of one frame or several.
pub(super) struct WholeDecoder {
    context: DCtx<'static>,
    output: Vec<u8>,
}

impl Default for WholeDecoder {
    fn default() -> Self {
        Self { context: DCtx::create(), output: Vec::new() }
    }
}

impl WholeDecoder {
    /// All that `frames` hold, which should be `size` bytes; more than a little
    /// over that is an error of the decoder.
    pub(super) fn decode(&mut self, frames: &[u8], size: usize) -> io::Result<&[u8]> {
        self.output.clear();
        self.output.reserve(size);
        self.context.decompress(&mut self.output, frames).map_err(error)?;
        Ok(&self.output)
    }
}

/// Decodes a chunk that is too large for memory, as it comes.
///
/// It may need a window of up to 32 MiB.
pub(super) struct StreamDecoder {
    context: DCtx<'static>,
    buffer: Vec<u8>,
    /// Whether the input so far ends with a frame.
    between_frames: bool,
}

impl StreamDecoder {
    pub(super) fn new() -> io::Result<Self> {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(Limits::CHUNK_WINDOW_LOG)).map_err(error)?;
        Ok(Self { context, buffer: vec![0; BUFFER], between_frames: true })
    }

    /// Forgets all that was decoded, for the next chunk.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.between_frames = true;
        self.context.reset(ResetDirective::SessionOnly).map_err(error)?;
        Ok(())
    }

    /// Decodes the next bytes, and hands on what comes out.
    pub(super) fn feed<E: From<io::Error>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(error)?;
            let written = output.pos();
            self.between_frames = hint == 0;
            if written > 0 {
                take(&self.buffer[..written])?;
            }
            // A full buffer may mean that there is more to come without input.
            if input.pos() == bytes.len() && (written < BUFFER || hint == 0) {
                return Ok(());
            }
        }
    }

    /// Whether the input could end here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.between_frames
    }
}

fn error(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
}
