//! Chunks from local files, for files that no local file is equal to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::fstatvfs;
use storage_core::{ChunkDigest, Dirs, FsError, FsResultExt, Hasher};
use tree::{NewFile, TreeWriter};

use super::PinError;
use super::local::{Local, Locals};
use super::refused::Refused;
use super::run::Run;
use super::scratch::Scratch;
use super::shared;
use crate::assemble::Assembly;
use crate::plan::ranges::Part;
use crate::{Candidate, Chunk, LayerBytes, Plan, Sources, TocFile};

const BUFFER: usize = 128 << 10;

/// Takes chunks from local files.
///
/// Where extents can be shared, sources are cloned first: what is verified is the
/// clone, and what is taken comes from it. Elsewhere the bytes are copied to their
/// final place and hashed on the way; if they are wrong, others are written over
/// them later.
pub(super) struct Chunks<'p> {
    plan: &'p Plan<'p>,
    locals: Locals<'p>,
    /// What the filesystem shares is a multiple of this.
    block: u64,
    buffer: Vec<u8>,
}

/// A file that is being made of chunks.
struct Filling<'t> {
    file: TocFile<'t>,
    target: Option<NewFile>,
    run: Option<Run>,
    /// Whether a chunk is in the target, for each.
    pinned: Vec<bool>,
    /// Bytes of the target that were cloned.
    cloned: u64,
}

impl<'p> Chunks<'p> {
    pub(super) fn new(
        plan: &'p Plan<'p>,
        sources: &'p dyn Sources,
        dirs: Dirs<'p>,
        refused: &'p Refused,
    ) -> Result<Self, FsError> {
        let block = fstatvfs(dirs.dest).during("look at the filesystem of", "dest")?.f_frsize;
        let locals = Locals::new(sources, plan.reuse, refused, Scratch::new(dirs.scratch)?);
        Ok(Self { plan, locals, block: block.max(1), buffer: vec![0; BUFFER] })
    }

    /// Removes what was only needed meanwhile.
    pub(super) fn finish(self) -> Result<(), FsError> {
        self.locals.finish()
    }

    /// Puts what can be had of `file` into its place, and adds what can't to
    /// `parts`; `true` if that is nothing, so that the file is complete.
    ///
    /// The file exists afterwards if any of its chunks is in it.
    pub(super) fn take(
        &mut self,
        file: TocFile<'_>,
        tree: &mut TreeWriter<'_>,
        parts: &mut Vec<Part>,
        report: &mut LayerBytes,
    ) -> Result<bool, PinError> {
        let count = file.chunk_count();
        let mut filling = Filling {
            file,
            target: None,
            run: None,
            pinned: vec![false; count as usize],
            cloned: 0,
        };
        for i in 0..count {
            if !file.chunk(i).hole {
                self.take_chunk(i, &mut filling, tree)?;
            }
        }
        self.flush(&mut filling, tree)?;
        let shared = filling.shared();
        let whole = filling.is_whole() && complete(&mut filling, tree)?;
        for (i, chunk) in (0..).zip(file.chunks()) {
            match () {
                () if chunk.hole => report.holes += if whole { chunk.size } else { 0 },
                () if filling.pinned[i as usize] => report.reused_chunks += chunk.size,
                () => parts.push(Part::of(file, i)),
            }
        }
        if filling.pinned.contains(&true) {
            report.shared += shared;
        }
        Ok(whole)
    }

    /// Tries the candidates of chunk number `i`.
    fn take_chunk(
        &mut self,
        i: u32,
        filling: &mut Filling<'_>,
        tree: &mut TreeWriter<'_>,
    ) -> Result<(), PinError> {
        let file = filling.file;
        let Some(digest) = file.chunk_digest(i) else { return Ok(()) };
        for candidate in self.ranked(i, filling) {
            let Some(local) = self.locals.open(&candidate)? else { continue };
            // It was tried as a whole file already.
            if file.chunk_count() == 1 && local.length == file.size() {
                continue;
            }
            let taken = if local.is_clone {
                self.take_from_clone(i, digest, &candidate, &local, filling, tree)?
            } else {
                self.copy(file.chunk(i), digest, &candidate, &local, filling.target(tree)?)?
            };
            if taken {
                filling.pinned[i as usize] = true;
                return Ok(());
            }
            tracing::debug!(?candidate, path = %file.path(), "candidate has another content");
        }
        Ok(())
    }

    /// The candidates of a chunk: first what goes on with the run, then what can
    /// be shared, then the others; the likeliest first among equals.
    fn ranked(&self, i: u32, filling: &Filling<'_>) -> Vec<Candidate> {
        let to = filling.file.chunk(i).file_offset;
        let mut candidates: Vec<_> = self.plan.chunk_candidates(filling.file, i).collect();
        candidates.sort_by_key(|candidate| {
            let run = filling.run.as_ref();
            let goes_on = run.is_some_and(|run| {
                run.clone.is_of(candidate) && run.goes_on_with(&run.clone, candidate.offset, to)
            });
            (!goes_on, candidate.offset % self.block != to % self.block)
        });
        candidates
    }

    /// Verifies the chunk in the clone, and notes that it is to come from there.
    fn take_from_clone(
        &mut self,
        i: u32,
        digest: ChunkDigest,
        candidate: &Candidate,
        clone: &Rc<Local>,
        filling: &mut Filling<'_>,
        tree: &mut TreeWriter<'_>,
    ) -> Result<bool, PinError> {
        if !self.read(clone, candidate, digest, |_, _| Ok(()))? {
            return Ok(false);
        }
        let Chunk { file_offset: to, size, .. } = filling.file.chunk(i);
        let from = candidate.offset;
        match &mut filling.run {
            Some(run) if run.goes_on_with(clone, from, to) => run.push(i, size),
            _ => {
                self.flush(filling, tree)?;
                filling.run = Some(Run::new(clone.clone(), i, from, to, size));
            }
        }
        Ok(true)
    }

    /// Copies the chunk to its place; `false` if it turns out to be another one.
    fn copy(
        &mut self,
        chunk: Chunk,
        digest: ChunkDigest,
        candidate: &Candidate,
        local: &Local,
        target: &NewFile,
    ) -> Result<bool, PinError> {
        let right = self.read(local, candidate, digest, |at, bytes| {
            let written = target.write_all_at(bytes, chunk.file_offset + at);
            written.during("write", target.path().as_path())
        })?;
        Ok(right)
    }

    /// Brings the chunks of the run into the target; those of a run for which that
    /// fails are missing.
    fn flush(&self, filling: &mut Filling<'_>, tree: &mut TreeWriter<'_>) -> Result<(), PinError> {
        let Some(run) = filling.run.take() else { return Ok(()) };
        match run.bring(filling.target(tree)?, self.block) {
            Ok(cloned) => filling.cloned += cloned,
            Err(error) => {
                tracing::debug!(%error, path = %filling.file.path(), "chunks can't be taken");
                filling.pinned[run.first as usize..=run.last as usize].fill(false);
            }
        }
        Ok(())
    }

    /// Reads the candidate's bytes, hands them on with their offset in the chunk,
    /// and tells whether they are those of `digest`.
    ///
    /// The error is that of `take`; what can't be read is not what it should be.
    fn read(
        &mut self,
        local: &Local,
        candidate: &Candidate,
        digest: ChunkDigest,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), FsError>,
    ) -> Result<bool, FsError> {
        let mut hasher = Hasher::new();
        let mut at = 0;
        while at < candidate.length {
            let left = usize::try_from(candidate.length - at).unwrap_or(BUFFER).min(BUFFER);
            let bytes = match local.file.read_at(&mut self.buffer[..left], candidate.offset + at) {
                Ok(0) => return Ok(false),
                Ok(n) => &self.buffer[..n],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(false),
            };
            hasher.update(bytes);
            take(at, bytes)?;
            at += bytes.len() as u64;
        }
        Ok(hasher.finish() == *digest.digest())
    }
}

impl Filling<'_> {
    /// The file, created when it is needed first.
    fn target(&mut self, tree: &mut TreeWriter<'_>) -> Result<&NewFile, PinError> {
        let target = match self.target.take() {
            Some(target) => target,
            None => tree.create(&self.file.entry())?,
        };
        Ok(self.target.insert(target))
    }

    /// How many of its bytes are shared.
    fn shared(&self) -> u64 {
        self.target.as_ref().map_or(0, |target| shared::of_cloned(target, self.cloned))
    }

    fn is_whole(&self) -> bool {
        self.pinned.iter().zip(self.file.chunks()).all(|(&pinned, chunk)| pinned || chunk.hole)
    }
}

/// Verifies a file of which all chunks are there, and gives it its attributes.
///
/// `false` if its content is another: then the TOC contradicts itself, and the
/// outcome shall not depend on what is at hand, so all of it is fetched.
fn complete(filling: &mut Filling<'_>, tree: &mut TreeWriter<'_>) -> Result<bool, PinError> {
    let Some(target) = filling.target.take() else { return Ok(false) };
    let file: &File = &target;
    if let Err(error) = Assembly::new(filling.file, &[]).finish(file) {
        tracing::debug!(%error, "chunks are right, their file is not");
        filling.pinned.fill(false);
        return Ok(false);
    }
    tree.complete(target, &filling.file.entry())?;
    Ok(true)
}
