//! An image that is written into a layout directory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use storage_core::{FsError, FsResultExt as _, VerifyError};

use super::{LayoutError, LayoutWriter, ManifestDescriptor, StoredBlob};
use crate::TransportError;
use crate::target::{Found, ImageTarget};

/// An image of a layout, to be written.
#[derive(Debug)]
pub struct LayoutTarget {
    writer: LayoutWriter,
    tag: Option<String>,
    place: String,
}

impl LayoutTarget {
    /// Makes the directory and the layout where there is none.
    pub(crate) fn create(
        dir: &Path,
        tag: Option<&str>,
        place: String,
    ) -> Result<Self, TransportError> {
        match open(dir) {
            Ok(writer) => Ok(Self { writer, tag: tag.map(Into::into), place }),
            Err(error) => Err(error.at(place)),
        }
    }

    fn placed<T>(&self, result: Result<T, LayoutError>) -> Result<T, TransportError> {
        result.map_err(|error| error.at(&self.place))
    }

    fn put(
        &self,
        blob: &StoredBlob,
        content: &File,
        told: &dyn Fn(u64),
    ) -> Result<(), LayoutError> {
        let mut writer = self.writer.blob_writer()?;
        copy(content, blob.size, &mut writer, told)?;
        let written = writer.finish()?;
        check(blob, &written)
    }
}

fn open(dir: &Path) -> Result<LayoutWriter, LayoutError> {
    match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(FsError::new("create directory", dir, error).into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, dir, flags, Mode::empty());
    LayoutWriter::create(opened.during("open directory", dir)?)
}

/// Copies the start of a file, whatever its cursor.
pub(super) fn copy(
    content: &File,
    size: u64,
    mut out: impl std::io::Write,
    told: &dyn Fn(u64),
) -> Result<(), LayoutError> {
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let block = &mut buffer[..want];
        content.read_exact_at(block, at).map_err(LayoutError::Content)?;
        out.write_all(block).during("write", "a new blob")?;
        at += want as u64;
        told(at);
    }
    Ok(())
}

/// That what was written is what it was said to be.
pub(super) fn check(wanted: &StoredBlob, written: &StoredBlob) -> Result<(), LayoutError> {
    if wanted.digest == written.digest {
        return Ok(());
    }
    let (expected, actual) = (*wanted.digest.digest(), *written.digest.digest());
    let source = std::io::Error::other(VerifyError::Digest { expected, actual });
    Err(LayoutError::Blob { digest: wanted.digest, source })
}

impl ImageTarget for LayoutTarget {
    fn find_blob(&self, blob: &StoredBlob) -> Result<Found, TransportError> {
        let size = self.placed(self.writer.blob_size(&blob.digest))?;
        // One of another size is damaged; it is replaced.
        Ok(if size == Some(blob.size) { Found::Present } else { Found::Absent })
    }

    fn put_blob(
        &self,
        blob: &StoredBlob,
        content: &File,
        told: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), TransportError> {
        self.placed(self.put(blob, content, &**told))
    }

    fn finish(
        self: Box<Self>,
        manifest: &[u8],
        media_type: &str,
    ) -> Result<StoredBlob, TransportError> {
        let put = || {
            let blob = self.writer.put_bytes(manifest)?;
            let entry = ManifestDescriptor::new(media_type, blob);
            self.writer.set_manifest(self.tag.as_deref(), &entry)?;
            Ok(blob)
        };
        self.placed(put())
    }
}
