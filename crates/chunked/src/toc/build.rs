//! Entries of a TOC, judged one by one and put into tables.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use storage_core::{Digest, DigestError, Entry, EntryKind, LayerPath, LayerPathError, Time};

use super::entry::EntryText;
use super::{
    ChunkRecord, Content, EntryProblem, Extra, Kind, NONE, Record, Slice, Toc, TocError,
    push_packed, time,
};
use crate::Limits;

/// Longest name or link text as it is written; cleaned ones are shorter.
const LONGEST_NAME: usize = u16::MAX as usize;

/// What one byte of a zstd stream can become at most: blocks have up to 128 KiB, and
/// three bytes of header with one of content.
const EXPANSION: u64 = (128 << 10) / 4;

/// Content that no byte of the blob has to answer for.
const FREE: u64 = 64 << 20;

/// Text that each entry may have.
const TEXT: u64 = 24;

/// Most text of all entries: places in it are numbers of 32 bits, and an entry adds some
/// megabytes at most.
const MOST_TEXT: u64 = NONE as u64 - (16 << 20);

/// Fills a [`Toc`].
#[derive(Debug)]
pub(super) struct Builder {
    toc: Toc,
    /// Entries that may still come, chunks included.
    left: u64,
    limit: u64,
    /// Text that may stand beside that of each entry.
    free_text: u64,
    /// Where the blob's data ends.
    data_end: u64,
    /// Bytes of content that are promised so far.
    promised: u64,
    /// Where the content of the last file ended.
    place: u64,
    /// Bytes of the last file that its chunks cover so far; `None` once it is closed.
    covered: Option<u64>,
}

impl Builder {
    /// For a blob whose data ends before `data_end`.
    pub(super) fn new(limits: &Limits, data_end: u64) -> Self {
        Self {
            toc: Toc::default(),
            left: limits.entries,
            limit: limits.entries,
            free_text: limits.text,
            data_end,
            promised: 0,
            place: 0,
            covered: None,
        }
    }

    /// Takes the next entry.
    pub(super) fn push(&mut self, text: &EntryText<'_>) -> Result<(), TocError> {
        self.left = self.left.checked_sub(1).ok_or(TocError::TooMany { limit: self.limit })?;
        let text_so_far = (self.toc.arena.len() + self.toc.names.bytes()) as u64;
        let of_entries = TEXT.saturating_mul(self.limit - self.left);
        if text_so_far > self.free_text.saturating_add(of_entries).min(MOST_TEXT) {
            return Err(TocError::TooMuchText);
        }
        let name = || text.name.to_string();
        if text.kind == "chunk" {
            return self
                .push_chunk(text)
                .map_err(|problem| TocError::Entry { name: name(), problem });
        }
        self.close_file()?;
        self.push_entry(text).map_err(|problem| TocError::Entry { name: name(), problem })
    }

    /// Takes the digest of the compressed tar-split.
    pub(super) fn tar_split_digest(&mut self, text: &str) -> Result<(), TocError> {
        if !text.is_empty() {
            self.toc.tar_split_digest = Some(text.parse().map_err(TocError::TarSplitDigest)?);
        }
        Ok(())
    }

    /// All entries were pushed.
    pub(super) fn finish(mut self) -> Result<Toc, TocError> {
        self.close_file()?;
        self.toc.shrink();
        super::names::check(&self.toc)?;
        Ok(self.toc)
    }

    fn push_entry(&mut self, text: &EntryText<'_>) -> Result<(), EntryProblem> {
        let kind = kind_of(&text.kind)?;
        LayerPath::parse(text.name.as_bytes())?;
        if text.name.len() > LONGEST_NAME || text.link_name.len() > LONGEST_NAME {
            return Err(LayerPathError::TooLong(text.name.len()).into());
        }
        let too_long = LayerPathError::TooLong(text.name.len());
        let record = Record {
            name: self.toc.names.add(text.name.as_bytes()).ok_or(too_long)?,
            mtime: time_of(&text.modtime)?.unwrap_or(Time::EPOCH),
            uid: id_of(text.uid)?,
            gid: id_of(text.gid)?,
            content: NONE,
            extra: self.push_extra(kind, text)?,
            mode: mode_of(text.mode)?,
            kind,
        };
        self.toc.records.push(record);
        if kind == Kind::Regular {
            self.push_content(text)?;
        }
        Ok(())
    }

    fn push_extra(&mut self, kind: Kind, text: &EntryText<'_>) -> Result<u32, EntryProblem> {
        let (atime, ctime) = (time_of(&text.accesstime)?, time_of(&text.changetime)?);
        let link = matches!(kind, Kind::Symlink | Kind::HardLink);
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let plain = !link && !device && text.xattrs.is_empty();
        if plain && atime.is_none() && ctime.is_none() {
            return Ok(NONE);
        }
        let number = |n: u64| u32::try_from(n).map_err(|_| EntryProblem::Device(n));
        let mut extra = Extra { atime, ctime, ..Extra::default() };
        if link {
            extra.link = self.keep(text.link_name.as_bytes());
        }
        if device {
            (extra.major, extra.minor) = (number(text.dev_major)?, number(text.dev_minor)?);
        }
        extra.xattrs = self.keep_xattrs(text)?;
        self.toc.extras.push(extra);
        Ok(row(self.toc.extras.len() - 1))
    }

    fn push_content(&mut self, text: &EntryText<'_>) -> Result<(), EntryProblem> {
        if text.size == 0 {
            return match digest_of(&text.digest)? {
                Some(digest) if digest != *Digest::of(b"").as_bytes() => {
                    Err(EntryProblem::NotEmpty)
                }
                _ => Ok(()),
            };
        }
        let digest = digest_of(&text.digest)?.ok_or(EntryProblem::NoDigest)?;
        let (offset, end) = (text.offset, text.end_offset);
        if offset < self.place || end <= offset || end > self.data_end {
            return Err(EntryProblem::Place);
        }
        // What a hole takes to hash, no disk limits.
        self.promised = self.promised.saturating_add(text.size);
        if self.promised > self.data_end.saturating_mul(EXPANSION).saturating_add(FREE) {
            return Err(EntryProblem::Expansion);
        }
        self.place = end;
        let record = row(self.toc.records.len() - 1);
        let first_chunk = row(self.toc.chunks.len());
        let content =
            Content { digest, size: text.size, offset, end, record, first_chunk, chunks: 0 };
        self.toc.contents.push(content);
        self.toc.records[record as usize].content = row(self.toc.contents.len() - 1);
        self.covered = Some(0);
        // A file of one chunk says nothing of it, and needs no row.
        if text.chunk_size == 0 && text.chunk_type.is_empty() && text.chunk_digest.is_empty() {
            self.covered = Some(text.size);
            return Ok(());
        }
        self.push_chunk_row(text, offset)
    }

    fn push_chunk(&mut self, text: &EntryText<'_>) -> Result<(), EntryProblem> {
        let file = self.toc.contents.last().ok_or(EntryProblem::Stray)?;
        let name = self.toc.name(file.record as usize);
        if self.covered.is_none() || name != text.name.as_bytes() {
            return Err(EntryProblem::Stray);
        }
        let last = self.toc.chunks[file.first_chunk as usize..].last();
        let last = last.ok_or(EntryProblem::Tiling)?;
        // The frame of data has at least one byte; a hole may do without one.
        let after = if last.hole { last.offset } else { last.offset + 1 };
        if text.offset < after || text.offset > file.end {
            return Err(EntryProblem::Place);
        }
        self.push_chunk_row(text, text.offset)
    }

    fn push_chunk_row(&mut self, text: &EntryText<'_>, offset: u64) -> Result<(), EntryProblem> {
        let hole = match &*text.chunk_type {
            "" => false,
            "zeros" => true,
            other => return Err(EntryProblem::ChunkType(other.into())),
        };
        let file = self.toc.contents.last_mut().ok_or(EntryProblem::Stray)?;
        let covered = self.covered.ok_or(EntryProblem::Stray)?;
        // No size means "to the end of the file".
        let size = if text.chunk_size == 0 { file.size - covered } else { text.chunk_size };
        let end = covered.checked_add(size).filter(|&end| end <= file.size && size > 0);
        if text.chunk_offset != covered || end.is_none() {
            return Err(EntryProblem::Tiling);
        }
        self.covered = end;
        file.chunks += 1;
        let digest = digest_of(&text.chunk_digest)?;
        self.toc.chunks.push(ChunkRecord { digest, hole, offset, file_offset: covered });
        Ok(())
    }

    /// The last file gets no more chunks.
    fn close_file(&mut self) -> Result<(), TocError> {
        let Some(covered) = self.covered.take() else { return Ok(()) };
        let file = self.toc.contents.last().expect("a file that is covered is in the table");
        let chunks = &self.toc.chunks[file.first_chunk as usize..];
        let no_frame = chunks.last().is_some_and(|last| !last.hole && last.offset >= file.end);
        let problem = match () {
            () if covered != file.size => EntryProblem::Tiling,
            () if no_frame => EntryProblem::Place,
            () => return Ok(()),
        };
        let name = String::from_utf8_lossy(&self.toc.name(file.record as usize)).into_owned();
        Err(TocError::Entry { name, problem })
    }

    fn keep(&mut self, bytes: &[u8]) -> Slice {
        let at = self.toc.arena.len();
        self.toc.arena.extend_from_slice(bytes);
        Slice { at: row(at), len: row(bytes.len()) }
    }

    fn keep_xattrs(&mut self, text: &EntryText<'_>) -> Result<Slice, EntryProblem> {
        let mut xattrs = Vec::with_capacity(text.xattrs.len());
        for (key, value) in &text.xattrs {
            let malformed = || EntryProblem::Xattr(key.to_string());
            if key.is_empty() || key.contains('\0') {
                return Err(malformed());
            }
            xattrs.push((key, STANDARD.decode(value.as_bytes()).map_err(|_| malformed())?));
        }
        xattrs.sort();
        if let Some(twice) = xattrs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(EntryProblem::Xattr(twice[0].0.to_string()));
        }
        let at = self.toc.arena.len();
        for (key, value) in xattrs {
            push_packed(&mut self.toc.arena, key.as_bytes());
            push_packed(&mut self.toc.arena, &value);
        }
        Ok(Slice { at: row(at), len: row(self.toc.arena.len() - at) })
    }
}

/// A position in a table; the tables are bounded by the size of a TOC.
fn row(position: usize) -> u32 {
    u32::try_from(position).expect("tables of a TOC have less than 2^32 rows")
}

fn kind_of(text: &str) -> Result<Kind, EntryProblem> {
    Ok(match text {
        "reg" => Kind::Regular,
        "dir" => Kind::Directory,
        "symlink" => Kind::Symlink,
        "hardlink" => Kind::HardLink,
        "char" => Kind::CharDevice,
        "block" => Kind::BlockDevice,
        "fifo" => Kind::Fifo,
        other => return Err(EntryProblem::Type(other.into())),
    })
}

/// `None` for no time, of which the epoch is one way to say it.
fn time_of(text: &str) -> Result<Option<Time>, EntryProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = time::parse(text).ok_or_else(|| EntryProblem::Time(text.into()))?;
    Ok((time != Time::EPOCH).then_some(time))
}

fn id_of(id: u64) -> Result<u32, EntryProblem> {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(EntryProblem::Id(id))
}

/// Old writers leave the bits of the file type in the mode.
fn mode_of(mode: u64) -> Result<u16, EntryProblem> {
    u16::try_from(mode).map(|mode| mode & 0o7777).map_err(|_| EntryProblem::Mode(mode))
}

fn digest_of(text: &str) -> Result<Option<[u8; 32]>, DigestError> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(*text.parse::<Digest>()?.as_bytes()))
}

/// A whiteout's content would be lost: no file of that name is made.
pub(super) fn loses_content(entry: &Entry) -> bool {
    entry.kind == EntryKind::Regular && entry.size > 0 && !tree::has_content(entry)
}
