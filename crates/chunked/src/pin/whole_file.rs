//! Whole files from local ones.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt};

use reflink::{ReflinkError, reflink};
use rustix::fs::{Advice, fadvise, fstat};
use storage_core::{Dirs, FsError, FsResultExt, Hasher};
use tree::NewFile;

use super::link;
use super::refused::Refused;
use super::shared;
use crate::making::Making;
use crate::{ApplyError, Candidate, Plan, Prover, Reuse, Sources, TocFile};

const BUFFER: usize = 128 << 10;

/// The least that a filesystem leaves out where a file is all zeros; what is longer
/// is not kept among the metadata.
const BLOCK: usize = 4096;

/// Bytes of a clone that are asked for before its turn comes.
const READ_AHEAD: u64 = 1 << 20;

/// Least length of a file that is worth being written to the disk at once, so that its
/// extents can be shared.
const WORTH_SHARING: u64 = 1 << 20;

/// Takes whole files from local ones, and remembers which filesystems refuse to share.
pub(super) struct WholeFiles<'p> {
    plan: &'p Plan<'p>,
    sources: &'p dyn Sources,
    dirs: Dirs<'p>,
    refused: &'p Refused,
    /// Device of the layer's tree.
    device: u64,
    /// Files shorter than this may have nothing that is shared.
    short: u64,
    buffer: Vec<u8>,
}

/// A candidate of the right length.
struct Source {
    file: File,
    device: u64,
}

/// A file whose content was cloned and has to be looked at.
#[derive(Debug)]
pub(super) struct Cloned<'t> {
    file: TocFile<'t>,
    target: NewFile,
    /// How many candidates were tried for it.
    tried: usize,
}

/// What became of a file.
#[derive(Debug)]
pub(super) enum Begun<'t> {
    /// It is in its place.
    Made,
    /// It is, but nobody has looked at it yet.
    Cloned(Cloned<'t>),
    /// None of its candidates served.
    Hopeless(TocFile<'t>),
}

/// How a candidate became ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Shared,
    /// And it was the right one.
    Copied,
}

/// What was seen of a content that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Whether a block of it is all zeros, so that the filesystem may keep none.
    empty_block: bool,
}

/// The candidate is of no use; it is no error of the pull.
struct Useless;

impl<'p> WholeFiles<'p> {
    pub(super) fn new(
        plan: &'p Plan<'p>,
        sources: &'p dyn Sources,
        dirs: Dirs<'p>,
        refused: &'p Refused,
    ) -> Result<Self, FsError> {
        let device = fstat(dirs.dest).during("look at", "dest")?.st_dev;
        let short = if shared::may_hide_short_files(dirs.dest) { BLOCK as u64 + 1 } else { 0 };
        Ok(Self { plan, sources, dirs, refused, device, short, buffer: vec![0; BUFFER] })
    }

    /// Makes `file` from one of its candidates, as far as can be without waiting for
    /// the disk.
    pub(super) fn begin<'t>(
        &mut self,
        file: TocFile<'t>,
        making: &mut Making<'_, '_>,
    ) -> Result<Begun<'t>, ApplyError> {
        self.try_candidates(file, 0, None, making)
    }

    /// Looks at a clone; if it is not what it should be, goes on with the next candidate.
    pub(super) fn settle<'t>(
        &mut self,
        cloned: Cloned<'t>,
        making: &mut Making<'_, '_>,
    ) -> Result<Begun<'t>, ApplyError> {
        let Cloned { file, target, tried } = cloned;
        let Ok(seen) = self.content_is_right(&target, file) else {
            tracing::debug!(path = %file.path(), "a clone has another content");
            return self.try_candidates(file, tried, Some(target), making);
        };
        making.report.shared += if file.size() >= self.short && !seen.empty_block {
            // It has no holes either, so there is nothing to ask.
            file.size()
        } else {
            shared::of_cloned(&target, file.size())
        };
        self.complete(file, target, making)
    }

    /// Tries candidates, but for so many that were tried before.
    fn try_candidates<'t>(
        &mut self,
        file: TocFile<'t>,
        tried: usize,
        mut target: Option<NewFile>,
        making: &mut Making<'_, '_>,
    ) -> Result<Begun<'t>, ApplyError> {
        for (number, candidate) in (0..).zip(self.plan.candidates(file)).skip(tried) {
            let Some(source) = self.open(&candidate, file) else { continue };
            let new = match target.take() {
                Some(used) => {
                    used.set_len(0).during("truncate", file.path().as_path())?;
                    used
                }
                None => making.tree.create(&file.entry())?,
            };
            if self.link(&source.file, file)? {
                making.report.reused_files += file.size();
                making.report.shared += file.size();
                self.tell(making.prover, file);
                return Ok(Begun::Made);
            }
            let early = file.size() < WORTH_SHARING && self.plan.is_in_flight(&candidate);
            match self.fill(&source, early, &new, file)? {
                Ok(Filled::Shared) => {
                    // Only a wish: it is read soon.
                    let ahead = NonZero::new(file.size().min(READ_AHEAD));
                    fadvise(&*new, 0, ahead, Advice::WillNeed).ok();
                    return Ok(Begun::Cloned(Cloned { file, target: new, tried: number + 1 }));
                }
                Ok(Filled::Copied) => return self.complete(file, new, making),
                Err(Useless) => {}
            }
            tracing::debug!(?candidate, path = %file.path(), "candidate is of no use");
            target = Some(new);
        }
        Ok(Begun::Hopeless(file))
    }

    /// Gives a file that is right its attributes, and tells the prover.
    fn complete<'t>(
        &self,
        file: TocFile<'t>,
        target: NewFile,
        making: &mut Making<'_, '_>,
    ) -> Result<Begun<'t>, ApplyError> {
        making.report.reused_files += file.size();
        making.tree.complete(target, &file.entry())?;
        self.tell(making.prover, file);
        Ok(Begun::Made)
    }

    /// Puts a hard link in the file's place, if that is wanted and all is equal.
    fn link(&mut self, source: &File, file: TocFile<'_>) -> Result<bool, FsError> {
        Ok(self.plan.reuse == Reuse::HardLink
            && self.content_is_right(source, file).is_ok()
            && link::replace(source, &file.entry(), self.dirs)?)
    }

    /// The candidate's file, if it is one of the right length.
    fn open(&self, candidate: &Candidate, file: TocFile<'_>) -> Option<Source> {
        let opened = self.sources.open(candidate).and_then(|source| {
            let metadata = source.metadata()?;
            let fits = metadata.is_file() && metadata.len() == file.size();
            let source = Source { file: source, device: metadata.dev() };
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

    /// Brings the source's bytes into `target`: shares them, to be looked at later, or
    /// copies and looks at them, if sharing is refused or it is `early` for it.
    ///
    /// The outer error is one of the target, the inner one of the source.
    fn fill(
        &mut self,
        source: &Source,
        early: bool,
        target: &File,
        file: TocFile<'_>,
    ) -> Result<Result<Filled, Useless>, FsError> {
        let may_copy = self.plan.reuse != Reuse::ReflinkOnly;
        if early && may_copy {
            return self.copy(&source.file, target, file);
        }
        match self.share(source, target) {
            Ok(true) => Ok(Ok(Filled::Shared)),
            Ok(false) if may_copy => self.copy(&source.file, target, file),
            Ok(false) | Err(Useless) => Ok(Err(Useless)),
        }
    }

    /// Shares the source's extents; `false` if that can't be done here.
    fn share(&mut self, source: &Source, target: &File) -> Result<bool, Useless> {
        let (from, to) = (source.device, self.device);
        if self.refused.contains(from, to) {
            return Ok(false);
        }
        match reflink(&source.file, target) {
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
    ) -> Result<Result<Filled, Useless>, FsError> {
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
        Ok(right.map(|_| Filled::Copied))
    }

    fn content_is_right(&mut self, content: &File, file: TocFile<'_>) -> Result<Seen, Useless> {
        hash_file(content, file, &mut self.buffer, |_, _| Ok(())).unwrap_or(Err(Useless))
    }

    /// Tells the prover that `file`, which was looked at last, is whole; what was
    /// read of it need not be read again.
    fn tell(&self, prover: &Prover, file: TocFile<'_>) {
        let all = usize::try_from(file.size()).ok().and_then(|size| self.buffer.get(..size));
        match all {
            Some(bytes) => prover.done_with(file.number(), bytes),
            None => prover.done(file.number()),
        }
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
) -> Result<Result<Seen, Useless>, FsError> {
    let mut hasher = Hasher::new();
    let mut seen = Seen { empty_block: false };
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
        seen.empty_block |= has_empty_block(&buffer[..n]);
        take(at, &buffer[..n])?;
        at += n as u64;
        // A regular file gives less than was asked for only at its end.
        if n < buffer.len() {
            break;
        }
    }
    let right = at == file.size() && hasher.finish() == *file.digest().digest();
    Ok(if right { Ok(seen) } else { Err(Useless) })
}

fn has_empty_block(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).any(|block| block.iter().all(|&byte| byte == 0))
}
