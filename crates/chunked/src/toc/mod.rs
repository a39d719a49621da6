//! The table of contents of a blob, kept tightly.

mod agree;
mod build;
mod cut;
mod entry;
mod error;
mod feed;
mod names;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod time;

use storage_core::{ChunkDigest, Digest, Entry, EntryKind, LayerPath, Names, Time};

pub use agree::{Agreement, Disagreement, Field};
pub use error::{EntryProblem, TocError};
pub use scan::{ScanError, Scanned, scan};

pub(crate) use entry::EntryText;
pub(crate) use read::EntryTexts;

/// The table of contents of a layer: every entry, and where its content is in the blob.
///
/// Kept in a few large tables, since a layer may have millions of entries: about 120 bytes
/// for each, and texts up to the [`Limits`](crate::Limits). It is consistent in itself once it exists: names are
/// below the root and distinct, every directory above an entry is one, the
/// chunks of each file tile it, and their places in the blob ascend.
#[derive(Debug, Default)]
pub struct Toc {
    records: Vec<Record>,
    contents: Vec<Content>,
    chunks: Vec<ChunkRecord>,
    extras: Vec<Extra>,
    names: Names,
    /// Texts of links, xattrs.
    arena: Vec<u8>,
    tar_split_digest: Option<Digest>,
    received: u64,
}

/// Bytes in the arena.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    at: u32,
    len: u32,
}

/// Stands for "none" where a number of a row is expected.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Its number in `names`.
    name: u32,
    mtime: Time,
    uid: u32,
    gid: u32,
    /// Row in `contents`, for regular files that have some.
    content: u32,
    /// Row in `extras`.
    extra: u32,
    mode: u16,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Directory,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// Content of a regular file.
#[derive(Debug, Clone, Copy)]
struct Content {
    digest: [u8; 32],
    size: u64,
    offset: u64,
    end: u64,
    /// Row of its entry.
    record: u32,
    /// Rows in `chunks`; none for a file of one chunk of data.
    first_chunk: u32,
    chunks: u32,
}

#[derive(Debug, Clone, Copy)]
struct ChunkRecord {
    digest: Option<[u8; 32]>,
    hole: bool,
    offset: u64,
    file_offset: u64,
}

/// What few entries have.
#[derive(Debug, Clone, Copy, Default)]
struct Extra {
    link: Slice,
    major: u32,
    minor: u32,
    atime: Option<Time>,
    ctime: Option<Time>,
    xattrs: Slice,
}

/// A piece of a file, and where the blob has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Offset in the blob of its first frame.
    pub offset: u64,
    /// Offset in the blob just after its last frame.
    pub end: u64,
    /// Offset in the file.
    pub file_offset: u64,
    /// Uncompressed length, at least one byte.
    pub size: u64,
    /// Of its uncompressed bytes; `None` where the TOC has none, as for files of one chunk.
    pub digest: Option<ChunkDigest>,
    /// Whether it is all zeros, so that nothing need be fetched.
    pub hole: bool,
}

/// A regular file with content.
#[derive(Debug, Clone, Copy)]
pub struct TocFile<'t> {
    toc: &'t Toc,
    /// Row in `contents`.
    number: u32,
}

impl Toc {
    /// How many entries there are; chunks are not counted.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Entry number `index`, in the order of the tar.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn entry(&self, index: usize) -> Entry {
        let record = &self.records[index];
        let extra = self.extra(record);
        let link = || self.bytes(extra.link).to_vec();
        let (major, minor) = (extra.major, extra.minor);
        Entry {
            name: self.name(index),
            kind: match record.kind {
                Kind::Regular => EntryKind::Regular,
                Kind::Directory => EntryKind::Directory,
                Kind::Symlink => EntryKind::Symlink { target: link() },
                Kind::HardLink => EntryKind::HardLink { target: link() },
                Kind::CharDevice => EntryKind::CharDevice { major, minor },
                Kind::BlockDevice => EntryKind::BlockDevice { major, minor },
                Kind::Fifo => EntryKind::Fifo,
            },
            mode: record.mode.into(),
            uid: record.uid,
            gid: record.gid,
            size: self.content(record).map_or(0, |content| content.size),
            mtime: record.mtime,
            atime: extra.atime,
            ctime: extra.ctime,
            xattrs: self.xattrs(extra.xattrs),
        }
    }

    /// All entries in the order of the tar.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The content of entry number `index`, if it is a regular file that has some.
    ///
    /// # Panics
    ///
    /// If there are not that many entries.
    pub fn file(&self, index: usize) -> Option<TocFile<'_>> {
        let number = self.records[index].content;
        (number != NONE).then_some(TocFile { toc: self, number })
    }

    /// All regular files that have content, in the order of the tar.
    pub fn files(&self) -> impl ExactSizeIterator<Item = TocFile<'_>> {
        // Numbers of rows have 32 bits.
        let count = u32::try_from(self.contents.len()).unwrap_or(NONE);
        (0..count).map(|number| TocFile { toc: self, number })
    }

    /// Digest of the compressed tar-split that belongs to this TOC, where it names one.
    pub fn tar_split_digest(&self) -> Option<&Digest> {
        self.tar_split_digest.as_ref()
    }

    /// Bytes of the blob that were received to get TOC and tar-split.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The owners that occur, ascending.
    pub fn uid_set(&self) -> Vec<u32> {
        self.ids(|record| record.uid)
    }

    /// The groups that occur, ascending.
    pub fn gid_set(&self) -> Vec<u32> {
        self.ids(|record| record.gid)
    }

    fn ids(&self, id: impl Fn(&Record) -> u32) -> Vec<u32> {
        let ids: std::collections::BTreeSet<u32> = self.records.iter().map(id).collect();
        ids.into_iter().collect()
    }

    /// The regular file with content of that number among those of its kind.
    pub(crate) fn file_number(&self, number: u32) -> TocFile<'_> {
        TocFile { toc: self, number }
    }

    pub(crate) fn is_hard_link(&self, index: usize) -> bool {
        self.records[index].kind == Kind::HardLink
    }

    pub(crate) fn name(&self, index: usize) -> Vec<u8> {
        self.names.get(self.records[index].name)
    }

    fn content(&self, record: &Record) -> Option<&Content> {
        (record.content != NONE).then(|| &self.contents[record.content as usize])
    }

    fn extra(&self, record: &Record) -> Extra {
        if record.extra == NONE { Extra::default() } else { self.extras[record.extra as usize] }
    }

    fn bytes(&self, slice: Slice) -> &[u8] {
        &self.arena[slice.at as usize..][..slice.len as usize]
    }

    fn xattrs(&self, packed: Slice) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rest = self.bytes(packed);
        let mut xattrs = Vec::new();
        while !rest.is_empty() {
            let key = take_packed(&mut rest);
            let value = take_packed(&mut rest);
            xattrs.push((key, value));
        }
        xattrs
    }

    fn shrink(&mut self) {
        self.records.shrink_to_fit();
        self.contents.shrink_to_fit();
        self.chunks.shrink_to_fit();
        self.extras.shrink_to_fit();
        self.names.shrink();
        self.arena.shrink_to_fit();
    }
}

/// Appends `bytes` with its length in front.
fn push_packed(arena: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("values of a TOC are of a few MiB at most");
    arena.extend_from_slice(&length.to_le_bytes());
    arena.extend_from_slice(bytes);
}

fn take_packed(rest: &mut &[u8]) -> Vec<u8> {
    let (length, after) = rest.split_first_chunk().expect("packed values are whole");
    let (bytes, after) = after.split_at(u32::from_le_bytes(*length) as usize);
    *rest = after;
    bytes.to_vec()
}

impl<'t> TocFile<'t> {
    /// Number of its entry.
    pub fn index(&self) -> usize {
        self.content().record as usize
    }

    /// Its number among the regular files that have content.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Its entry.
    pub fn entry(&self) -> Entry {
        self.toc.entry(self.index())
    }

    /// Its path below the layer's root.
    ///
    /// # Panics
    ///
    /// Never: the names of a TOC were parsed when it was read.
    pub fn path(&self) -> LayerPath {
        LayerPath::parse(&self.toc.name(self.index())).expect("names of a TOC are below the root")
    }

    /// Length, at least one byte.
    pub fn size(&self) -> u64 {
        self.content().size
    }

    /// Digest of the whole content.
    pub fn digest(&self) -> ChunkDigest {
        Digest::from_bytes(self.content().digest).into()
    }

    /// Its chunks, which tile it in order; at least one.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + use<'t> {
        let file = *self;
        (0..file.chunk_count()).map(move |i| file.chunk(i))
    }

    pub(crate) fn chunk_count(&self) -> u32 {
        self.content().chunks.max(1)
    }

    /// Chunk number `i`, of which there must be that many.
    pub(crate) fn chunk(&self, i: u32) -> Chunk {
        let content = self.content();
        let rows = &self.toc.chunks[content.first_chunk as usize..][..content.chunks as usize];
        let Some(row) = rows.get(i as usize) else { return content.only_chunk() };
        let next = rows.get(i as usize + 1);
        Chunk {
            offset: row.offset,
            end: next.map_or(content.end, |next| next.offset),
            file_offset: row.file_offset,
            size: next.map_or(content.size, |next| next.file_offset) - row.file_offset,
            digest: row.digest.map(|digest| Digest::from_bytes(digest).into()),
            hole: row.hole,
        }
    }

    /// Digest of chunk number `i`; the only chunk of a file has the file's.
    pub(crate) fn chunk_digest(&self, i: u32) -> Option<ChunkDigest> {
        let only = || (self.chunk_count() == 1).then(|| self.digest());
        self.chunk(i).digest.or_else(only)
    }

    fn content(&self) -> &'t Content {
        &self.toc.contents[self.number as usize]
    }
}

impl Content {
    /// The chunk of a file that has no rows of chunks.
    fn only_chunk(&self) -> Chunk {
        Chunk {
            offset: self.offset,
            end: self.end,
            file_offset: 0,
            size: self.size,
            digest: None,
            hole: false,
        }
    }
}
