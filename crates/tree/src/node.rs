//! Symbolic links, devices and pipes.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, makedev, mknodat, symlinkat};
use storage_core::{Entry, LayerPath};

use crate::error::TreeError;
use crate::options::Privileges;
use crate::writer::TreeWriter;

/// Longest text of a symbolic link: what the kernel takes, less the final zero.
const MAX_TARGET: usize = 4095;

impl TreeWriter<'_> {
    pub(crate) fn make_symlink(
        &mut self,
        path: &LayerPath,
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), TreeError> {
        if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
            return Err(TreeError::SymlinkTarget(path.clone()));
        }
        let (parent, name) = path.split_last().ok_or(TreeError::Root)?;
        let parent = self.parent_of(path, &parent)?;
        self.place(parent.as_fd(), name, path, "create symbolic link", || {
            symlinkat(target, &parent, name)
        })?;
        self.apply_to_name(parent.as_fd(), name, path, entry, false)
    }

    pub(crate) fn make_fifo(&mut self, path: &LayerPath, entry: &Entry) -> Result<(), TreeError> {
        self.make_node(path, FileType::Fifo, 0, entry)
    }

    pub(crate) fn make_device(
        &mut self,
        path: &LayerPath,
        file_type: FileType,
        (major, minor): (u32, u32),
        entry: &Entry,
    ) -> Result<(), TreeError> {
        if file_type == FileType::CharacterDevice && (major, minor) == (0, 0) {
            return Err(TreeError::WhiteoutDevice(path.clone()));
        }
        if self.options.privileges == Privileges::Root {
            return self.make_node(path, file_type, makedev(major, minor), entry);
        }
        let (parent, name) = path.split_last().ok_or(TreeError::Root)?;
        let parent = self.parent_of(path, &parent)?;
        self.clear(parent.as_fd(), name, path)?;
        self.skip_device(path);
        Ok(())
    }

    fn make_node(
        &mut self,
        path: &LayerPath,
        file_type: FileType,
        device: u64,
        entry: &Entry,
    ) -> Result<(), TreeError> {
        let (parent, name) = path.split_last().ok_or(TreeError::Root)?;
        let parent = self.parent_of(path, &parent)?;
        self.place(parent.as_fd(), name, path, "create device or pipe", || {
            mknodat(&parent, name, file_type, Mode::empty(), device)
        })?;
        self.apply_to_name(parent.as_fd(), name, path, entry, true)
    }
}
