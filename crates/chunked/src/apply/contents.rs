//! Frames to chunks, and chunks to all their places.

use std::io;

use storage_core::{Digest, FsError, FsResultExt, Hasher, VerifyError};

use super::ApplyError;
use super::decode::{StreamDecoder, WholeDecoder};
use crate::making::Making;
use crate::plan::Missing;
use crate::plan::ranges::Part;
use crate::sparse;
use crate::{Chunk, TocFile};

/// Longest chunk, compressed and not, that is held in memory and decoded in one go.
const COMPRESSED: u64 = 1 << 20;
const DECODED: u64 = 4 << 20;

/// Decodes chunks, verifies them, and writes them to their files.
#[derive(Default)]
pub(super) struct Contents {
    whole: WholeDecoder,
    /// Only one large chunk is decoded at a time, since its window may be large.
    streaming: Option<Streaming>,
    idle: Option<StreamDecoder>,
}

/// A large chunk that is on its way.
struct Streaming {
    /// The range that it comes from.
    lane: usize,
    decoder: StreamDecoder,
    decoded: u64,
    hasher: Option<Hasher>,
    /// Whether its file hashes it as it comes.
    next: bool,
}

/// Why a decoded byte could not be taken.
enum Refusal {
    Decoder(io::Error),
    Long,
    Fs(FsError),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Decoder(error)
    }
}

/// Whether a chunk is decoded as it comes, rather than in one go.
pub(super) fn is_streamed(chunk: Chunk, part: &Part) -> bool {
    part.end - part.start > COMPRESSED || chunk.size > DECODED
}

impl Contents {
    /// Whether nobody has the stream decoder.
    pub(super) fn is_free(&self) -> bool {
        self.streaming.is_none()
    }

    /// Whether bytes of a chunk, which come in `lane`, can be taken now.
    pub(super) fn is_free_for(&self, chunk: Chunk, part: &Part, lane: usize) -> bool {
        match &self.streaming {
            Some(other) if other.lane != lane => !is_streamed(chunk, part),
            _ => true,
        }
    }

    /// Takes the missing chunk of that number, which is here in whole.
    pub(super) fn write_whole(
        &mut self,
        number: usize,
        missing: &Missing,
        frames: &[u8],
        making: &mut Making<'_, '_>,
    ) -> Result<(), ApplyError> {
        let part = &missing.parts[number];
        let file = making.toc.file_number(part.file);
        let chunk = file.chunk(part.chunk);
        let size = usize::try_from(chunk.size).unwrap_or(usize::MAX);
        let bytes = self.whole.decode(frames, size).map_err(|e| decode_error(file, part, e))?;
        check_length(file, chunk.size, bytes.len() as u64)?;
        if let Some(expected) = chunk.digest {
            check_digest(file, *expected.digest(), Digest::of(bytes))?;
        }
        making.write(part.file, part.chunk, bytes)?;
        making.report.written += chunk.size;
        for copy in missing.copies_of(number) {
            making.write(copy.file, copy.chunk, bytes)?;
            making.report.reused_chunks += chunk.size;
        }
        Ok(())
    }

    /// Takes the next bytes of a large chunk, which come in `lane`; `last` if it
    /// ends with them.
    pub(super) fn stream(
        &mut self,
        number: usize,
        missing: &Missing,
        (lane, frames, last): (usize, &[u8], bool),
        making: &mut Making<'_, '_>,
    ) -> Result<(), ApplyError> {
        let part = &missing.parts[number];
        let file = making.toc.file_number(part.file);
        let chunk = file.chunk(part.chunk);
        let path = file.path();
        let output = making.outputs.get(file, &mut making.tree)?;
        let mut streaming = if let Some(streaming) = self.streaming.take() {
            streaming
        } else {
            let decoder = match self.idle.take() {
                Some(decoder) => decoder,
                None => StreamDecoder::new().map_err(|e| decode_error(file, part, e))?,
            };
            let next = output.is_next(part.chunk)?;
            let hasher = chunk.digest.map(|_| Hasher::new());
            Streaming { lane, decoder, decoded: 0, hasher, next }
        };
        let Streaming { decoder, decoded, hasher, next, .. } = &mut streaming;
        decoder
            .feed(frames, |bytes| {
                let end = *decoded + bytes.len() as u64;
                if end > chunk.size {
                    return Err(Refusal::Long);
                }
                let offset = chunk.file_offset + std::mem::replace(decoded, end);
                if let Some(hasher) = hasher {
                    hasher.update(bytes);
                }
                if *next {
                    output.assembly.hash(bytes);
                }
                let written = sparse::write_at(output.target(), bytes, offset);
                written.during("write", path.as_path()).map_err(Refusal::Fs)
            })
            .map_err(|refusal| match refusal {
                Refusal::Decoder(error) => decode_error(file, part, error),
                Refusal::Fs(error) => ApplyError::Fs(error),
                Refusal::Long => content_error(file, VerifyError::Long { expected: chunk.size }),
            })?;
        if last {
            self.end_stream(number, missing, streaming, making)
        } else {
            self.streaming = Some(streaming);
            Ok(())
        }
    }

    fn end_stream(
        &mut self,
        number: usize,
        missing: &Missing,
        streaming: Streaming,
        making: &mut Making<'_, '_>,
    ) -> Result<(), ApplyError> {
        let part = &missing.parts[number];
        let file = making.toc.file_number(part.file);
        let chunk = file.chunk(part.chunk);
        let Streaming { mut decoder, decoded, hasher, next, .. } = streaming;
        if !decoder.is_between_frames() {
            return Err(decode_error(file, part, io::ErrorKind::UnexpectedEof.into()));
        }
        check_length(file, chunk.size, decoded)?;
        if let (Some(expected), Some(hasher)) = (chunk.digest, hasher) {
            check_digest(file, *expected.digest(), hasher.finish())?;
        }
        decoder.reset().map_err(|error| decode_error(file, part, error))?;
        self.idle = Some(decoder);
        let output = making.outputs.get(file, &mut making.tree)?;
        let copies = missing.copies_of(number);
        let source = (!copies.is_empty()).then(|| output.target().try_clone()).transpose();
        let source = source.during("duplicate the handle of", file.path().as_path())?;
        output.assembly.put(part.chunk, next);
        making.finish_if_whole(file, None)?;
        making.report.written += chunk.size;
        for (copy, source) in copies.iter().zip(source.iter().cycle()) {
            making.copy(copy.file, copy.chunk, source, chunk.file_offset)?;
            making.report.reused_chunks += chunk.size;
        }
        Ok(())
    }
}

fn check_length(file: TocFile<'_>, expected: u64, actual: u64) -> Result<(), ApplyError> {
    match actual {
        _ if actual < expected => Err(content_error(file, VerifyError::Short { expected, actual })),
        _ if actual > expected => Err(content_error(file, VerifyError::Long { expected })),
        _ => Ok(()),
    }
}

fn check_digest(file: TocFile<'_>, expected: Digest, actual: Digest) -> Result<(), ApplyError> {
    if expected == actual {
        return Ok(());
    }
    Err(content_error(file, VerifyError::Digest { expected, actual }))
}

fn content_error(file: TocFile<'_>, source: VerifyError) -> ApplyError {
    ApplyError::Content { path: file.path(), source }
}

fn decode_error(file: TocFile<'_>, part: &Part, source: io::Error) -> ApplyError {
    ApplyError::Decode { path: file.path(), range: part.start..part.end, source }
}
