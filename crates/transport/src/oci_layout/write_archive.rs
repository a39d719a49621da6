//! An image that is written as a tar file of a layout.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use storage_core::{BlobDigest, Digest, FsResultExt as _, Hasher};
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use super::target::{check, copy};
use super::temp::TempFile;
use super::write::layout_documents;
use super::{INDEX_FILE, LAYOUT_FILE, LayoutError, ManifestDescriptor, StoredBlob, blob_path};
use crate::TransportError;
use crate::target::{Found, ImageTarget};

/// The blocks of zeros at the end of a tar.
const END: [u8; 1024] = [0; 1024];

/// The only image of an archive, to be written.
///
/// The file takes its name when it is finished, in place of one that may have it.
#[derive(Debug)]
pub struct ArchiveTarget {
    name: String,
    tag: Option<String>,
    place: String,
    archive: Mutex<Archive>,
}

#[derive(Debug)]
struct Archive {
    file: TempFile,
    blobs: HashSet<BlobDigest>,
}

impl ArchiveTarget {
    /// Begins a file beside the one that `path` names.
    pub(crate) fn create(
        path: &Path,
        tag: Option<&str>,
        place: String,
    ) -> Result<Self, TransportError> {
        match begin(path) {
            Ok((name, file)) => {
                let archive = Mutex::new(Archive { file, blobs: HashSet::new() });
                Ok(Self { name, tag: tag.map(Into::into), place, archive })
            }
            Err(error) => Err(error.at(place)),
        }
    }
}

fn begin(path: &Path) -> Result<(String, TempFile), LayoutError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else { return Err(LayoutError::NotAFile(path.display().to_string())) };
    let mut dir = path.parent().map(PathBuf::from).unwrap_or_default();
    dir.push(".");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, &dir, flags, Mode::empty());
    Ok((name.to_owned(), TempFile::new(opened.during("open directory", &dir)?)?))
}

impl Archive {
    /// Adds a file; `write` gives its content.
    fn add(
        &mut self,
        name: &str,
        size: u64,
        write: impl FnOnce(&mut File) -> Result<(), LayoutError>,
    ) -> Result<(), LayoutError> {
        let file = self.file.file();
        file.write_all(&header(name, size).during("write", name)?).during("write", name)?;
        write(file)?;
        let padding = size.next_multiple_of(512) - size;
        // Less than a block.
        let padding = &END[..usize::try_from(padding).unwrap_or_default()];
        Ok(file.write_all(padding).during("write", name)?)
    }

    fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        self.add(name, bytes.len() as u64, |file| {
            Ok(file.write_all(bytes).during("write", name)?)
        })
    }

    fn add_blob(
        &mut self,
        blob: &StoredBlob,
        content: &File,
        told: &dyn Fn(u64),
    ) -> Result<(), LayoutError> {
        if self.blobs.contains(&blob.digest) {
            return Ok(());
        }
        self.add(&blob_path(&blob.digest), blob.size, |file| {
            let mut out = Hashing { file, hasher: Hasher::new() };
            copy(content, blob.size, &mut out, told)?;
            check(blob, &StoredBlob { digest: out.hasher.finish().into(), size: blob.size })
        })?;
        self.blobs.insert(blob.digest);
        Ok(())
    }

    /// Writes the manifest and what leads to it, and gives the file its name.
    fn finish(
        mut self,
        name: &str,
        tag: Option<&str>,
        manifest: &[u8],
        media_type: &str,
    ) -> Result<StoredBlob, LayoutError> {
        let digest = Digest::of(manifest).into();
        let blob = StoredBlob { digest, size: manifest.len() as u64 };
        self.add_bytes(&blob_path(&digest), manifest)?;
        let (layout, index) = layout_documents(tag, &ManifestDescriptor::new(media_type, blob));
        self.add_bytes(LAYOUT_FILE, &layout)?;
        self.add_bytes(INDEX_FILE, &index)?;
        self.file.file().write_all(&END).during("write", name)?;
        self.file.persist(name)?;
        Ok(blob)
    }
}

/// The header of a file, with what must be said in front of it where it is large.
fn header(name: &str, size: u64) -> io::Result<Vec<u8>> {
    let mut entry = EntryBuilder::new_gnu();
    entry.path(name).entry_type(EntryType::Regular);
    let result = entry.mode(0o644).and_then(|e| e.uid(0)).and_then(|e| e.gid(0));
    let result = result.and_then(|e| e.mtime(0)).and_then(|e| e.size(size)).map(drop);
    result.map_err(io::Error::other)?;
    Ok(entry.finish_bytes())
}

struct Hashing<'f> {
    file: &'f mut File,
    hasher: Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ImageTarget for ArchiveTarget {
    fn find_blob(&self, blob: &StoredBlob) -> Result<Found, TransportError> {
        let archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let there = archive.blobs.contains(&blob.digest);
        Ok(if there { Found::Present } else { Found::Absent })
    }

    /// One blob after the other: a tar has one end.
    fn put_blob(
        &self,
        blob: &StoredBlob,
        content: &File,
        told: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), TransportError> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let put = archive.add_blob(blob, content, &**told);
        put.map_err(|error| error.at(&self.place))
    }

    fn finish(
        self: Box<Self>,
        manifest: &[u8],
        media_type: &str,
    ) -> Result<StoredBlob, TransportError> {
        let Self { name, tag, place, archive } = *self;
        let archive = archive.into_inner().unwrap_or_else(PoisonError::into_inner);
        let finished = archive.finish(&name, tag.as_deref(), manifest, media_type);
        finished.map_err(|error| error.at(place))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn gnu_tar_reads_the_header_of_a_file_that_octal_digits_cannot_measure() {
        for size in [0, 511, 9 << 30] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("large.tar");
            let mut file = File::create(&path).unwrap();
            let header = header("blobs/sha256/x", size).unwrap();
            file.write_all(&header).unwrap();
            // A hole: the content does not matter.
            file.set_len(header.len() as u64 + size.next_multiple_of(512) + 1024).unwrap();
            let out = Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert!(text.contains(&format!(" {size} 1970-")), "{text}");
        }
    }
}
