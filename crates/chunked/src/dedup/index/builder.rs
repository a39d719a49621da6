//! The index of a layer that has no TOC.

use std::io::{self, Write};

use storage_core::Entry;

use super::files::{ChunkRow, FileRow, Files};
use super::fingerprint::fingerprint;
use super::format::MAX_TAGS;
use super::plain::PlainTree;
use super::write::write_limited;
use crate::write::ContentDigests;

/// Gathers what an index says of a layer that came whole, entry by entry.
///
/// Takes some 130 bytes for each file, with its name, and 56 for each chunk; names may have
/// 4 MiB and 24 bytes for each file in all, and there may be 65,536 chunks. Files and chunks
/// beyond that are left out.
///
/// ```
/// use chunked::IndexBuilder;
/// use chunked::write::ContentDigests;
/// # use storage_core::{Entry, EntryKind, Time};
/// # let entry = Entry {
/// #     name: b"etc/motd".into(), kind: EntryKind::Regular, mode: 0o644, uid: 0, gid: 0,
/// #     size: 6, mtime: Time::EPOCH, atime: None, ctime: None, xattrs: vec![],
/// # };
/// let mut index = IndexBuilder::new();
/// let mut digests = ContentDigests::new(entry.size);
/// digests.update(b"hello\n");
/// index.add(&entry, Some(digests));
/// let mut file = Vec::new();
/// index.finish().ok_or("no index can describe it")?.write(&mut file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct IndexBuilder {
    tree: PlainTree,
    files: Rows,
}

/// What the index of a layer is to say; made by [`IndexBuilder::finish`].
#[derive(Debug, Clone)]
pub struct LayerIndex(Rows);

/// Bytes of all names that count for nothing, and those that each file may have besides.
const FREE_NAMES: usize = 4 << 20;
const NAME: usize = 24;

#[derive(Debug, Clone, Default)]
struct Rows {
    files: Vec<Row>,
    chunks: Vec<ChunkRow>,
    names: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    digest: [u8; 32],
    fingerprint: [u8; 32],
    size: u64,
    name: u32,
    /// Where its chunks start in `chunks`.
    chunks: u32,
}

impl IndexBuilder {
    /// For a layer of which nothing is known yet.
    pub fn new() -> Self {
        Self { tree: PlainTree::new(), files: Rows::default() }
    }

    /// Adds the next entry of the layer, each in its turn; with the digests of its
    /// content, if it has some, which was taken whole.
    pub fn add(&mut self, entry: &Entry, content: Option<ContentDigests>) {
        self.tree.add(entry);
        if let Some(content) = content
            && self.tree.is_plain()
        {
            self.files.push(entry, content);
        }
    }

    /// What was gathered; `None` if no index can describe the layer: it names a file
    /// twice, or in another way has in the end another file at a name than it says.
    pub fn finish(self) -> Option<LayerIndex> {
        self.tree.is_plain().then_some(LayerIndex(self.files))
    }
}

impl LayerIndex {
    /// Writes the index, as [`write_index`](crate::write_index) does.
    ///
    /// Other tools believe it, so the tar should have been verified.
    ///
    /// # Errors
    ///
    /// If `out` fails.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        write_limited(&self.0, out, MAX_TAGS)
    }
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Rows {
    /// What finds no room is left out.
    fn push(&mut self, entry: &Entry, content: ContentDigests) {
        let content = content.finish();
        let number = |length: usize| u32::try_from(length).ok().filter(|&n| n < u32::MAX);
        let (Some(name), Some(chunks)) = (number(self.names.len()), number(self.chunks.len()))
        else {
            return;
        };
        if self.names.len() + entry.name.len() > FREE_NAMES + NAME * self.files.len() {
            return;
        }
        self.names.extend_from_slice(&entry.name);
        // Of a single chunk the digest is the file's.
        if content.chunks.len() > 1 {
            let room = ContentDigests::MOST_CHUNKS - self.chunks.len();
            self.chunks.extend(content.chunks.iter().take(room).map(|chunk| ChunkRow {
                digest: chunk.digest.map(|digest| *digest.digest().as_bytes()),
                offset: chunk.offset,
                size: chunk.size,
            }));
        }
        self.files.push(Row {
            digest: *content.digest.digest().as_bytes(),
            fingerprint: fingerprint(entry, content.digest),
            size: entry.size,
            name,
            chunks,
        });
    }

    fn next(&self, i: u32) -> Option<&Row> {
        self.files.get(i as usize + 1)
    }
}

impl Files for Rows {
    fn count(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }

    fn file(&self, i: u32) -> FileRow<'_> {
        let row = &self.files[i as usize];
        let name = self.next(i).map_or(self.names.len(), |next| next.name as usize);
        let chunks = self.next(i).map_or(self.chunks.len(), |next| next.chunks as usize);
        FileRow {
            name: self.names[row.name as usize..name].into(),
            digest: row.digest,
            size: row.size,
            chunks: u32::try_from(chunks - row.chunks as usize).unwrap_or(u32::MAX),
        }
    }

    fn fingerprint(&self, i: u32) -> [u8; 32] {
        self.files[i as usize].fingerprint
    }

    fn chunk(&self, i: u32, chunk: u32) -> ChunkRow {
        self.chunks[self.files[i as usize].chunks as usize + chunk as usize]
    }
}
