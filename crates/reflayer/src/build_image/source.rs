//! A directory as a tar stream.

use std::collections::HashMap;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use bytes::Bytes;
use crossbeam::channel::Sender;
use storage_core::{Entry, EntryKind, LayerPath};
use tarball::{TarWriteError, TarWriter, WriterOptions};
use tree::{Found, TreeReader, Walk, WalkError, WalkOptions};

use super::{BuildError, BuildOptions, Contents};
use crate::pipeline::ChannelWriter;

/// Bytes handed over at once.
const BLOCK: usize = 256 * 1024;

/// Sends the tar stream of `dir`. The channel ends without a last message if that fails.
pub(super) fn send_tar(
    dir: BorrowedFd<'_>,
    to: Sender<io::Result<Bytes>>,
    options: &BuildOptions,
) -> Result<Contents, BuildError> {
    let out = BufWriter::with_capacity(BLOCK, ChannelWriter::new(to));
    let mut source = Source {
        options,
        dir,
        tar: TarWriter::new(out, WriterOptions::default()),
        contents: Contents::default(),
        moved: HashMap::new(),
    };
    let mut walk_options = WalkOptions::default();
    walk_options.root_entry = true;
    let mut walk = Walk::new(dir, walk_options).map_err(BuildError::Walk)?;
    for found in walk.by_ref() {
        match found {
            Ok(found) if source.is_excluded(&found.path) => {}
            Ok(found) => source.found(found)?,
            Err(error) => source.missed(error)?,
        }
    }
    source.contents.sockets = walk.skipped_sockets();
    source.finish()
}

struct Source<'a, W: Write> {
    options: &'a BuildOptions,
    dir: BorrowedFd<'a>,
    tar: TarWriter<W>,
    contents: Contents,
    /// Files whose first name is excluded, by that name, and the first name that is not.
    moved: HashMap<LayerPath, LayerPath>,
}

impl Source<'_, BufWriter<ChannelWriter>> {
    fn finish(self) -> Result<Contents, BuildError> {
        let write = |error| BuildError::Tar(TarWriteError::Write(error));
        let out = self.tar.finish().map_err(BuildError::Tar)?;
        let out = out.into_inner().map_err(|error| write(error.into_error()))?;
        out.finish().map_err(write)?;
        Ok(self.contents)
    }
}

impl<W: Write> Source<'_, W> {
    fn is_excluded(&self, path: &LayerPath) -> bool {
        self.is_path_excluded(path.as_path())
    }

    fn is_path_excluded(&self, path: &Path) -> bool {
        self.options.exclude.iter().any(|excluded| path.starts_with(excluded.as_path()))
    }

    fn found(&mut self, Found { path, mut entry, file }: Found) -> Result<(), BuildError> {
        if let EntryKind::HardLink { target } = &entry.kind {
            // The walk made the target from a path.
            let first = LayerPath::parse(target).unwrap_or_default();
            if let Some(moved) = self.moved.get(&first) {
                entry.kind = EntryKind::HardLink { target: moved.as_bytes().into() };
            } else if self.is_excluded(&first) {
                return self.move_file(path, first, entry);
            }
        }
        match file {
            Some(file) => self.entry(entry, file),
            None => self.entry(entry, io::empty()),
        }
    }

    /// Writes a file under its second name, as the first one is excluded.
    fn move_file(
        &mut self,
        path: LayerPath,
        excluded: LayerPath,
        entry: Entry,
    ) -> Result<(), BuildError> {
        let file = match TreeReader::new(self.dir).open(&path) {
            Ok(file) => file,
            Err(tree::TreeError::NotRegular(_)) => {
                return Err(BuildError::LinkToExcluded { path, excluded });
            }
            Err(error) => return Err(BuildError::Tree(error)),
        };
        let size = rustix::fs::fstat(&file)
            .map_err(|error| TarWriteError::Content {
                name: entry.name.clone(),
                source: error.into(),
            })
            .map_err(BuildError::Tar)?
            .st_size
            .unsigned_abs();
        self.moved.insert(excluded, path);
        self.entry(Entry { kind: EntryKind::Regular, size, ..entry }, file)
    }

    fn entry(&mut self, mut entry: Entry, content: impl Read) -> Result<(), BuildError> {
        if let Some((uid, gid)) = self.options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(latest) = self.options.latest_mtime {
            entry.mtime = entry.mtime.min(latest);
        }
        self.contents.entries += 1;
        // A file that grows meanwhile, a log, is taken as long as it was.
        let size = entry.size;
        self.tar.entry(&entry, content.take(size)).map_err(BuildError::Tar)
    }

    /// Decides about something that could not be read.
    fn missed(&mut self, error: WalkError) -> Result<(), BuildError> {
        let WalkError::Fs(fs) = &error else { return Err(BuildError::Walk(error)) };
        if self.is_path_excluded(&fs.path) {
            return Ok(());
        }
        let unreadable =
            matches!(fs.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound);
        if !(unreadable && self.options.skip_unreadable) {
            return Err(BuildError::Walk(error));
        }
        tracing::info!(path = %fs.path.display(), error = %fs.source, "left out");
        self.contents.skipped += 1;
        Ok(())
    }
}
