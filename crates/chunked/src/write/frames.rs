//! Tar bytes to frames, and frames to their places in the blob and the TOC.

use std::collections::VecDeque;
use std::io::Write;

use storage_core::{ChunkDigest, Entry, Hasher};
use zstd::stream::write::Encoder;

use super::output::Output;
use super::pool::{Batch, CompressedBatch, Pool, Uncompressed};
use super::toc::{Chunk, TocWriter};
use super::{WriteError, WriteOptions, frame};

/// Content up to this length is compressed as one slice, and beside other frames.
///
/// Longer frames (enormous holes, content that the rolling sum does not split,
/// runs of headers) are streamed, so that memory has a bound. What is in a
/// frame decides, not how it comes; else two runs could differ.
const LONG_FRAME: usize = 1 << 20;

/// Small frames go to the threads together, about that many bytes at once.
const BATCH: usize = 256 * 1024;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Makes frames; writes them, and their places into the TOC, in order.
#[derive(Debug)]
pub(super) struct Frames<W: Write, T: Write> {
    level: i32,
    place: Place<W, T>,
    pool: Pool,
    /// What the batches in the pool are to the TOC.
    notes_in_pool: VecDeque<Vec<Note>>,
    /// Complete frames, and the current one's content from `start` on.
    batch: Batch,
    start: usize,
    notes: Vec<Note>,
    /// The current frame, once it is long; then nothing is in the pool or the batch.
    long: Option<LongFrame>,
}

/// What comes next, as far as the TOC is concerned.
#[derive(Debug)]
enum Note {
    /// An entry without content.
    Entry(Box<Entry>),
    /// One frame of tar headers and padding.
    Headers,
    /// One frame that is a chunk of the next `File`.
    Chunk { size: u64, hole: bool },
    /// A file whose chunks have all been.
    File(Box<Entry>, ChunkDigest),
}

impl<W: Write, T: Write> Frames<W, T> {
    pub(super) fn start(
        out: Output<W>,
        toc: TocWriter<T>,
        options: &WriteOptions,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            level: options.level,
            place: Place { out, toc },
            pool: Pool::start(options.threads(), options.level).map_err(WriteError::Compress)?,
            notes_in_pool: VecDeque::new(),
            batch: Batch::default(),
            start: 0,
            notes: Vec::new(),
            long: None,
        })
    }

    /// Adds to the current frame.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.long.is_none() && self.open_bytes() + bytes.len() > LONG_FRAME {
            self.start_long()?;
        }
        match &mut self.long {
            Some(long) => long.data(bytes, &mut self.place.out),
            None => {
                self.batch.content.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Adds zeros to the current frame.
    pub(super) fn zeros(&mut self, mut count: u64) -> Result<(), WriteError> {
        while count > 0 {
            let some = count.min(ZEROS.len() as u64);
            // At most 64 KiB.
            self.data(&ZEROS[..usize::try_from(some).unwrap_or(ZEROS.len())])?;
            count -= some;
        }
        Ok(())
    }

    /// Ends the current frame, if it has any content: headers and padding.
    pub(super) fn end_headers(&mut self) -> Result<(), WriteError> {
        if self.long.is_none() && self.open_bytes() == 0 {
            return Ok(());
        }
        self.end_frame(false, |_| Note::Headers)
    }

    /// Ends the current frame: a chunk. A file's only chunk needs no digest.
    pub(super) fn end_chunk(&mut self, hole: bool, digest: bool) -> Result<(), WriteError> {
        self.end_frame(digest, |size| Note::Chunk { size, hole })
    }

    /// An entry without content is described by what was written last.
    pub(super) fn entry(&mut self, entry: Entry) -> Result<(), WriteError> {
        self.note(Note::Entry(Box::new(entry)))
    }

    /// The chunks since the last entry were a file.
    pub(super) fn file(&mut self, entry: Entry, digest: ChunkDigest) -> Result<(), WriteError> {
        self.note(Note::File(Box::new(entry), digest))
    }

    /// Ends the last frame, and waits for all.
    pub(super) fn finish(mut self) -> Result<(Output<W>, TocWriter<T>), WriteError> {
        self.end_headers()?;
        self.drain()?;
        Ok((self.place.out, self.place.toc))
    }

    /// Bytes in the current frame, unless it is long.
    fn open_bytes(&self) -> usize {
        self.batch.content.len() - self.start
    }

    fn end_frame(
        &mut self,
        digest: bool,
        note: impl FnOnce(u64) -> Note,
    ) -> Result<(), WriteError> {
        if let Some(long) = self.long.take() {
            let note = note(long.size);
            return long.finish(note, &mut self.place);
        }
        let len = self.open_bytes();
        self.batch.frames.push(Uncompressed { len, digest });
        self.notes.push(note(len as u64));
        self.start = self.batch.content.len();
        if self.start >= BATCH {
            self.push_batch();
            while self.pool.is_full() {
                self.pop_batch()?;
            }
        }
        Ok(())
    }

    fn note(&mut self, note: Note) -> Result<(), WriteError> {
        if self.long.is_some() {
            return self.place.note(note, None);
        }
        self.notes.push(note);
        Ok(())
    }

    /// Turns the current frame into a long one, behind all others.
    fn start_long(&mut self) -> Result<(), WriteError> {
        let head = self.batch.content.split_off(self.start);
        self.drain()?;
        let mut long = LongFrame::start(self.level, self.place.out.position())?;
        long.data(&head, &mut self.place.out)?;
        self.long = Some(long);
        Ok(())
    }

    fn push_batch(&mut self) {
        self.pool.push(std::mem::take(&mut self.batch));
        self.notes_in_pool.push_back(std::mem::take(&mut self.notes));
        self.start = 0;
    }

    fn pop_batch(&mut self) -> Result<(), WriteError> {
        if let (Some(batch), Some(notes)) = (self.pool.pop(), self.notes_in_pool.pop_front()) {
            self.place.batch(&batch.map_err(WriteError::Compress)?, notes)?;
        }
        Ok(())
    }

    /// Writes all complete frames.
    fn drain(&mut self) -> Result<(), WriteError> {
        self.push_batch();
        while self.pool.pending() > 0 {
            self.pop_batch()?;
        }
        Ok(())
    }
}

/// Where frames and notes end up.
#[derive(Debug)]
struct Place<W: Write, T: Write> {
    out: Output<W>,
    toc: TocWriter<T>,
}

/// Where a frame lies, and what was in it.
#[derive(Debug, Clone, Copy)]
struct PlacedFrame {
    offset: u64,
    digest: Option<ChunkDigest>,
}

impl<W: Write, T: Write> Place<W, T> {
    fn batch(&mut self, batch: &CompressedBatch, notes: Vec<Note>) -> Result<(), WriteError> {
        let mut rest = &batch.bytes[..];
        let mut frames = batch.frames.iter();
        for note in notes {
            let mut placed = None;
            if matches!(note, Note::Headers | Note::Chunk { .. }) {
                let frame = frames.next().expect("each such note came with a frame");
                placed = Some(PlacedFrame { offset: self.out.position(), digest: frame.digest });
                let (bytes, after) = rest.split_at(frame.len);
                self.out.write_all(bytes).map_err(WriteError::Write)?;
                rest = after;
            }
            self.note(note, placed)?;
        }
        Ok(())
    }

    fn note(&mut self, note: Note, frame: Option<PlacedFrame>) -> Result<(), WriteError> {
        match (note, frame) {
            (Note::Entry(entry), _) => self.toc.entry(&entry)?,
            (Note::File(entry, digest), _) => {
                self.toc.file(&entry, digest, self.out.position())?;
            }
            (Note::Chunk { size, hole }, Some(PlacedFrame { offset, digest })) => {
                self.toc.chunk(Chunk { offset, size, digest, hole });
            }
            (Note::Headers | Note::Chunk { .. }, _) => {}
        }
        Ok(())
    }
}

/// A frame that is compressed while its content comes.
struct LongFrame {
    encoder: Encoder<'static, Vec<u8>>,
    hasher: Hasher,
    size: u64,
    offset: u64,
}

impl LongFrame {
    fn start(level: i32, offset: u64) -> Result<Self, WriteError> {
        let encoder = frame::stream(Vec::new(), level).map_err(WriteError::Compress)?;
        Ok(Self { encoder, hasher: Hasher::new(), size: 0, offset })
    }

    fn data(&mut self, bytes: &[u8], out: &mut impl Write) -> Result<(), WriteError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.encoder.write_all(bytes).map_err(WriteError::Compress)?;
        let compressed = self.encoder.get_mut();
        out.write_all(compressed).map_err(WriteError::Write)?;
        compressed.clear();
        Ok(())
    }

    fn finish<W: Write, T: Write>(
        self,
        note: Note,
        place: &mut Place<W, T>,
    ) -> Result<(), WriteError> {
        let rest = self.encoder.finish().map_err(WriteError::Compress)?;
        place.out.write_all(&rest).map_err(WriteError::Write)?;
        let digest = Some(self.hasher.finish().into());
        place.note(note, Some(PlacedFrame { offset: self.offset, digest }))
    }
}

impl std::fmt::Debug for LongFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongFrame").field("size", &self.size).finish_non_exhaustive()
    }
}
