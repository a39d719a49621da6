//! Whole files from local ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use reflink::{ReflinkError, reflink};
use storage_core::{Dirs, FsError, FsResultExt, Hasher};
use tree::{NewFile, TreeWriter};

use super::PinError;
use super::link;
use super::refused::Refused;
use super::shared;
use crate::{Candidate, LayerBytes, Plan, Reuse, Sources, TocFile};

const BUFFER: usize = 128 << 10;

/// Takes whole files from local ones, and remembers which filesystems refuse to share.
pub(super) struct WholeFiles<'p> {
    plan: &'p Plan<'p>,
    sources: &'p dyn Sources,
    dirs: Dirs<'p>,
    refused: &'p Refused,
    buffer: Vec<u8>,
}

/// How a candidate became ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Shared,
    Copied,
}

/// The candidate is of no use; it is no error of the pull.
struct Useless;

impl<'p> WholeFiles<'p> {
    pub(super) fn new(
        plan: &'p Plan<'p>,
        sources: &'p dyn Sources,
        dirs: Dirs<'p>,
        refused: &'p Refused,
    ) -> Self {
        Self { plan, sources, dirs, refused, buffer: vec![0; BUFFER] }
    }

    /// Makes `file` from one of its candidates; `false` if none of them served.
    pub(super) fn take(
        &mut self,
        file: TocFile<'_>,
        tree: &mut TreeWriter<'_>,
        report: &mut LayerBytes,
    ) -> Result<bool, PinError> {
        let mut target: Option<NewFile> = None;
        for candidate in self.plan.candidates(file) {
            let Some(source) = self.open(&candidate, file) else { continue };
            let entry = file.entry();
            let new = match target.take() {
                Some(used) => {
                    used.set_len(0).during("truncate", file.path().as_path())?;
                    used
                }
                None => tree.create(&entry)?,
            };
            if self.plan.reuse == Reuse::HardLink
                && self.content_is_right(&source, file).is_ok()
                && link::replace(&source, &entry, self.dirs)?
            {
                report.reused_files += file.size();
                report.shared += file.size();
                return Ok(true);
            }
            if let Ok(taken) = self.fill(&source, &new, file)? {
                report.reused_files += file.size();
                report.shared += match taken {
                    Taken::Copied => 0,
                    Taken::Shared => shared::of_cloned(&new, file.size()),
                };
                tree.complete(new, &entry)?;
                return Ok(true);
            }
            tracing::debug!(?candidate, path = %file.path(), "candidate is of no use");
            target = Some(new);
        }
        Ok(false)
    }

    /// The candidate's file, if it is one of the right length.
    fn open(&self, candidate: &Candidate, file: TocFile<'_>) -> Option<File> {
        let opened = self.sources.open(candidate).and_then(|source| {
            let metadata = source.metadata()?;
            let fits = metadata.is_file() && metadata.len() == file.size();
            if fits { Ok(source) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        match opened {
            Ok(source) => Some(source),
            Err(error) => {
                tracing::debug!(?candidate, %error, "candidate can't be used");
                None
            }
        }
    }

    /// Brings the source's bytes into `target`, and only then looks at them.
    ///
    /// The outer error is one of the target, the inner one of the source.
    fn fill(
        &mut self,
        source: &File,
        target: &File,
        file: TocFile<'_>,
    ) -> Result<Result<Taken, Useless>, FsError> {
        match self.share(source, target) {
            Ok(true) => Ok(self.content_is_right(target, file).map(|()| Taken::Shared)),
            Ok(false) if self.plan.reuse == Reuse::ReflinkOnly => Ok(Err(Useless)),
            Ok(false) => self.copy(source, target, file),
            Err(Useless) => Ok(Err(Useless)),
        }
    }

    /// Shares the source's extents; `false` if that can't be done here.
    fn share(&mut self, source: &File, target: &File) -> Result<bool, Useless> {
        let device = |file: &File| file.metadata().map(|metadata| metadata.dev());
        let (Ok(from), Ok(to)) = (device(source), device(target)) else { return Err(Useless) };
        if self.refused.contains(from, to) {
            return Ok(false);
        }
        match reflink(source, target) {
            Ok(()) => Ok(true),
            Err(ReflinkError::Refused(refusal)) => {
                self.refused.remember(from, to, refusal);
                Ok(false)
            }
            Err(error) => {
                tracing::debug!(%error, "sharing extents failed");
                Err(Useless)
            }
        }
    }

    /// Copies the source, hashing what is written; holes stay holes.
    fn copy(
        &mut self,
        source: &File,
        target: &File,
        file: TocFile<'_>,
    ) -> Result<Result<Taken, Useless>, FsError> {
        let path = file.path();
        let buffer = &mut self.buffer;
        let right = hash_file(source, file, buffer, |offset, bytes| {
            if bytes.iter().all(|&byte| byte == 0) {
                return Ok(());
            }
            target.write_all_at(bytes, offset).during("write", path.as_path())
        })?;
        if right.is_ok() {
            target.set_len(file.size()).during("set the length of", path.as_path())?;
        }
        Ok(right.map(|()| Taken::Copied))
    }

    fn content_is_right(&mut self, content: &File, file: TocFile<'_>) -> Result<(), Useless> {
        hash_file(content, file, &mut self.buffer, |_, _| Ok(())).unwrap_or(Err(Useless))
    }
}

/// Reads `content`, hands on what it reads and where, and tells whether that is `file`.
///
/// The outer error is that of `take`; what can't be read is of no use.
fn hash_file(
    content: &File,
    file: TocFile<'_>,
    buffer: &mut [u8],
    mut take: impl FnMut(u64, &[u8]) -> Result<(), FsError>,
) -> Result<Result<(), Useless>, FsError> {
    let mut hasher = Hasher::new();
    let mut at = 0;
    loop {
        let n = match content.read_at(buffer, at) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(Err(Useless)),
        };
        if n as u64 > file.size() - at {
            return Ok(Err(Useless));
        }
        hasher.update(&buffer[..n]);
        take(at, &buffer[..n])?;
        at += n as u64;
    }
    let right = at == file.size() && hasher.finish() == *file.digest().digest();
    Ok(if right { Ok(()) } else { Err(Useless) })
}
