//! A layer's tree while it is made: whole files from here, chunks from there.

use std::fs::File;
use std::io;

use storage_core::FsResultExt;
use tree::TreeWriter;

use crate::assemble::{Assembly, read_range};
use crate::outputs::Outputs;
use crate::sparse;
use crate::{ApplyError, LayerBytes, Prover, Toc, TocFile};

/// The tree, the files in it that are not yet whole, and who wants to know of progress.
#[derive(Debug)]
pub(crate) struct Making<'t, 'd> {
    pub(crate) toc: &'t Toc,
    pub(crate) tree: TreeWriter<'d>,
    pub(crate) outputs: Outputs<'t>,
    pub(crate) prover: &'t Prover,
    pub(crate) report: LayerBytes,
}

impl Making<'_, '_> {
    /// Writes a whole chunk, which is known to be right, to its place.
    pub(crate) fn write(&mut self, file: u32, chunk: u32, bytes: &[u8]) -> Result<(), ApplyError> {
        let content = self.toc.file_number(file);
        let output = self.outputs.get(content, &mut self.tree)?;
        let next = output.is_next(chunk)?;
        let written = sparse::write_at(output.target(), bytes, content.chunk(chunk).file_offset);
        written.during("write", content.path().as_path())?;
        if next {
            output.assembly.hash(bytes);
        }
        output.assembly.put(chunk, next);
        let all = (content.chunk_count() == 1).then_some(bytes);
        self.finish_if_whole(content, all)
    }

    /// Copies the chunk from `source`, where it is at `offset`, to its place.
    pub(crate) fn copy(
        &mut self,
        file: u32,
        chunk: u32,
        source: &File,
        offset: u64,
    ) -> Result<(), ApplyError> {
        let content = self.toc.file_number(file);
        let (path, to) = (content.path(), content.chunk(chunk));
        let output = self.outputs.get(content, &mut self.tree)?;
        let next = output.is_next(chunk)?;
        let copied: io::Result<()> = read_range(source, offset..offset + to.size, |at, bytes| {
            if next {
                output.assembly.hash(bytes);
            }
            sparse::write_at(output.target(), bytes, to.file_offset + at)
        });
        copied.during("copy a chunk into", path.as_path())?;
        output.assembly.put(chunk, next);
        self.finish_if_whole(content, None)
    }

    /// Verifies the file if all its chunks are in their places, gives it its
    /// attributes, and tells the prover; `all` are its bytes, if they are at hand.
    pub(crate) fn finish_if_whole(
        &mut self,
        file: TocFile<'_>,
        all: Option<&[u8]>,
    ) -> Result<(), ApplyError> {
        let Some((assembly, target)) = self.outputs.take_whole(file, &mut self.tree)? else {
            return Ok(());
        };
        assembly.finish(&target)?;
        self.tree.complete(target, &file.entry())?;
        self.report.holes += holes(file);
        match all {
            Some(bytes) => self.prover.done_with(file.number(), bytes),
            None => self.prover.done(file.number()),
        }
        Ok(())
    }

    /// Makes a file that has no byte other than zero.
    pub(crate) fn make_hole(&mut self, file: TocFile<'_>) -> Result<(), ApplyError> {
        let target = self.tree.create(&file.entry())?;
        Assembly::new(file).finish(&target)?;
        self.tree.complete(target, &file.entry())?;
        self.report.holes += file.size();
        self.prover.done(file.number());
        Ok(())
    }
}

/// Bytes of holes in a file.
fn holes(file: TocFile<'_>) -> u64 {
    file.chunks().filter(|chunk| chunk.hole).map(|hole| hole.size).sum()
}
