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
        let target = match begun {
            Some(Output { target: Some(_), .. }) => None,
            Some(_) => Some(self.with_room(|| tree.reopen(&file.path()))?),
            None => Some(self.with_room(|| tree.create(&file.entry()))?),
        };
        self.open += usize::from(target.is_some());
        let new = || Output { assembly: Assembly::new(file), target: None, used: 0 };
        let output = self.begun.entry(file.number()).or_insert_with(new);
        output.target = target.or(output.target.take());
        output.used = self.clock;
        Ok(output)
    }

    /// Opens a file; if the process may open no more, the others are closed for it.
    fn with_room(
        &mut self,
        mut open: impl FnMut() -> Result<NewFile, TreeError>,
    ) -> Result<NewFile, TreeError> {
        self.close_down_to(OPEN - 1);
        match open() {
            Err(error) if self.open > 0 && error.is_lack_of_descriptors() => {
                self.close_down_to(0);
                open()
            }
            opened => opened,
        }
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

    /// Closes files until so many are open, first those that were used longest ago.
    fn close_down_to(&mut self, count: usize) {
        while self.open > count {
            let open = self.begun.values_mut().filter(|output| output.target.is_some());
            let oldest = open.min_by_key(|output| output.used);
            oldest.expect("as many are open as are counted").target = None;
            self.open -= 1;
        }
    }
}
