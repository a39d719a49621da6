//! The content of a layer's files: against the checksums of its tar-split, and all
//! of it against the digest of its tar.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use chunked::Toc;
use storage_core::{
    DiffId, Digest, Entry, FsError, FsResultExt as _, Hasher, LayerPath, LayerRecord,
    is_for_want_of_room,
};
use tarball::{Crc64, SplitPart};
use tree::{Aspect, TreeError, TreeReader};

use super::layer::LayerLook;
use super::look::LayerData;
use super::problem::TAR_SPLIT;
use super::{CheckError, CheckLevel, Problem};

/// What is read at once.
const BUFFER: usize = 256 << 10;

/// Adds to `look` the files whose content differs, as far as the level asks for it.
pub(super) fn look_at_content(
    record: &LayerRecord,
    diff: BorrowedFd<'_>,
    data: &LayerData<'_>,
    level: CheckLevel,
    look: &mut LayerLook,
) -> Result<(), CheckError> {
    let hash = match level {
        CheckLevel::Content => Some(Hasher::new()),
        CheckLevel::Sample { .. } => None,
        CheckLevel::Records | CheckLevel::Attributes => return Ok(()),
    };
    let Some(parts) = data.tar_split()? else { return Ok(()) };
    let tree = TreeReader::new(diff);
    let mut reader = ContentReader { tree, level, tar: hash, buffer: vec![0; BUFFER] };
    for part in parts {
        match part {
            Ok(SplitPart::Raw(bytes)) => reader.raw(&bytes),
            Ok(SplitPart::File { entry, crc64 }) => reader.file(&entry, crc64, look)?,
            Ok(_) => {}
            Err(error) => {
                let reason = crate::pull::error_chain(&error);
                tracing::warn!(layer = %record.id, reason, "its tar-split cannot be read");
                look.damaged(TAR_SPLIT);
                return Ok(());
            }
        }
    }
    if let (Some(hash), Some(expected)) = (reader.tar, record.diff_digest) {
        let actual = DiffId::from(hash.finish());
        if actual != expected {
            let layer = record.id.clone();
            look.problems.push(Problem::Changed { layer, expected, actual });
        }
    }
    Ok(())
}

struct ContentReader<'d> {
    tree: TreeReader<'d>,
    level: CheckLevel,
    /// Of the tar, unless not all of it can be had.
    tar: Option<Hasher>,
    buffer: Vec<u8>,
}

impl ContentReader<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        if let Some(tar) = &mut self.tar {
            tar.update(bytes);
        }
    }

    fn file(&mut self, entry: &Entry, crc64: u64, look: &mut LayerLook) -> Result<(), CheckError> {
        if entry.size == 0 || !chosen(self.level, &entry.name) {
            return Ok(());
        }
        // What a whiteout's file holds is kept nowhere.
        let path = LayerPath::parse(&entry.name).ok().filter(|_| tree::has_content(entry));
        let Some(path) = path else {
            self.tar = None;
            return Ok(());
        };
        let actual = self.read(&path, entry.size)?;
        // What is missing or another kind of thing is said already.
        if let Err(error) = &actual
            && !look.differences.contains_key(&path)
        {
            let reason = crate::pull::error_chain(error);
            tracing::warn!(layer = %look.layer, %path, reason, "it cannot be read");
        }
        if !actual.is_ok_and(|actual| actual == Some(crc64)) {
            self.tar = None;
            look.blame(&path);
        }
        Ok(())
    }

    /// The checksum of a file of just this length; `None` for another length.
    fn read(
        &mut self,
        path: &LayerPath,
        size: u64,
    ) -> Result<Result<Option<u64>, TreeError>, CheckError> {
        let mut crc = Crc64::new();
        let tar = &mut self.tar;
        let length = read(&mut self.tree, path, &mut self.buffer, size, |bytes| {
            crc.update(bytes);
            if let Some(tar) = tar {
                tar.update(bytes);
            }
        })?;
        Ok(length.map(|length| (length == size).then(|| crc.value())))
    }
}

/// Hands out what a file holds, as [`each_piece`] does; the inner error is the file's own.
fn read(
    tree: &mut TreeReader<'_>,
    path: &LayerPath,
    buffer: &mut [u8],
    size: u64,
    take: impl FnMut(&[u8]),
) -> Result<Result<u64, TreeError>, CheckError> {
    let opened = tree.open(path);
    let length = opened
        .and_then(|file| Ok(each_piece(file, buffer, size, take).during("read", path.as_path())?));
    match length {
        Err(TreeError::Fs(error)) if error.is_for_want_of_room() => Err(error.into()),
        Err(TreeError::Parent { path, source }) if is_for_want_of_room(&source) => {
            Err(FsError::new("open the parent directory of", path.as_path(), source).into())
        }
        length => Ok(length),
    }
}

/// Names the files that differ from the TOC, where only the tar's digest told that
/// something does: a change that leaves a checksum as it was is no accident.
pub(super) fn name_changed(
    look: &mut LayerLook,
    diff: BorrowedFd<'_>,
    toc: &Toc,
) -> Result<(), CheckError> {
    let changed = |problem: &Problem| matches!(problem, Problem::Changed { .. });
    if !look.problems.iter().any(changed) {
        return Ok(());
    }
    let mut tree = TreeReader::new(diff);
    let mut buffer = vec![0; BUFFER];
    let mut found = false;
    for file in toc.files() {
        let mut hash = Hasher::new();
        let take = |bytes: &[u8]| hash.update(bytes);
        let read = read(&mut tree, &file.path(), &mut buffer, file.size(), take)?;
        if read.is_err() || hash.finish() != *file.digest().digest() {
            look.add(file.path(), Aspect::Content);
            found = true;
        }
    }
    if found {
        look.problems.retain(|problem| !changed(problem));
    }
    Ok(())
}

/// Hands out what a file holds, up to just beyond `size`; tells how much that was.
pub(crate) fn each_piece(
    mut file: File,
    buffer: &mut [u8],
    size: u64,
    mut take: impl FnMut(&[u8]),
) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let count = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        length += count as u64;
        if count == 0 || length > size {
            return Ok(length);
        }
        take(&buffer[..count]);
    }
}

/// Whether the level asks for the content of the file of that name.
fn chosen(level: CheckLevel, name: &[u8]) -> bool {
    let CheckLevel::Sample { percent, seed } = level else { return true };
    let digest = Digest::of(&[&seed.to_le_bytes(), name].concat());
    let (number, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*number) % 100 < u64::from(percent)
}
