//! Candidates to certainties: the one walk over the tree.

mod chunk;
mod link;
mod local;
mod refused;
mod run;
mod scratch;
mod shared;
mod whole_file;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use storage_core::{Dirs, RangeSource};
use tree::{TreeOptions, TreeWriter};

use crate::apply::Arrivals;
use crate::making::Making;
use crate::outputs::Outputs;
use crate::plan::Missing;
use crate::plan::ranges::ranges_from;
use crate::{ApplyError, Choice, LayerBytes, Plan, Prover, Sources, TocFile};

use chunk::Chunks;
use refused::Refused;
use whole_file::{Begun, Cloned, WholeFiles};

/// Clones that wait to be looked at; each is an open file.
const AHEAD: usize = 8;

/// A plan of which all that needs no network was carried out.
#[derive(Debug)]
#[must_use = "a pinned plan still lacks what has to be fetched"]
pub struct PinnedPlan<'t, 'd> {
    pub(crate) making: Making<'t, 'd>,
    pub(crate) scratch: BorrowedFd<'d>,
    /// What was asked for before the walk began.
    pub(crate) asked: Arrivals<'d>,
    /// What candidates turned out not to give.
    pub(crate) late: Missing,
    /// Numbers of the entries that are hard links: made last, since their
    /// targets may have to be fetched.
    pub(crate) links: Vec<usize>,
    pub(crate) choices: Vec<Choice>,
}

impl<'t> Plan<'t> {
    /// Makes every entry that needs no network, in the order of the tar, and
    /// settles for every file and chunk whether it needs the network.
    ///
    /// What no candidate could give is asked of `blob` before that, and goes to its
    /// place whenever it comes. Candidates are opened through `sources`, cloned into
    /// `dirs.dest` or `dirs.scratch` or copied to their place, and only then hashed.
    /// Whatever goes wrong with one is a reason to try the next, and then to fetch.
    /// `prover` hears of each file that is whole.
    ///
    /// # Errors
    ///
    /// If the layer's own tree can't be written, or what comes from `blob` is wrong.
    pub fn pin<'d>(
        &self,
        blob: &dyn RangeSource,
        sources: &dyn Sources,
        dirs: Dirs<'d>,
        options: TreeOptions,
        prover: &'t Prover,
    ) -> Result<PinnedPlan<'t, 'd>, ApplyError> {
        let missing = self.missing();
        let ranges = ranges_from(blob, &missing.parts);
        let choices = vec![ranges.choice];
        let asked = Arrivals::ask(blob, missing, ranges, dirs.scratch);
        let report = LayerBytes { fetched: self.toc.received(), ..LayerBytes::default() };
        let tree = TreeWriter::new(dirs.dest, options);
        let making = Making { toc: self.toc, tree, outputs: Outputs::default(), prover, report };
        let refused = Refused::default();
        let mut walk = Walk {
            plan: self,
            files: WholeFiles::new(self, sources, dirs, &refused)?,
            chunks: Chunks::new(self, sources, dirs, &refused)?,
            making,
            asked,
            cloned: VecDeque::new(),
            late: Vec::new(),
        };
        let links = walk.through()?;
        let Walk { chunks, making, asked, mut late, .. } = walk;
        chunks.finish()?;
        // What waited for other layers, or had a clone that was wrong, came after its turn.
        late.sort_unstable();
        let late = Missing::of(self.toc, self.map.wanted(), late);
        Ok(PinnedPlan { making, scratch: dirs.scratch, asked, late, links, choices })
    }
}

/// The walk over a layer's entries.
struct Walk<'p, 't, 'd> {
    plan: &'p Plan<'t>,
    files: WholeFiles<'p>,
    chunks: Chunks<'p>,
    making: Making<'t, 'd>,
    asked: Arrivals<'d>,
    /// Files that were cloned and not looked at.
    cloned: VecDeque<Cloned<'t>>,
    /// Numbers of files and of chunks in them that candidates did not give.
    late: Vec<(u32, u32)>,
}

impl<'t> Walk<'_, 't, '_> {
    /// Makes all but hard links, of which it gives the numbers.
    fn through(&mut self) -> Result<Vec<usize>, ApplyError> {
        let (mut links, mut waiting) = (Vec::new(), Vec::new());
        let toc = self.plan.toc;
        for index in 0..toc.len() {
            if toc.is_hard_link(index) {
                links.push(index);
                continue;
            }
            let Some(file) = toc.file(index) else {
                self.making.tree.make(&toc.entry(index))?;
                continue;
            };
            self.asked.take_due(file.number(), &mut self.making)?;
            if self.plan.waits(file) {
                waiting.push(file);
            } else {
                self.make(file)?;
            }
        }
        if !waiting.is_empty() {
            // Nothing is left hanging on the line meanwhile.
            self.asked.take_all(&mut self.making)?;
        }
        for file in waiting {
            self.make(file)?;
        }
        self.settle_down_to(0)?;
        Ok(links)
    }

    /// Makes as much of a file as can be had without the network.
    ///
    /// Clones are not looked at at once: what they hold has to come from the disk, and
    /// comes while the next files are made.
    fn make(&mut self, file: TocFile<'t>) -> Result<(), ApplyError> {
        let begun = match self.files.begin(file, &mut self.making) {
            Err(ApplyError::Tree(error)) if error.is_lack_of_descriptors() => {
                self.settle_down_to(0)?;
                self.files.begin(file, &mut self.making)
            }
            begun => begun,
        };
        self.go_on(begun?)?;
        self.settle_down_to(AHEAD)
    }

    fn go_on(&mut self, begun: Begun<'t>) -> Result<(), ApplyError> {
        match begun {
            Begun::Made => Ok(()),
            Begun::Cloned(cloned) => {
                self.cloned.push_back(cloned);
                Ok(())
            }
            Begun::Hopeless(file) if file.chunks().all(|chunk| chunk.hole) => {
                self.making.make_hole(file)
            }
            Begun::Hopeless(file) => self.chunks.take(file, &mut self.making, &mut self.late),
        }
    }

    /// Looks at clones, the oldest first, until so many are left.
    fn settle_down_to(&mut self, count: usize) -> Result<(), ApplyError> {
        while self.cloned.len() > count {
            let Some(cloned) = self.cloned.pop_front() else { break };
            let begun = self.files.settle(cloned, &mut self.making)?;
            self.go_on(begun)?;
        }
        Ok(())
    }
}
