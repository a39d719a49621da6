//! A tar in, a zstd:chunked blob out.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use storage_core::{BlobDigest, DiffId, Entry, Hasher};
use tarball::{Part, Parts, TarSplitWriter};

use super::chunker::{Chunker, Step};
use super::frames::Frames;
use super::metadata::MetadataWriter;
use super::output::Output;
use super::toc::TocWriter;
use super::trailer;
use super::{WriteError, WriteOptions};

/// What [`write_blob`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenBlob {
    /// Digest of the blob.
    pub digest: BlobDigest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Digest of the tar stream, for `rootfs.diff_ids` of the image's config.
    pub diff_id: DiffId,
    /// Length of the tar stream in bytes.
    pub diff_size: u64,
    /// What belongs on the layer's descriptor in the manifest: where the TOC and
    /// the tar-split are, and the digest of the TOC.
    pub annotations: BTreeMap<String, String>,
}

/// Writes the tar stream `tar` as a zstd:chunked blob, reading it once.
///
/// Decompressed as a whole, the blob is the tar stream again, byte for byte. The
/// same stream and level give the same blob, whatever the number of threads.
/// Beside the compressed TOC and tar-split, which stay in memory until the end,
/// memory has a bound.
///
/// # Errors
///
/// If reading or writing fails, if the stream is no tar that can be understood,
/// and if the format has no way to say what is in it: two entries of one name, a
/// global PAX header, a name that is not UTF-8. `out` then holds part of a blob.
pub fn write_blob(
    tar: impl Read,
    out: impl Write,
    options: &WriteOptions,
) -> Result<WrittenBlob, WriteError> {
    let mut parts = Parts::new(tar, options.limits.clone());
    let mut writer = BlobWriter::start(out, options)?;
    while let Some(part) = parts.next_part()? {
        writer.part(part)?;
    }
    writer.finish()
}

struct BlobWriter<W: Write> {
    frames: Frames<W, MetadataWriter>,
    tar_split: TarSplitWriter<MetadataWriter>,
    stream: Hasher,
    stream_bytes: u64,
    chunker: Chunker,
    file: Option<OpenFile>,
}

/// The file whose content is coming.
struct OpenFile {
    entry: Entry,
    hasher: Hasher,
    /// Content that is not there yet.
    missing: u64,
    /// Content of the current chunk.
    chunk: u64,
}

impl<W: Write> BlobWriter<W> {
    fn start(out: W, options: &WriteOptions) -> Result<Self, WriteError> {
        let metadata = |name| MetadataWriter::start(name).map_err(WriteError::Compress);
        let toc = TocWriter::new(metadata("toc")?)?;
        Ok(Self {
            frames: Frames::start(Output::new(out), toc, options)?,
            tar_split: TarSplitWriter::new(metadata("tar-split")?),
            stream: Hasher::new(),
            stream_bytes: 0,
            chunker: Chunker::new(),
            file: None,
        })
    }

    fn part(&mut self, part: Part<'_>) -> Result<(), WriteError> {
        match part {
            Part::Raw(bytes) => {
                self.hash(bytes);
                self.tar_split.raw(bytes).map_err(WriteError::Compress)?;
                self.frames.data(bytes)
            }
            Part::Entry(entry) => self.entry(entry),
            Part::Content(bytes) => {
                self.hash(bytes);
                self.tar_split.content(bytes).map_err(WriteError::Compress)?;
                self.content(bytes)
            }
            Part::Global(name) => Err(WriteError::GlobalHeader { name }),
            // The stream's reader has learnt of something that no TOC has.
            _ => Err(WriteError::UnknownPart),
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.stream.update(bytes);
        self.stream_bytes += bytes.len() as u64;
    }

    fn entry(&mut self, entry: Entry) -> Result<(), WriteError> {
        self.tar_split.entry(&entry.name, entry.size).map_err(WriteError::Compress)?;
        if let Some(name) = self.tar_split.duplicate_name() {
            return Err(WriteError::DuplicateName { name: name.into() });
        }
        if entry.size == 0 {
            return self.frames.entry(entry);
        }
        self.frames.end_headers()?;
        self.file = Some(OpenFile { hasher: Hasher::new(), missing: entry.size, chunk: 0, entry });
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let Self { chunker, frames, file, .. } = self;
        let Some(open) = file else { return Ok(()) };
        open.hasher.update(bytes);
        open.missing = open.missing.saturating_sub(bytes.len() as u64);
        let is_complete = open.missing == 0;
        chunker.feed(bytes, |step| open.step(step, frames))?;
        if is_complete {
            chunker.finish(|step| open.step(step, frames))?;
            if let Some(OpenFile { entry, hasher, .. }) = file.take() {
                frames.file(entry, hasher.finish().into())?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<WrittenBlob, WriteError> {
        let compress = WriteError::Compress;
        let (mut out, toc) = self.frames.finish()?;
        let tar_split =
            self.tar_split.finish().and_then(MetadataWriter::finish).map_err(compress)?;
        let toc = toc.finish(tar_split.digest)?.finish().map_err(compress)?;
        let annotations = trailer::write(&mut out, &toc, &tar_split).map_err(WriteError::Write)?;
        let (digest, size) = out.finish().map_err(WriteError::Write)?;
        Ok(WrittenBlob {
            digest,
            size,
            diff_id: self.stream.finish().into(),
            diff_size: self.stream_bytes,
            annotations,
        })
    }
}

impl OpenFile {
    fn step<W: Write, T: Write>(
        &mut self,
        step: Step<'_>,
        frames: &mut Frames<W, T>,
    ) -> Result<(), WriteError> {
        match step {
            Step::Data(data) => {
                self.chunk += data.len() as u64;
                frames.data(data)
            }
            Step::EndOfData => self.end_chunk(false, frames),
            Step::Hole(len) => {
                self.chunk = len;
                frames.zeros(len)?;
                self.end_chunk(true, frames)
            }
        }
    }

    fn end_chunk<W: Write, T: Write>(
        &mut self,
        hole: bool,
        frames: &mut Frames<W, T>,
    ) -> Result<(), WriteError> {
        let whole_file = std::mem::take(&mut self.chunk) == self.entry.size;
        frames.end_chunk(hole, !whole_file)
    }
}
