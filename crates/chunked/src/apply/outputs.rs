//! The files that are being filled.

use std::collections::HashMap;
use std::fs::File;

use storage_core::FsError;
use tree::{NewFile, TreeError, TreeWriter};

use super::ApplyError;
use crate::assemble::Assembly;
use crate::plan::ranges::Part;
use crate::{Toc, TocFile};

/// Most files that are open at once; the rest of those that are begun wait closed.
const OPEN: usize = 16;

/// Files that are begun and not yet whole, by number.
pub(super) struct Outputs<'a> {
    toc: &'a Toc,
    /// The chunks that come, in the order of the blob, which is that of the files.
    parts: &'a [Part],
    begun: HashMap<u32, Output<'a>>,
    open: usize,
    clock: u64,
}

/// One of them.
pub(super) struct Output<'a> {
    file: TocFile<'a>,
    pub(super) assembly: Assembly<'a>,
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

    /// As [`Assembly::begins`].
    pub(super) fn begins(&mut self, chunk: u32) -> Result<bool, FsError> {
        let target = self.target.as_deref().expect("it was opened when it was asked for");
        self.assembly.begins(chunk, target)
    }
}

impl<'a> Outputs<'a> {
    pub(super) fn new(toc: &'a Toc, parts: &'a [Part]) -> Self {
        Self { toc, parts, begun: HashMap::new(), open: 0, clock: 0 }
    }

    /// File number `number`, open for writing.
    pub(super) fn get(
        &mut self,
        number: u32,
        tree: &mut TreeWriter<'_>,
    ) -> Result<&mut Output<'a>, TreeError> {
        self.clock += 1;
        let closed = self.begun.get(&number).is_none_or(|output| output.target.is_none());
        if closed {
            self.make_room();
            self.open += 1;
        }
        let (toc, parts) = (self.toc, self.parts);
        let output = match self.begun.entry(number) {
            std::collections::hash_map::Entry::Occupied(begun) => begun.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let mut output = Output::new(toc.file_number(number), parts);
                if !output.is_made() {
                    output.target = Some(tree.create(&output.file.entry())?);
                }
                place.insert(output)
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

impl<'a> Output<'a> {
    fn new(file: TocFile<'a>, parts: &'a [Part]) -> Self {
        let first = parts.partition_point(|part| part.file < file.number());
        let after = parts.partition_point(|part| part.file <= file.number());
        let arriving = &parts[first..after];
        let chunks_left = u32::try_from(arriving.len()).expect("chunks are counted in 32 bits");
        let assembly = Assembly::new(file, arriving);
        Self { file, assembly, chunks_left, target: None, used: 0 }
    }

    /// Whether the file exists, since some of its chunks are there already.
    fn is_made(&self) -> bool {
        let data = self.file.chunks().filter(|chunk| !chunk.hole).count();
        self.chunks_left as usize != data
    }
}
