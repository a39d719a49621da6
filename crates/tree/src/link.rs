//! Hard links.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Stat, linkat, statat};
use rustix::io::Errno;
use storage_core::{Entry, FsResultExt, LayerPath};

use crate::descent::Id;
use crate::error::{LinkProblem, TreeError};
use crate::parents::parent_error;
use crate::whiteout::is_whiteout;
use crate::writer::TreeWriter;

impl TreeWriter<'_> {
    pub(crate) fn make_hard_link(
        &mut self,
        link: &LayerPath,
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), TreeError> {
        let target = LayerPath::parse(target)?;
        let (parent, name) = link.split_last().ok_or(TreeError::Root)?;
        let parent = self.parent_of(link, &parent)?;
        let Some(found) = self.find_target(link, &target)? else {
            self.clear(parent.as_fd(), name, link)?;
            self.skip_device(link);
            return Ok(());
        };
        let (_, target_name) = target.split_last().expect("the root is a directory");
        self.place(parent.as_fd(), name, link, "hard link", || {
            match linkat(&found.parent, target_name, &parent, name, AtFlags::empty()) {
                Err(Errno::EXIST) => {
                    // A name may stand in its own way, directly or through a link above it.
                    let there = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if Id::of(&there) == Id::of(&found.stat) { Ok(()) } else { Err(Errno::EXIST) }
                }
                result => result,
            }
        })
        .map_err(|error| match error {
            // It stood in a directory that made room for its link.
            TreeError::Fs(error) if error.kind() == std::io::ErrorKind::NotFound => {
                problem(link, &target, LinkProblem::Missing)
            }
            error => error,
        })?;
        let has_mode = FileType::from_raw_mode(found.stat.st_mode) != FileType::Symlink;
        self.apply_to_name(parent.as_fd(), name, link, entry, has_mode)
    }

    /// Where the target is; `None` if it is a device that was left out.
    fn find_target(
        &mut self,
        link: &LayerPath,
        target: &LayerPath,
    ) -> Result<Option<Target>, TreeError> {
        let Some((parent, name)) = target.split_last() else {
            return Err(problem(link, target, LinkProblem::Directory));
        };
        let missing = |writer: &Self| {
            let skipped = writer.skipped.contains(target);
            if skipped { Ok(None) } else { Err(problem(link, target, LinkProblem::Missing)) }
        };
        let parent = match self.parents.find(&parent) {
            Err(Errno::NOENT | Errno::NOTDIR) => return missing(self),
            parent => parent.map_err(|errno| parent_error(target, errno))?,
        };
        let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return missing(self),
            stat => stat.during("stat", target.as_path())?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(problem(link, target, LinkProblem::Directory));
        }
        if is_whiteout(&stat) {
            return Err(problem(link, target, LinkProblem::Whiteout));
        }
        Ok(Some(Target { parent, stat }))
    }

    pub(crate) fn skip_device(&mut self, path: &LayerPath) {
        self.report.skipped_devices += 1;
        self.skipped.insert(path);
    }
}

/// What a hard link leads to.
struct Target {
    parent: Arc<OwnedFd>,
    stat: Stat,
}

fn problem(link: &LayerPath, target: &LayerPath, problem: LinkProblem) -> TreeError {
    TreeError::Link { link: link.clone(), target: target.clone(), problem }
}

/// Paths of devices that were left out, so that links to them are left out, too.
///
/// Only hashes, under a random key: a layer may have millions.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    key: RandomState,
    hashes: HashSet<u64>,
}

impl Skipped {
    fn insert(&mut self, path: &LayerPath) {
        self.hashes.insert(self.key.hash_one(path));
    }

    fn contains(&self, path: &LayerPath) -> bool {
        self.hashes.contains(&self.key.hash_one(path))
    }
}
