//! The files that are being filled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;

use storage_core::FsError;
use tree::{NewFile, TreeError, TreeWriter};

use crate::TocFile;
use crate::assemble::Assembly;

/// Most files that are open at once; the rest of those that are begun wait closed.
const OPEN: usize = 16;

/// Files that are begun and not yet whole, by number.
#[derive(Debug, Default)]
pub(crate) struct Outputs<'t> {
    begun: HashMap<u32, Output<'t>>,
    open: usize,
    clock: u64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Output<'t> {
    pub(crate) assembly: Assembly<'t>,
    target: Option<NewFile>,
    used: u64,
}

impl Output<'_> {
    /// The open file.
    pub(crate) fn target(&self) -> &File {
        self.target.as_deref().expect("it was opened when it was asked for")
    }

    /// As [`Assembly::is_next`].
    pub(crate) fn is_next(&mut self, chunk: u32) -> Result<bool, FsError> {
        let target = self.target.as_deref().expect("it was opened when it was asked for");
        self.assembly.is_next(chunk, target)
    }
}

impl<'t> Outputs<'t> {
    /// The file, open for writing; created if it is not begun.
    pub(crate) fn get(
        &mut self,
        file: TocFile<'t>,
        tree: &mut TreeWriter<'_>,
    ) -> Result<&mut Output<'t>, TreeError> {
        self.clock += 1;
        let begun = self.begun.get(&file.number());
        if begun.is_none_or(|output| output.target.is_none()) {
            self.make_room();
            self.open += 1;
        }
        let output = match self.begun.entry(file.number()) {
            Entry::Occupied(begun) => {
                let output = begun.into_mut();
                if output.target.is_none() {
                    output.target = Some(tree.reopen(&file.path())?);
                }
                output
            }
            Entry::Vacant(place) => {
                let target = Some(tree.create(&file.entry())?);
                place.insert(Output { assembly: Assembly::new(file), target, used: 0 })
            }
        };
        output.used = self.clock;
        Ok(output)
    }

    /// Gives the file up if it is begun and all its chunks are in their places.
    pub(crate) fn take_whole(
        &mut self,
        file: TocFile<'_>,
        tree: &mut TreeWriter<'_>,
    ) -> Result<Option<(Assembly<'t>, NewFile)>, TreeError> {
        let Entry::Occupied(begun) = self.begun.entry(file.number()) else { return Ok(None) };
        if !begun.get().assembly.is_whole() {
            return Ok(None);
        }
        let Output { assembly, target, .. } = begun.remove();
        let target = match target {
            Some(target) => {
                self.open -= 1;
                target
            }
            None => tree.reopen(&file.path())?,
        };
        Ok(Some((assembly, target)))
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
