//! Whole files from local ones.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;

use reflink::{ReflinkError, reflink};
use rustix::fs::{Advice, fadvise, fstat};
use storage_core::{Dirs, FsError, FsResultExt};
use tree::{Completer, NewFile};

use super::beside::Settled;
use super::content::{BLOCK, Seen, Wrong, copy, see};
use super::link;
use super::refused::Refused;
use super::shared;
use crate::making::Making;
use crate::{ApplyError, Candidate, LayerBytes, Plan, Prover, Reuse, Sources, TocFile};

const BUFFER: usize = 128 << 10;

/// Bytes of a clone that are asked for before its turn comes.
const READ_AHEAD: u64 = 1 << 20;

/// A file that was created, and is to have the content of one of its candidates.
#[derive(Debug)]
pub(super) struct Begun<'t> {
    file: TocFile<'t>,
    target: NewFile,
    /// How many candidates were tried.
    tried: usize,
    /// What was taken from the last one.
    taken: Option<Taken>,
}

impl<'t> Begun<'t> {
    pub(super) fn new(file: TocFile<'t>, target: NewFile) -> Self {
        Self { file, target, tried: 0, taken: None }
    }
}

/// How a candidate is used.
#[derive(Debug)]
enum Taken {
    /// It is linked in the target's place, if that is right.
    ToLink(Source),
    /// Its bytes are copied.
    ToCopy(File),
    /// The target is its clone.
    Clone,
}

/// Makes whole files from local ones. Several may do that at once.
pub(super) struct WholeFiles<'p> {
    plan: &'p Plan<'p>,
    sources: &'p dyn Sources,
    dirs: Dirs<'p>,
    refused: &'p Refused,
    prover: &'p Prover,
    completer: Completer,
    /// Device of the layer's tree.
    device: u64,
    /// Files shorter than this may have nothing that is shared.
    short: u64,
    /// Name of a link in scratch, for the moment until it takes its place.
    link: &'static str,
    buffer: Vec<u8>,
    report: LayerBytes,
}

/// A candidate of the right length.
#[derive(Debug)]
struct Source {
    file: File,
    device: u64,
    /// Whether it is too early to share its bytes.
    copy: bool,
}

/// The candidate is of no use; it is no error of the pull.
struct Useless;

impl<'p> WholeFiles<'p> {
    /// For files that the writer of `making` has created; `link` is a name in scratch that
    /// nobody else uses.
    pub(super) fn new(
        plan: &'p Plan<'p>,
        sources: &'p dyn Sources,
        dirs: Dirs<'p>,
        refused: &'p Refused,
        making: &Making<'p, '_>,
        link: &'static str,
    ) -> Result<Self, FsError> {
        let device = fstat(dirs.dest).during("look at", "dest")?.st_dev;
        let short = if shared::may_hide_short_files(dirs.dest) { BLOCK as u64 + 1 } else { 0 };
        let (prover, completer) = (making.prover, making.tree.completer());
        let (buffer, report) = (vec![0; BUFFER], LayerBytes::default());
        Ok(Self {
            plan,
            sources,
            dirs,
            refused,
            prover,
            completer,
            device,
            short,
            link,
            buffer,
            report,
        })
    }

    /// Adds what this one did to what `making` tells.
    pub(super) fn finish(self, making: &mut Making<'_, '_>) {
        making.tree.take_back(self.completer);
        making.report.reused_files += self.report.reused_files;
        making.report.shared += self.report.shared;
    }

    /// Makes files from their candidates; gives those of which none is right.
    ///
    /// What clones hold comes from the disk while the next ones are made.
    ///
    /// # Errors
    ///
    /// If a file itself can't be made; never because of a candidate.
    pub(super) fn make_all<'t>(&mut self, mut begun: Vec<Begun<'t>>) -> Settled<'t> {
        for begun in &mut begun {
            self.take(begun);
        }
        begun.into_iter().filter_map(|begun| self.settle(begun).transpose()).collect()
    }

    /// Takes the next of a file's candidates, if there is one that can be had.
    fn take(&self, begun: &mut Begun<'_>) {
        let (plan, file) = (self.plan, begun.file);
        for candidate in plan.candidates(file).skip(begun.tried) {
            begun.tried += 1;
            let Some(source) = self.open(&candidate, file) else { continue };
            let taken = match plan.reuse {
                Reuse::HardLink => Ok(Taken::ToLink(source)),
                _ => self.use_source(source, &begun.target),
            };
            if let Ok(taken) = taken {
                begun.taken = Some(taken);
                return;
            }
        }
    }

    fn settle<'t>(&mut self, mut begun: Begun<'t>) -> Result<Option<TocFile<'t>>, ApplyError> {
        let file = begun.file;
        while let Some(taken) = begun.taken.take() {
            let shared = match taken {
                Taken::ToLink(source) => {
                    if self.link(&source.file, file)? {
                        return Ok(None);
                    }
                    begun.taken = self.use_source(source, &begun.target).ok();
                    if begun.taken.is_some() {
                        continue;
                    }
                    Err(Wrong)
                }
                Taken::ToCopy(source) => {
                    if begun.tried > 1 {
                        // Of a clone that failed a part may be there.
                        begun.target.set_len(0).during("truncate", file.path().as_path())?;
                    }
                    copy(&source, &begun.target, file, &mut self.buffer)?.map(|_| 0)
                }
                Taken::Clone => see(&begun.target, file, &mut self.buffer)
                    .map(|seen| self.shared(&begun.target, file, seen)),
            };
            if let Ok(shared) = shared {
                self.completer.complete(begun.target, &file.entry())?;
                self.tell(file, shared);
                return Ok(None);
            }
            tracing::debug!(path = %file.path(), "a candidate has another content");
            self.take(&mut begun);
        }
        Ok(Some(file))
    }

    /// How much of a clone that is right shares its extents.
    fn shared(&self, target: &File, file: TocFile<'_>, seen: Seen) -> u64 {
        if file.size() >= self.short && !seen.empty_block {
            // It has no holes, so there is nothing to ask.
            return file.size();
        }
        shared::of_cloned(target, file.size())
    }

    /// Puts a hard link in the file's place, if all is equal.
    fn link(&mut self, source: &File, file: TocFile<'_>) -> Result<bool, FsError> {
        let linked = see(source, file, &mut self.buffer).is_ok()
            && link::replace(source, &file.entry(), self.dirs, self.link)?;
        if linked {
            self.tell(file, file.size());
        }
        Ok(linked)
    }

    /// The candidate's file, if it is one of the right length.
    fn open(&self, candidate: &Candidate, file: TocFile<'_>) -> Option<Source> {
        let opened = self.sources.open(candidate).and_then(|source| {
            let metadata = source.metadata()?;
            let fits = metadata.is_file() && metadata.len() == file.size();
            let copy = self.plan.prefers_copy(candidate, file.size());
            let source = Source { file: source, device: metadata.dev(), copy };
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

    /// Shares the source's bytes with `target`, or keeps it for its bytes to be copied, if
    /// sharing is refused or it is too early for it.
    fn use_source(&self, source: Source, target: &File) -> Result<Taken, Useless> {
        if !source.copy && self.share(&source, target)? {
            // Only a wish: of a clone nothing is in memory, and it is read soon.
            fadvise(target, 0, NonZero::new(READ_AHEAD), Advice::WillNeed).ok();
            return Ok(Taken::Clone);
        }
        match self.plan.reuse {
            Reuse::ReflinkOnly => Err(Useless),
            _ => Ok(Taken::ToCopy(source.file)),
        }
    }

    /// Shares the source's extents; `false` if that can't be done here.
    fn share(&self, source: &Source, target: &File) -> Result<bool, Useless> {
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

    /// Counts `file`, which was looked at last and is whole, and tells the prover; what was
    /// read of it need not be read again.
    fn tell(&mut self, file: TocFile<'_>, shared: u64) {
        self.report.reused_files += file.size();
        self.report.shared += shared;
        let all = usize::try_from(file.size()).ok().and_then(|size| self.buffer.get(..size));
        match all {
            Some(bytes) => self.prover.done_with(file.number(), bytes),
            None => self.prover.done(file.number()),
        }
    }
}
