//! The files of a layout in a directory.

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use storage_core::{FileSource, FsResultExt, RangeSource};

use super::LayoutError;

/// Gives files of a layout by their names in it.
pub(super) trait Files: Send + Sync + fmt::Debug {
    /// A source over the whole of the file `name`.
    fn file(&self, name: &str) -> Result<Arc<dyn RangeSource>, LayoutError>;
}

/// The files below an open directory.
#[derive(Debug)]
pub(super) struct Directory(pub(super) OwnedFd);

impl Files for Directory {
    /// Symbolic links are followed, since build tools make layouts of them; what is
    /// behind one is checked like any other content. Only regular files are opened.
    fn file(&self, name: &str) -> Result<Arc<dyn RangeSource>, LayoutError> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::empty()).during("open", name)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LayoutError::NotAFile(name.into()));
        }
        // Should another have taken its place meanwhile, opening must not block.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file: File =
            rustix::fs::openat(&self.0, name, flags, Mode::empty()).during("open", name)?.into();
        if !file.metadata().during("look at", name)?.is_file() {
            return Err(LayoutError::NotAFile(name.into()));
        }
        Ok(Arc::new(FileSource::new(file).during("look at", name)?))
    }
}
