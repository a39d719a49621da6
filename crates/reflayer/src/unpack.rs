//! A layer taken whole: blob to tar, tar to tree, tar-split and digests on the way.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use chunked::write::ContentDigests;
use chunked::{IndexBuilder, LayerIndex, ZstdReader, aside};
use crossbeam::channel::Sender;
use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags, openat};
use storage_core::{
    DiffId, Dirs, Entry, FsError, FsResultExt as _, Hasher, RangeReader, RangeSource, Verified,
};
use tarball::{Part, Parts, TarError, TarReader, TarSplitWriter};
use transport::{Compression, LayerDescriptor};
use tree::{Privileges, TreeError, TreeOptions, TreeReport, TreeWriter};

use crate::memory::Memory;
use crate::pipeline::{ChannelReader, channel, pump};

/// A layer that was taken whole; its tree and tar-split are in the directories given.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Length of the tar stream.
    pub(crate) diff_size: u64,
    /// Owners in the layer, whiteouts aside.
    pub(crate) uids: BTreeSet<u32>,
    /// Groups in the layer, whiteouts aside.
    pub(crate) gids: BTreeSet<u32>,
    /// What the tree could not keep.
    pub(crate) tree: TreeReport,
    /// Bytes of content written.
    pub(crate) written: u64,
    /// A name that stands twice in the tar, which no tar-split can express.
    pub(crate) repeated: Option<String>,
}

/// Why a layer could not be taken whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The blob did not come, or is not what the manifest promised, or is not a tar.
    #[error("read the layer's tar stream")]
    Tar(#[source] TarError),
    /// The blob could not be read to its end.
    #[error("read the blob")]
    Blob(#[source] io::Error),
    /// An entry could not be made.
    #[error("unpack the layer")]
    Tree(#[from] TreeError),
    /// Content could not be written.
    #[error("write {name}")]
    Write {
        /// The entry's name.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file beside the tree could not be written.
    #[error("keep the layer's tar-split and index")]
    Aside(#[from] FsError),
    /// The tar stream is not the one that the image's config names.
    #[error("the layer's tar stream has digest {actual}, the image's config says {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What the blob holds.
        actual: DiffId,
    },
}

/// Fetches the whole blob and unpacks it.
///
/// Three threads: one fetches, checks the blob's digest and decompresses, one
/// hashes the tar stream and, for the index, what is in it, this one makes the tree.
pub(crate) fn unpack(
    blob: &dyn RangeSource,
    layer: &LayerDescriptor,
    dirs: Dirs<'_>,
    privileges: Privileges,
    memory: Memory,
) -> Result<Unpacked, UnpackError> {
    let raw =
        Verified::new(RangeReader::new(blob, 0..layer.size), *layer.digest.digest(), layer.size);
    let compression = layer.compression;
    let (decoded, to_hash) = channel();
    let (checked, to_unpack) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || match decompress_within(raw, compression, memory) {
            Ok(stream) => pump(stream, &decoded, |_| {}),
            Err(error) => drop(decoded.send(Err(error))),
        });
        let tar = scope.spawn(move || {
            let mut tar = Hashed { tar: to_hash, to: checked, hash: Hasher::new(), size: 0 };
            let index = tar.index(memory);
            (DiffId::from(tar.hash.finish()), tar.size, index)
        });
        let unpacked = unpack_tar(to_unpack, dirs, privileges, memory);
        let (actual, diff_size, index) = tar.join().expect("hashing does not panic");
        let unpacked = unpacked?;
        if actual != layer.diff_id {
            return Err(UnpackError::DiffId { expected: layer.diff_id, actual });
        }
        if let Some(index) = index {
            write_index(dirs.aside, |file| index.write(file))?;
        }
        Ok(Unpacked { diff_size, ..unpacked })
    })
}

/// The tar stream of a blob; reads the blob to its very end, so that its digest is checked.
pub(crate) fn decompress(
    raw: impl Read + Send + 'static,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send>> {
    decompress_within(raw, compression, Memory::new(None))
}

fn decompress_within(
    raw: impl Read + Send + 'static,
    compression: Compression,
    memory: Memory,
) -> io::Result<Box<dyn Read + Send>> {
    let raw = BufReader::with_capacity(256 * 1024, raw);
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(Drained::new(MultiGzDecoder::new(raw), |d| d.get_mut())),
        Compression::Zstd => {
            let decoder = ZstdReader::with_window_log(raw, memory.window_log())?;
            Box::new(Drained::new(decoder, |d| d.get_mut()))
        }
    })
}

/// A decoder that, at its end, finds that its input has ended, too.
struct Drained<D, F> {
    decoder: D,
    input: F,
}

impl<D, F, R: BufRead> Drained<D, F>
where
    F: FnMut(&mut D) -> &mut R,
{
    fn new(decoder: D, input: F) -> Self {
        Self { decoder, input }
    }
}

impl<D: Read, F, R: BufRead> Read for Drained<D, F>
where
    F: FnMut(&mut D) -> &mut R,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(buf)?;
        if n == 0 && !buf.is_empty() {
            let rest = (self.input)(&mut self.decoder).fill_buf()?.len();
            if rest > 0 {
                let message = "bytes follow the end of the compressed stream";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(n)
    }
}

/// A tar stream that is hashed and handed on while it is read.
struct Hashed {
    tar: ChannelReader,
    to: Sender<io::Result<Bytes>>,
    hash: Hasher,
    size: u64,
}

impl Hashed {
    /// Reads the stream to its end, and gives the index of the layer, if it can have one.
    fn index(&mut self, memory: Memory) -> Option<LayerIndex> {
        let index = index_of(&mut *self, memory);
        // What is no tar has no index; who makes the tree shall get all of it even so.
        let mut rest = vec![0; 256 * 1024];
        while self.read(&mut rest).is_ok_and(|n| n > 0) {}
        index
    }
}

impl Read for Hashed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (message, result) = match self.tar.read(buf) {
            Ok(n) => {
                self.hash.update(&buf[..n]);
                self.size += n as u64;
                (Ok(Bytes::copy_from_slice(&buf[..n])), Ok(n))
            }
            // The cause goes to who makes the tree, and reports it.
            Err(error) => (Err(error), Err(io::ErrorKind::BrokenPipe.into())),
        };
        let lost = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.to.send(message).map_err(lost).and(result)
    }
}

/// What an index of the layer says, unless its tar is one that none can describe.
fn index_of(tar: &mut Hashed, memory: Memory) -> Option<LayerIndex> {
    let (mut parts, mut index) = (Parts::new(tar, memory.tar_limits()), IndexBuilder::new());
    let mut file: Option<(Entry, ContentDigests)> = None;
    while let Some(part) = parts.next_part().ok()? {
        if let Part::Content(bytes) = part {
            if let Some((_, digests)) = &mut file {
                digests.update(bytes);
            }
            continue;
        }
        if let Some((entry, digests)) = file.take() {
            index.add(&entry, Some(digests));
        }
        match part {
            Part::Entry(entry) if tree::has_content(&entry) => {
                let digests = ContentDigests::new(entry.size);
                file = Some((entry, digests));
            }
            Part::Entry(entry) => index.add(&entry, None),
            _ => {}
        }
    }
    if let Some((entry, digests)) = file {
        index.add(&entry, Some(digests));
    }
    index.finish()
}

/// Keeps by which digests later pulls find the layer's files; all were verified.
pub(crate) fn write_index(
    aside: impl AsFd,
    write: impl FnOnce(File) -> io::Result<()>,
) -> Result<(), FsError> {
    write(create(aside, aside::INDEX)?).during("write", aside::INDEX)
}

/// Makes the tree of a tar stream and keeps its tar-split.
fn unpack_tar(
    stream: ChannelReader,
    dirs: Dirs<'_>,
    privileges: Privileges,
    memory: Memory,
) -> Result<Unpacked, UnpackError> {
    let tar_split = create(dirs.aside, aside::TAR_SPLIT)?;
    let encoder = GzEncoder::new(BufWriter::new(tar_split), Level::fast());
    let mut tar = TarReader::new(stream, memory.tar_limits(), TarSplitWriter::new(encoder));
    let mut tree = TreeWriter::new(dirs.dest, TreeOptions::new(privileges));
    let (mut uids, mut gids, mut written) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(entry) = tar.next_entry().map_err(UnpackError::Tar)? {
        if !is_whiteout(&entry) {
            uids.insert(entry.uid);
            gids.insert(entry.gid);
        }
        if !tree::has_content(&entry) {
            tree.make(&entry)?;
            continue;
        }
        let file = tree.create(&entry)?;
        copy_content(&mut tar.content(), file.as_file(), &entry)?;
        written += entry.size;
        tree.complete(file, &entry)?;
    }
    let (_, tar_split) = tar.finish().map_err(UnpackError::Tar)?;
    let repeated =
        tar_split.duplicate_name().map(|name| String::from_utf8_lossy(name).into_owned());
    tar_split.finish().and_then(close).during("write", aside::TAR_SPLIT)?;
    let tree = tree.finish()?;
    Ok(Unpacked { diff_size: 0, uids, gids, tree, written, repeated })
}

/// Copies an entry's content; says which side failed.
fn copy_content(
    content: &mut impl Read,
    mut file: &File,
    entry: &Entry,
) -> Result<(), UnpackError> {
    let mut buffer = vec![0; usize::try_from(entry.size.min(256 * 1024)).unwrap_or(256 * 1024)];
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::Blob(error)),
        };
        file.write_all(&buffer[..n]).map_err(|source| UnpackError::Write {
            name: String::from_utf8_lossy(&entry.name).into_owned(),
            source,
        })?;
    }
}

/// Whether an entry stands for something deleted.
pub(crate) fn is_whiteout(entry: &Entry) -> bool {
    let name = entry.name.strip_suffix(b"/").unwrap_or(&entry.name);
    name.rsplit(|&b| b == b'/').next().is_some_and(|last| last.starts_with(b".wh."))
}

/// Ends the gzip stream and hands everything to the kernel.
fn close(encoder: GzEncoder<BufWriter<File>>) -> io::Result<()> {
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
}

/// Creates a file that was not there.
pub(crate) fn create(directory: impl AsFd, name: &str) -> Result<File, FsError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file: OwnedFd =
        openat(directory, name, flags, Mode::RUSR | Mode::WUSR).during("create", name)?;
    Ok(file.into())
}
