//! Chunks from local files, for files that no local file is equal to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::fstatvfs;
use storage_core::{ChunkDigest, Dirs, FsError, FsResultExt, Hasher};

use super::local::{Local, Locals};
use super::refused::Refused;
use super::run::Run;
use super::scratch::Scratch;
use super::shared;
use crate::making::Making;
use crate::plan::stretch::Stretch;
use crate::sparse;
use crate::{ApplyError, Candidate, Chunk, Plan, Sources, TocFile};

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
    run: Option<Run>,
    /// Chunks that are in the target, and those that no candidate gave.
    pinned: Vec<u32>,
    lacking: Vec<u32>,
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

    /// Puts what can be had of `file`, which is not to be had in whole, into its place,
    /// and adds to `late` what was hoped for in vain.
    pub(super) fn take<'t>(
        &mut self,
        file: TocFile<'t>,
        making: &mut Making<'t, '_>,
        late: &mut Vec<(u32, u32)>,
    ) -> Result<(), ApplyError> {
        let mut filling =
            Filling { file, run: None, pinned: Vec::new(), lacking: Vec::new(), cloned: 0 };
        let hoped = self.plan.candidates(file).next().is_some();
        for i in (0..file.chunk_count()).filter(|&i| !file.chunk(i).hole) {
            let candidates = self.ranked(i, &filling);
            // What nobody could have was asked for already.
            if !hoped && candidates.is_empty() {
                continue;
            }
            if !self.take_chunk(i, &candidates, &mut filling, making)? {
                filling.lacking.push(i);
            }
        }
        self.flush(&mut filling, making)?;
        late.extend(filling.lacking.drain(..).map(|i| (file.number(), i)));
        filling.settle(making)
    }

    /// Tries the candidates of chunk number `i`.
    fn take_chunk<'t>(
        &mut self,
        i: u32,
        candidates: &[Candidate],
        filling: &mut Filling<'t>,
        making: &mut Making<'t, '_>,
    ) -> Result<bool, ApplyError> {
        let file = filling.file;
        let Some(digest) = file.chunk_digest(i) else { return Ok(false) };
        for candidate in candidates {
            let copy = self.plan.prefers_copy(candidate, 0);
            let Some(local) = self.locals.open(candidate, copy)? else { continue };
            // It was tried as a whole file already.
            if file.chunk_count() == 1 && local.length == file.size() {
                continue;
            }
            if local.is_clone {
                if self.is_right(&local, candidate, digest)? {
                    self.append(i, candidate.offset, &local, filling, making)?;
                    return Ok(true);
                }
            } else {
                let output = making.outputs.get(file, &mut making.tree)?;
                if self.copy(file, i, digest, candidate, &local, output.target())? {
                    filling.pinned.push(i);
                    return Ok(true);
                }
            }
            tracing::debug!(?candidate, path = %file.path(), "candidate has another content");
        }
        Ok(false)
    }

    /// The candidates of a chunk, the best first.
    fn ranked(&self, i: u32, filling: &Filling<'_>) -> Vec<Candidate> {
        let to = filling.file.chunk(i).file_offset;
        self.plan.ranked(filling.file, i, self.block, |candidate| {
            let run = filling.run.as_ref();
            run.is_some_and(|run| {
                run.clone.is_of(candidate) && run.stretch.goes_on(candidate.offset, to)
            })
        })
    }

    fn is_right(
        &mut self,
        clone: &Local,
        candidate: &Candidate,
        digest: ChunkDigest,
    ) -> Result<bool, FsError> {
        self.read(clone, candidate, digest, |_, _| Ok(()))
    }

    /// Notes that the chunk, which is right, is to come from the clone.
    fn append<'t>(
        &self,
        i: u32,
        from: u64,
        clone: &Rc<Local>,
        filling: &mut Filling<'t>,
        making: &mut Making<'t, '_>,
    ) -> Result<(), ApplyError> {
        let Chunk { file_offset: to, size, .. } = filling.file.chunk(i);
        match &mut filling.run {
            Some(run) if run.goes_on_with(clone, from, to) => run.push(i, size),
            _ => {
                self.flush(filling, making)?;
                let stretch = Stretch { from, to, length: size };
                filling.run = Some(Run { clone: clone.clone(), stretch, chunks: vec![i] });
            }
        }
        Ok(())
    }

    /// Copies the chunk to its place; `false` if it turns out to be another one.
    fn copy(
        &mut self,
        file: TocFile<'_>,
        i: u32,
        digest: ChunkDigest,
        candidate: &Candidate,
        local: &Local,
        target: &File,
    ) -> Result<bool, FsError> {
        let to = file.chunk(i).file_offset;
        self.read(local, candidate, digest, |at, bytes| {
            let written = sparse::write_at(target, bytes, to + at);
            written.during("write", file.path().as_path())
        })
    }

    /// Brings the chunks of the run into the target; those of a run for which that
    /// fails are lacking.
    fn flush<'t>(
        &self,
        filling: &mut Filling<'t>,
        making: &mut Making<'t, '_>,
    ) -> Result<(), ApplyError> {
        let Some(run) = filling.run.take() else { return Ok(()) };
        let output = making.outputs.get(filling.file, &mut making.tree)?;
        match run.bring(output.target(), self.block) {
            Ok(cloned) => {
                filling.cloned += cloned;
                filling.pinned.extend(run.chunks);
            }
            Err(error) => {
                tracing::debug!(%error, path = %filling.file.path(), "chunks can't be taken");
                filling.lacking.extend(run.chunks);
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

impl<'t> Filling<'t> {
    /// Counts what is in its place, and finishes the file if that is all of it.
    fn settle(self, making: &mut Making<'t, '_>) -> Result<(), ApplyError> {
        if self.pinned.is_empty() {
            return Ok(());
        }
        let output = making.outputs.get(self.file, &mut making.tree)?;
        making.report.shared += shared::of_cloned(output.target(), self.cloned);
        for i in self.pinned {
            output.assembly.put(i, false);
            making.report.reused_chunks += self.file.chunk(i).size;
        }
        making.finish_if_whole(self.file, None)
    }
}
