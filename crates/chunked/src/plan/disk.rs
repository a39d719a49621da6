//! What a layer would take of the disk.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use reflink::shares_extents;
use rustix::fs::{fstat, fstatvfs};
use storage_core::{FsError, FsResultExt};

use super::Plan;
use super::stretch::Stretch;
use crate::{Candidate, Reuse, TocFile};

/// What the contents of a layer's files would take of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiskUse {
    /// Bytes that would share the extents of other files, if those have no holes and are not
    /// so short that the filesystem keeps them among its metadata.
    pub shared: u64,
    /// Bytes of the blocks of everything else.
    pub used: u64,
}

/// Chunks that would be cloned together.
struct Run {
    of: Candidate,
    stretch: Stretch,
}

impl Plan<'_> {
    /// What the files of the layer would take of the filesystem of `dest`, if every candidate
    /// holds. By `is_on` it is asked whether a source, by its number, is on a device.
    ///
    /// # Errors
    ///
    /// If nothing can be learned of the filesystem.
    pub fn disk(
        &self,
        dest: BorrowedFd<'_>,
        is_on: impl Fn(u32, u64) -> bool,
    ) -> Result<DiskUse, FsError> {
        let block = fstatvfs(dest).during("look at the filesystem of", "dest")?.f_frsize.max(1);
        let device = fstat(dest).during("look at", "dest")?.st_dev;
        // Where it can't be tried, nothing is promised.
        let clones = shares_extents(dest).unwrap_or(false);
        let sources = self.by_source().into_keys().filter(|_| clones);
        let near = sources.filter(|&source| is_on(source, device)).collect();
        Ok(self.in_blocks(block, &near))
    }

    /// The same for blocks of so many bytes, where files of `near` sources can be cloned.
    fn in_blocks(&self, block: u64, near: &HashSet<u32>) -> DiskUse {
        let mut sum = DiskUse::default();
        for file in self.toc.files() {
            let shared = self.shared(file, block, near);
            let holes: u64 = file.chunks().filter(|chunk| chunk.hole).map(|chunk| chunk.size).sum();
            let used = file.size().saturating_sub(shared).saturating_sub(holes);
            sum.shared += shared;
            sum.used += used.next_multiple_of(block);
        }
        sum
    }

    fn shared(&self, file: TocFile<'_>, block: u64, near: &HashSet<u32>) -> u64 {
        if let Some(candidate) = self.candidates(file).next() {
            let clones =
                near.contains(&candidate.source) && !self.prefers_copy(&candidate, file.size());
            return if clones || self.reuse == Reuse::HardLink { file.size() } else { 0 };
        }
        let (mut shared, mut run) = (0, None::<Run>);
        for (i, chunk) in (0..).zip(file.chunks()).filter(|(_, chunk)| !chunk.hole) {
            let goes_on = |candidate: &Candidate| {
                run.as_ref().is_some_and(|run| run.goes_on(candidate, chunk.file_offset))
            };
            let best = self.ranked(file, i, block, goes_on).into_iter().next();
            let Some(best) = best.filter(|best| near.contains(&best.source)) else { continue };
            match &mut run {
                _ if self.prefers_copy(&best, 0) => {}
                Some(run) if run.goes_on(&best, chunk.file_offset) => {
                    run.stretch.length += chunk.size;
                }
                _ => {
                    let (from, to, length) = (best.offset, chunk.file_offset, chunk.size);
                    let new = Run { of: best, stretch: Stretch { from, to, length } };
                    shared += run.replace(new).map_or(0, |run| run.whole_blocks(block));
                }
            }
        }
        shared + run.map_or(0, |run| run.whole_blocks(block))
    }
}

impl Run {
    fn goes_on(&self, candidate: &Candidate, to: u64) -> bool {
        let same = (self.of.source, &self.of.path) == (candidate.source, &candidate.path);
        same && self.stretch.goes_on(candidate.offset, to)
    }

    fn whole_blocks(&self, block: u64) -> u64 {
        self.stretch.whole_blocks(block).map_or(0, |blocks| blocks.end - blocks.start)
    }
}
