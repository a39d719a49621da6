//! Chunks to files.

use std::io;
use std::os::unix::fs::FileExt;

use storage_core::{Digest, FsError, FsResultExt, Hasher, VerifyError};
use tree::TreeWriter;

use super::ApplyError;
use super::decode::{StreamDecoder, WholeDecoder};
use super::outputs::Outputs;
use crate::plan::ranges::Part;
use crate::{Chunk, LayerBytes, Prover, Toc, TocFile};

/// Longest chunk, compressed and not, that is held in memory and decoded in one go.
const COMPRESSED: u64 = 1 << 20;
const DECODED: u64 = 4 << 20;

/// Decodes chunks, verifies them, and writes them to their files.
pub(super) struct Files<'a, 't: 'a, 'd> {
    toc: &'t Toc,
    tree: &'a mut TreeWriter<'d>,
    prover: &'a Prover,
    report: LayerBytes,
    outputs: Outputs<'a>,
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
    in_order: bool,
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

impl<'a, 't: 'a, 'd> Files<'a, 't, 'd> {
    pub(super) fn new(
        toc: &'t Toc,
        parts: &'a [Part],
        tree: &'a mut TreeWriter<'d>,
        prover: &'a Prover,
        report: LayerBytes,
    ) -> Self {
        let (outputs, whole) = (Outputs::new(toc, parts), WholeDecoder::new());
        Self { toc, tree, prover, report, outputs, whole, streaming: None, idle: None }
    }

    pub(super) fn fetched(&mut self, bytes: u64) {
        self.report.fetched += bytes;
    }

    pub(super) fn finish(self) -> LayerBytes {
        self.report
    }

    pub(super) fn chunk(&self, part: &Part) -> Chunk {
        self.toc.file_number(part.file).chunk(part.chunk)
    }

    /// Whether a chunk is decoded as it comes, rather than in one go.
    pub(super) fn streams(chunk: Chunk, part: &Part) -> bool {
        part.end - part.start > COMPRESSED || chunk.size > DECODED
    }

    /// Whether nobody has the stream decoder.
    pub(super) fn is_free(&self) -> bool {
        self.streaming.is_none()
    }

    /// Whether bytes of `part`, which come in `lane`, can be taken now.
    pub(super) fn is_free_for(&self, part: &Part, lane: usize) -> bool {
        match &self.streaming {
            Some(other) if other.lane != lane => !Self::streams(self.chunk(part), part),
            _ => true,
        }
    }

    /// Takes a chunk that is here in whole.
    pub(super) fn write_whole(&mut self, part: &Part, frames: &[u8]) -> Result<(), ApplyError> {
        let file = self.toc.file_number(part.file);
        let chunk = file.chunk(part.chunk);
        let size = usize::try_from(chunk.size).unwrap_or(usize::MAX);
        let Self { whole, outputs, tree, prover, report, .. } = self;
        let bytes = whole.decode(frames, size).map_err(|e| decode_error(file, part, e))?;
        check_length(file, chunk.size, bytes.len() as u64)?;
        if let Some(expected) = chunk.digest {
            check_digest(file, *expected.digest(), Digest::of(bytes))?;
        }
        let output = outputs.get(part.file, tree)?;
        let path = file.path();
        output.target().write_all_at(bytes, chunk.file_offset).during("write", path.as_path())?;
        if output.begins(part.chunk)? {
            output.assembly.hash(bytes);
            output.assembly.ended();
        }
        report.written += chunk.size;
        if outputs.chunk_done(part.file, tree)? {
            report.holes += holes(file);
            match file.chunk_count() {
                1 => prover.done_with(part.file, bytes),
                _ => prover.done(part.file),
            }
        }
        Ok(())
    }

    /// Takes the next bytes of a large chunk, which come in `lane`; `last` if it
    /// ends with them.
    pub(super) fn stream(
        &mut self,
        part: &Part,
        lane: usize,
        frames: &[u8],
        last: bool,
    ) -> Result<(), ApplyError> {
        let file = self.toc.file_number(part.file);
        let chunk = file.chunk(part.chunk);
        let path = file.path();
        let output = self.outputs.get(part.file, self.tree)?;
        let mut streaming = if let Some(streaming) = self.streaming.take() {
            streaming
        } else {
            let decoder = match self.idle.take() {
                Some(decoder) => decoder,
                None => StreamDecoder::new().map_err(|e| decode_error(file, part, e))?,
            };
            let in_order = output.begins(part.chunk)?;
            let hasher = chunk.digest.map(|_| Hasher::new());
            Streaming { lane, decoder, decoded: 0, hasher, in_order }
        };
        let Streaming { decoder, decoded, hasher, in_order, .. } = &mut streaming;
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
                if *in_order {
                    output.assembly.hash(bytes);
                }
                let written = output.target().write_all_at(bytes, offset);
                written.during("write", path.as_path()).map_err(Refusal::Fs)
            })
            .map_err(|refusal| match refusal {
                Refusal::Decoder(error) => decode_error(file, part, error),
                Refusal::Fs(error) => ApplyError::Fs(error),
                Refusal::Long => content_error(file, VerifyError::Long { expected: chunk.size }),
            })?;
        if !last {
            self.streaming = Some(streaming);
            return Ok(());
        }
        if streaming.in_order {
            output.assembly.ended();
        }
        self.end_stream(part, chunk, streaming)
    }

    fn end_stream(
        &mut self,
        part: &Part,
        chunk: Chunk,
        streaming: Streaming,
    ) -> Result<(), ApplyError> {
        let file = self.toc.file_number(part.file);
        let Streaming { mut decoder, decoded, hasher, .. } = streaming;
        if !decoder.is_between_frames() {
            return Err(decode_error(file, part, io::ErrorKind::UnexpectedEof.into()));
        }
        check_length(file, chunk.size, decoded)?;
        if let (Some(expected), Some(hasher)) = (chunk.digest, hasher) {
            check_digest(file, *expected.digest(), hasher.finish())?;
        }
        decoder.reset().map_err(|error| decode_error(file, part, error))?;
        self.idle = Some(decoder);
        self.report.written += chunk.size;
        if self.outputs.chunk_done(part.file, self.tree)? {
            self.report.holes += holes(file);
            self.prover.done(part.file);
        }
        Ok(())
    }
}

/// Bytes of holes in a file.
fn holes(file: TocFile<'_>) -> u64 {
    file.chunks().filter(|chunk| chunk.hole).map(|hole| hole.size).sum()
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
