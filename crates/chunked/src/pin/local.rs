//! The local files that chunks are taken from.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::rc::Rc;

use storage_core::{FsError, LayerPath};

use super::refused::Refused;
use super::scratch::{Cloned, Scratch};
use crate::{Candidate, Reuse, Sources};

/// Files that are open at once. A run of chunks may hold one more.
const OPEN: usize = 8;

/// Files of which it is remembered how they can be used; others are tried again.
const REMEMBERED: usize = 16_384;

/// A local file, open for reading.
#[derive(Debug)]
pub(super) struct Local {
    source: u32,
    path: LayerPath,
    pub(super) file: File,
    /// Whether it is a clone: ours, and on the filesystem of the layer's tree.
    pub(super) is_clone: bool,
    /// Length of the source when it was opened first.
    pub(super) length: u64,
}

impl Local {
    /// Whether it is the file of `candidate`.
    pub(super) fn is_of(&self, candidate: &Candidate) -> bool {
        self.source == candidate.source && self.path == candidate.path
    }
}

/// How a source can be used.
#[derive(Debug, Clone, Copy)]
enum Use {
    Clone { number: u32, length: u64 },
    Directly,
    NotAtAll,
}

/// Opens candidates' files: their clones where the filesystem can do that, else
/// themselves.
pub(super) struct Locals<'p> {
    sources: &'p dyn Sources,
    reuse: Reuse,
    refused: &'p Refused,
    scratch: Scratch<'p>,
    uses: HashMap<u32, HashMap<LayerPath, Use>>,
    remembered: usize,
    /// The one that was used last stands first.
    open: VecDeque<Rc<Local>>,
}

impl<'p> Locals<'p> {
    pub(super) fn new(
        sources: &'p dyn Sources,
        reuse: Reuse,
        refused: &'p Refused,
        scratch: Scratch<'p>,
    ) -> Self {
        let (uses, open) = (HashMap::new(), VecDeque::new());
        Self { sources, reuse, refused, scratch, uses, remembered: 0, open }
    }

    /// The candidate's file; `None` if it can't be had, for whatever reason.
    ///
    /// One that `is_copied` is not cloned.
    ///
    /// # Errors
    ///
    /// If there can be no room for clones.
    pub(super) fn open(
        &mut self,
        candidate: &Candidate,
        is_copied: bool,
    ) -> Result<Option<Rc<Local>>, FsError> {
        let local = match self.open.iter().position(|local| local.is_of(candidate)) {
            Some(at) => self.open.remove(at).expect("it was found there"),
            None => match self.open_anew(candidate, is_copied)? {
                Some(local) => Rc::new(local),
                None => return Ok(None),
            },
        };
        self.open.truncate(OPEN - 1);
        self.open.push_front(local.clone());
        Ok(Some(local))
    }

    /// Removes the clones.
    pub(super) fn finish(self) -> Result<(), FsError> {
        self.scratch.clear()
    }

    fn open_anew(
        &mut self,
        candidate: &Candidate,
        is_copied: bool,
    ) -> Result<Option<Local>, FsError> {
        let uses = self.uses.get(&candidate.source);
        let known = uses.and_then(|uses| uses.get(&candidate.path)).copied();
        let local = |file, is_clone, length| {
            let Candidate { source, path, .. } = candidate.clone();
            Local { source, path, file, is_clone, length }
        };
        match known {
            Some(Use::NotAtAll) => return Ok(None),
            Some(Use::Clone { number, length }) => {
                let clone = self.scratch.reopen(number);
                return Ok(clone.ok().map(|file| local(file, true, length)));
            }
            Some(Use::Directly) | None => {}
        }
        let (file, length) = match open_source(self.sources, candidate) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(?candidate, %error, "candidate can't be used");
                self.remember(candidate, Use::NotAtAll);
                return Ok(None);
            }
        };
        if known.is_some() {
            return Ok(Some(local(file, false, length)));
        }
        let cloned =
            if is_copied { Cloned::Refused } else { self.scratch.clone_of(&file, self.refused)? };
        let (how, opened) = match cloned {
            Cloned::Yes(number, clone) => {
                (Use::Clone { number, length }, Some(local(clone, true, length)))
            }
            Cloned::Refused | Cloned::Full if self.reuse != Reuse::ReflinkOnly => {
                (Use::Directly, Some(local(file, false, length)))
            }
            Cloned::Refused | Cloned::Full | Cloned::Failed => (Use::NotAtAll, None),
        };
        self.remember(candidate, how);
        Ok(opened)
    }

    fn remember(&mut self, candidate: &Candidate, how: Use) {
        // Clones are few, and none may be lost.
        if self.remembered < REMEMBERED || matches!(how, Use::Clone { .. }) {
            self.uses.entry(candidate.source).or_default().insert(candidate.path.clone(), how);
            self.remembered += 1;
        }
    }
}

fn open_source(sources: &dyn Sources, candidate: &Candidate) -> io::Result<(File, u64)> {
    let file = sources.open(candidate)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
