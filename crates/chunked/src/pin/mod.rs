//! Candidates to certainties: the one walk over the tree.

mod beside;
mod chunk;
mod content;
mod link;
mod local;
mod refused;
mod run;
mod scratch;
mod shared;
mod whole_file;

use std::thread::{self, ScopedJoinHandle};

use storage_core::{Dirs, RangeSource};
use tree::{TreeOptions, TreeWriter};

use crate::apply::Arrivals;
use crate::making::Making;
use crate::outputs::Outputs;
use crate::plan::Missing;
use crate::{ApplyError, LayerBytes, Plan, Prover, Sources, TocFile};

use beside::{Beside, together};
use chunk::Chunks;
use refused::Refused;
use whole_file::{Begun, WholeFiles};

/// A plan of which all that needs no network was carried out.
#[derive(Debug)]
#[must_use = "a pinned plan still lacks what has to be fetched"]
pub struct PinnedPlan<'t, 'd> {
    pub(crate) making: Making<'t, 'd>,
    /// What was asked for before the walk began.
    pub(crate) asked: Arrivals<'d>,
    /// What candidates turned out not to give.
    pub(crate) late: Missing,
    /// Numbers of the entries that are hard links: made last, since their
    /// targets may have to be fetched.
    pub(crate) links: Vec<usize>,
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
        blob: &'d dyn RangeSource,
        sources: &dyn Sources,
        dirs: Dirs<'d>,
        options: TreeOptions,
        prover: &'t Prover,
    ) -> Result<PinnedPlan<'t, 'd>, ApplyError> {
        let asked = Arrivals::ask(blob, self.missing(), dirs.scratch);
        let report = LayerBytes { fetched: self.toc.received(), ..LayerBytes::default() };
        let tree = TreeWriter::new(dirs.dest, options);
        let making = Making { toc: self.toc, tree, outputs: Outputs::default(), prover, report };
        let refused = Refused::default();
        let (beside, helper) = beside::pair();
        let files = |making: &_, link| WholeFiles::new(self, sources, dirs, &refused, making, link);
        let beside_files = files(&making, "link-beside")?;
        let walk = Walk {
            plan: self,
            files: files(&making, "link")?,
            chunks: Chunks::new(self, sources, dirs, &refused)?,
            making,
            asked,
            begun: Vec::new(),
            together: together(),
            beside,
            late: Vec::new(),
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("reuse".into());
            // Where there is none the walk makes all files.
            let thread = if walk.together > 1 {
                thread.spawn_scoped(scope, move || helper.run(beside_files)).ok()
            } else {
                drop(helper);
                None
            };
            let mut pinned = walk.through()?;
            match thread.map(ScopedJoinHandle::join) {
                Some(Ok(files)) => files.finish(&mut pinned.making),
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => {}
            }
            Ok(pinned)
        })
    }
}

/// The walk over a layer's entries.
struct Walk<'p, 't, 'd> {
    plan: &'p Plan<'t>,
    files: WholeFiles<'p>,
    chunks: Chunks<'p>,
    making: Making<'t, 'd>,
    asked: Arrivals<'d>,
    /// Files that have candidates, to be made together.
    begun: Vec<Begun<'t>>,
    together: usize,
    beside: Beside<'t>,
    /// Numbers of files and of chunks in them that candidates did not give.
    late: Vec<(u32, u32)>,
}

impl<'t, 'd> Walk<'_, 't, 'd> {
    /// Makes all but hard links.
    fn through(mut self) -> Result<PinnedPlan<'t, 'd>, ApplyError> {
        let links = self.make_all()?;
        let Self { plan, files, chunks, mut making, asked, mut late, .. } = self;
        files.finish(&mut making);
        chunks.finish()?;
        // What waited for other layers, or had a candidate that was wrong, came after its turn.
        late.sort_unstable();
        let late = Missing::of(plan.toc, plan.map.wanted(), late);
        Ok(PinnedPlan { making, asked, late, links })
    }

    /// Gives the numbers of the hard links.
    fn make_all(&mut self) -> Result<Vec<usize>, ApplyError> {
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
        self.settle_all()?;
        Ok(links)
    }

    /// Makes as much of a file as can be had without the network.
    fn make(&mut self, file: TocFile<'t>) -> Result<(), ApplyError> {
        if self.plan.candidates(file).next().is_none() {
            return self.make_of_chunks(file);
        }
        let entry = file.entry();
        let target = match self.making.tree.create(&entry) {
            Err(error) if error.is_lack_of_descriptors() => {
                self.settle_all()?;
                self.making.tree.create(&entry)
            }
            created => created,
        };
        self.begun.push(Begun::new(file, target?));
        if self.begun.len() >= self.together { self.settle_some() } else { Ok(()) }
    }

    /// Has what was begun made, on the other thread if that is not busy.
    fn settle_some(&mut self) -> Result<(), ApplyError> {
        let mut hopeless = self.beside.hopeless()?;
        if let Some(begun) = self.beside.hand_over(std::mem::take(&mut self.begun)) {
            hopeless.extend(self.files.make_all(begun)?);
        }
        hopeless.into_iter().try_for_each(|file| self.make_of_chunks(file))
    }

    /// Has all made that was begun.
    fn settle_all(&mut self) -> Result<(), ApplyError> {
        // The other thread first: what it has open may be what is lacking.
        let mut hopeless = self.beside.wait()?;
        hopeless.extend(self.files.make_all(std::mem::take(&mut self.begun))?);
        hopeless.into_iter().try_for_each(|file| self.make_of_chunks(file))
    }

    /// Makes as much of a file, of which none is to be had in whole, as can be had.
    fn make_of_chunks(&mut self, file: TocFile<'t>) -> Result<(), ApplyError> {
        if file.chunks().all(|chunk| chunk.hole) {
            return self.making.make_hole(file);
        }
        self.chunks.take(file, &mut self.making, &mut self.late)
    }
}
