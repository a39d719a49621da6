//! The files that are being filled.

use std::collections::HashMap;
use std::fs::File;

use tree::{NewFile, TreeError, TreeWriter};

use super::ApplyError;
use crate::assemble::Assembly;
use crate::{Toc, TocFile};

/// Most files that are open at once; the rest of those that are begun wait closed.
const OPEN: usize = 16;

/// Files that are begun and not yet whole, by number.
pub(super) struct Outputs<'t> {
    toc: &'t Toc,
    begun: HashMap<u32, Output<'t>>,
    open: usize,
    clock: u64,
}

/// One of them.
pub(super) struct Output<'t> {
    file: TocFile<'t>,
    pub(super) assembly: Assembly<'t>,
    /// Chunks that have to be written yet.
    chunks_left: u32,
    target: Option<NewFile>,
    used: u64,
}

impl Output<'_> {
    /// The open file.
    pub(super) fn target(&self) -> &File {
        self.target.as_deref().expect("it was opened when it was asked for")
    }
}

impl<'t> Outputs<'t> {
    pub(super) fn new(toc: &'t Toc) -> Self {
        Self { toc, begun: HashMap::new(), open: 0, clock: 0 }
    }

    /// File number `number`, open for writing.
    pub(super) fn get(
        &mut self,
        number: u32,
        tree: &mut TreeWriter<'_>,
    ) -> Result<&mut Output<'t>, TreeError> {
        self.clock += 1;
        let closed = self.begun.get(&number).is_none_or(|output| output.target.is_none());
        if closed {
            self.make_room();
            self.open += 1;
        }
        let toc = self.toc;
        let output = match self.begun.entry(number) {
            std::collections::hash_map::Entry::Occupied(begun) => begun.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let file = toc.file_number(number);
                let target = Some(tree.create(&file.entry())?);
                place.insert(Output::new(file, target))
            }
        };
        if output.target.is_none() {
            output.target = Some(tree.reopen(&output.file.path())?);
        }
        output.used = self.clock;
        Ok(output)
    }

    /// One more chunk of file number `number` was written; if it was the last, the
    /// file is verified and given its attributes. Returns whether it was.
    pub(super) fn chunk_done(
        &mut self,
        number: u32,
        tree: &mut TreeWriter<'_>,
    ) -> Result<bool, ApplyError> {
        let output = self.begun.get_mut(&number).expect("its chunk was written just now");
        output.chunks_left -= 1;
        if output.chunks_left > 0 {
            return Ok(false);
        }
        let mut output = self.begun.remove(&number).expect("it was there just now");
        let target = output.target.take().expect("its chunk was written just now");
        self.open -= 1;
        output.assembly.finish(&target)?;
        tree.complete(target, &output.file.entry())?;
        Ok(true)
    }

    /// Closes the file that was used longest ago, if too many are open.
    fn make_room(&mut self) {
        if self.open < OPEN {
            return;
        }
        let open = self.begun.values_mut().filter(|output| output.target.is_some());
        if let Some(oldest) = open.min_by_key(|output| output.used) {
            oldest.target = None;
            self.open -= 1;
        }
    }
}

impl<'t> Output<'t> {
    fn new(file: TocFile<'t>, target: Option<NewFile>) -> Self {
        let data = file.chunks().filter(|chunk| !chunk.hole).count();
        let chunks_left = u32::try_from(data).expect("chunks are counted in 32 bits");
        Self { file, assembly: Assembly::new(file), chunks_left, target, used: 0 }
    }
}
