//! zstd frames, from a slice or from a stream.

use std::io::{self, Write};

use zstd::bulk::Compressor;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::{CParameter, Strategy, compress_bound};

/// Largest window that any decoder is asked for: 8 MiB, which is what decoders
/// that were told nothing must accept.
const MAX_WINDOW_LOG: u32 = 23;

/// Levels above this one would choose a larger window by themselves.
const LAST_LEVEL_WITHIN_WINDOW: i32 = 19;

/// Makes whole frames out of slices, one after the other.
///
/// Frames carry their content's size and no checksum: a digest in the TOC and one
/// of the blob cover every byte, and four bytes a frame are half a megabyte in an
/// image of a hundred thousand small files.
pub(super) struct FrameCompressor {
    context: Compressor<'static>,
    frame: Vec<u8>,
}

impl FrameCompressor {
    pub(super) fn new(level: i32) -> io::Result<Self> {
        let mut context = Compressor::new(level)?;
        context.include_checksum(false)?;
        if level > LAST_LEVEL_WITHIN_WINDOW {
            context.set_parameter(CParameter::WindowLog(MAX_WINDOW_LOG))?;
        }
        Ok(Self { context, frame: Vec::new() })
    }

    /// Appends `content` as one frame to `out`; tells the frame's length.
    pub(super) fn append(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        self.frame.clear();
        self.frame.reserve(compress_bound(content.len()));
        let len = self.context.compress_to_buffer(content, &mut self.frame)?;
        out.extend_from_slice(&self.frame);
        Ok(len)
    }
}

/// One frame from a stream whose length is not known before; no checksum either.
pub(super) fn stream<W: Write>(out: W, level: i32) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(out, level)?;
    encoder.include_checksum(false)?;
    if level > LAST_LEVEL_WITHIN_WINDOW {
        encoder.window_log(MAX_WINDOW_LOG)?;
    }
    Ok(encoder)
}

/// One frame of JSON that is full of digests: a TOC, or a tar-split.
///
/// Compressed harder than by level 19, and in half of its time. Measured on both of
/// an image of 20,000 entries, 30 MB in all: level 19 gives 2,297,037 bytes in 23 s of
/// CPU time, level 22 2,246,245 in 71 s with 1.3 GiB of memory; this 2,262,668 in 10 s
/// with 60 MiB. Short matches and long ones count here (digests between field names;
/// blocks of headers that differ in few bytes), hence the lengths.
pub(super) fn metadata<W: Write>(out: W) -> io::Result<Encoder<'static, W>> {
    let mut encoder = stream(out, LAST_LEVEL_WITHIN_WINDOW)?;
    for parameter in [
        CParameter::WindowLog(MAX_WINDOW_LOG),
        CParameter::Strategy(Strategy::ZSTD_btopt),
        CParameter::MinMatch(3),
        CParameter::TargetLength(999),
        CParameter::SearchLog(5),
        CParameter::HashLog(20),
        CParameter::ChainLog(22),
    ] {
        encoder.set_parameter(parameter)?;
    }
    Ok(encoder)
}

/// A payload that plain zstd decoders pass over.
pub(super) fn write_skippable(mut out: impl Write, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(|_| {
        io::Error::new(io::ErrorKind::FileTooLarge, "a skippable frame holds less than 4 GiB")
    })?;
    out.write_all(&SKIPPABLE_MAGIC.to_le_bytes())?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(payload)
}

/// Bytes in front of the payload of a skippable frame.
pub(crate) const SKIPPABLE_HEADER: u64 = 8;

const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
