//! The files that are being filled.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
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
    /// Those that are open, the one that was used last in front.
    open: VecDeque<u32>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Output<'t> {
    pub(crate) assembly: Assembly<'t>,
    target: Option<NewFile>,
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
        let number = file.number();
        let target = match self.begun.get(&number) {
            Some(Output { target: Some(_), .. }) => {
                self.open.retain(|&open| open != number);
                None
            }
            Some(_) => Some(self.with_room(|| tree.reopen(&file.path()))?),
            None => Some(self.with_room(|| tree.create(&file.entry()))?),
        };
        self.open.push_front(number);
        let new = || Output { assembly: Assembly::new(file), target: None };
        let output = self.begun.entry(number).or_insert_with(new);
        output.target = target.or(output.target.take());
        Ok(output)
    }

    /// Opens a file; if the process may open no more, the others are closed for it.
    fn with_room(
        &mut self,
        mut open: impl FnMut() -> Result<NewFile, TreeError>,
    ) -> Result<NewFile, TreeError> {
        self.close_down_to(OPEN - 1);
        match open() {
            Err(error) if !self.open.is_empty() && error.is_lack_of_descriptors() => {
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
                self.open.retain(|&open| open != file.number());
                target
            }
            None => tree.reopen(&file.path())?,
        };
        Ok(Some((assembly, target)))
    }

    /// Closes files until so many are open, first those that were used longest ago.
    fn close_down_to(&mut self, count: usize) {
        for number in self.open.drain(count.min(self.open.len())..) {
            let output = self.begun.get_mut(&number).expect("files that are open are begun");
            output.target = None;
            output.assembly.rest();
        }
    }
}
