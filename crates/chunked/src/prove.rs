//! The second half of the proof: the tar, rebuilt from tar-split and the staged
//! files, hashes to the DiffID.
//!
//! One sequential hash over the whole layer, on a thread of its own beside `pin`
//! and `apply`: it takes files, some at a time, as soon as they and all before them are
//! whole, and never holds the others back.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use flate2::read::MultiGzDecoder;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, chmod, fstat, open, openat, openat2};
use storage_core::{
    DiffId, Dirs, FsError, FsResultExt, Hasher, LayerPath, LayerPathError, VerifyError,
};
use tarball::{Crc64, Segment, SplitLimits, TarSplitError, TarSplitReader};
use tree::{TreeError, TreeReader, TreeReport};

use crate::{Applied, Choice, LayerBytes, aside};

const BUFFER: usize = 256 << 10;

/// Files for which the prover is woken together.
const GROUP: u32 = 32;

/// Files behind the one that the prover is at whose contents are kept: those that come
/// long before their turn would take the room of others.
const NEAR: u32 = 1024;

/// Contents that wait in memory for their turn.
const KEPT: usize = 8 << 20;

/// Proves a layer while it is made; see [`Prover::start`].
///
/// Dropping it stops its thread and waits for that; nothing is proved then.
#[derive(Debug)]
pub struct Prover {
    diff_id: DiffId,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Rebuilt, ProveError>>>,
}

/// A layer of which both halves of the proof hold: its tree is the tar that the
/// image's config names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Proved {
    /// Length of the uncompressed tar stream.
    pub diff_size: u64,
    /// The owners that occur, ascending.
    pub uid_set: Vec<u32>,
    /// The groups that occur, ascending.
    pub gid_set: Vec<u32>,
    /// Where the layer's bytes came from.
    pub report: LayerBytes,
    /// What the tree's writer had to leave out.
    pub tree: TreeReport,
    /// How the missing bytes were asked for: those that no local file could have, and
    /// after them, if there were any, those that local files turned out not to give.
    pub choices: Vec<Choice>,
}

/// A layer that could not be proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The tar is another than the one that the config names, though every file
    /// is what the TOC says: TOC and tar have different contents.
    #[error("compare the layer's tar with its DiffID")]
    DiffId(#[source] VerifyError),
    /// A staged file could not be opened or is none.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A staged or kept file could not be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A staged file was changed after it was verified.
    #[error("{path} has another length than when it was verified")]
    Changed {
        /// The file.
        path: LayerPath,
    },
    /// A file is what the TOC says, and the checksum that tar-split has of it is another.
    #[error("tar-split has a wrong checksum of {path}")]
    Checksum {
        /// The file.
        path: LayerPath,
    },
    /// The kept tar-split could not be read back.
    #[error("read the kept tar-split")]
    TarSplit(#[source] TarSplitError),
    /// A name in the tar-split that is no path.
    #[error(transparent)]
    Name(#[from] LayerPathError),
    /// The layer that was applied is not the one to be proved.
    #[error("file number {0} of the tar was not made by the plan that was applied")]
    NotMade(u32),
    /// The prover was dropped.
    #[error("the proof was abandoned")]
    Abandoned,
    /// The prover's thread could not be started.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

impl ProveError {
    /// Whether TOC and tar are at odds, so that a full pull may succeed.
    pub fn is_lie_of_the_toc(&self) -> bool {
        matches!(self, Self::DiffId(_) | Self::Checksum { .. })
    }
}

impl Prover {
    /// Starts to prove that what is made in `dirs.dest` is the layer `diff_id`.
    ///
    /// [`aside::TAR_SPLIT`] must be in `dirs.aside` already, as [`scan`](crate::scan)
    /// leaves it. The directories are opened anew, so `dirs` may be closed.
    ///
    /// # Errors
    ///
    /// If the files can't be opened, or no thread be started.
    pub fn start(dirs: Dirs<'_>, diff_id: DiffId) -> Result<Self, ProveError> {
        let name = aside::TAR_SPLIT;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let tar_split = openat(dirs.aside, name, flags, Mode::empty()).during("open", name)?;
        let dest = dirs.dest.try_clone_to_owned().during("duplicate the handle of", "dest")?;
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("prover".into())
            .spawn(move || rebuild(tar_split.into(), &dest, &for_thread))
            .map_err(ProveError::Thread)?;
        Ok(Self { diff_id, shared, thread: Some(thread) })
    }

    /// File number `file` (of those with content) is whole, verified and in its place.
    pub(crate) fn done(&self, file: u32) {
        self.note(file, None);
    }

    /// The same, with all its bytes: they are not read again, if there is room for
    /// them until their turn comes.
    pub(crate) fn done_with(&self, file: u32, bytes: &[u8]) {
        self.note(file, Some(bytes));
    }

    fn note(&self, file: u32, bytes: Option<&[u8]>) {
        let mut state = self.shared.lock();
        let near = file.saturating_sub(state.at) < NEAR;
        match bytes {
            Some(bytes) if near && state.kept_bytes + cost(bytes) <= KEPT => {
                state.kept_bytes += cost(bytes);
                state.kept.insert(file, bytes.into());
                state.since += 1;
            }
            Some(_) => state.since += 1,
            // To be read again, which takes a while.
            None => state.since = state.since.saturating_add(GROUP),
        }
        let (word, bit) = (file as usize / 64, file % 64);
        if state.done.len() <= word {
            state.done.resize(word + 1, 0);
        }
        state.done[word] |= 1 << bit;
        if !state.awake && state.has_enough() {
            state.awake = true;
            self.shared.changed.notify_one();
        }
    }

    /// Waits for the hash of the whole layer, and compares.
    ///
    /// # Errors
    ///
    /// If the hash is another, or the layer could not be read.
    ///
    /// # Panics
    ///
    /// If the prover's thread did.
    pub fn finish(mut self, applied: Applied) -> Result<Proved, ProveError> {
        self.shared.tell(|state| state.complete = true);
        let thread = self.thread.take().expect("only finish and drop take the thread");
        let rebuilt = match thread.join() {
            Ok(rebuilt) => rebuilt?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let (expected, actual) = (*self.diff_id.digest(), *rebuilt.diff_id.digest());
        if expected != actual {
            return Err(ProveError::DiffId(VerifyError::Digest { expected, actual }));
        }
        let Applied { uid_set, gid_set, report, tree, choices } = applied;
        Ok(Proved { diff_size: rebuilt.size, uid_set, gid_set, report, tree, choices })
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.tell(|state| state.abandoned = true);
            // Its outcome does not matter any more, not even a panic.
            drop(thread.join());
        }
    }
}

/// What the makers of a layer tell the prover.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// One bit per file with content.
    done: Vec<u64>,
    /// Contents of files that are done, and what they cost together.
    kept: HashMap<u32, Box<[u8]>>,
    kept_bytes: usize,
    /// What the prover works on, or waits for unless it is awake.
    at: u32,
    awake: bool,
    /// Files that were done since the prover waits, large ones counted as many.
    since: u32,
    /// No more files will be done.
    complete: bool,
    abandoned: bool,
}

impl State {
    fn is_done(&self, file: u32) -> bool {
        let word = self.done.get(file as usize / 64).copied().unwrap_or(0);
        word >> (file % 64) & 1 == 1
    }

    /// Whether it is worth waking the prover: to change threads for each file would
    /// cost more than hashing it.
    fn has_enough(&self) -> bool {
        self.since >= GROUP && self.is_done(self.at)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after each single change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.awake = true;
        self.changed.notify_one();
    }

    /// Waits until file number `file` is whole; gives its bytes if they are at hand.
    fn wait_for(&self, file: u32) -> Result<Option<Box<[u8]>>, ProveError> {
        let mut state = self.lock();
        state.at = file;
        loop {
            if state.abandoned {
                return Err(ProveError::Abandoned);
            }
            if state.is_done(file) {
                let kept = state.kept.remove(&file);
                state.kept_bytes -= kept.as_deref().map_or(0, cost);
                return Ok(kept);
            }
            if state.complete {
                return Err(ProveError::NotMade(file));
            }
            (state.since, state.awake) = (0, false);
            let asleep = |state: &mut State| !state.awake;
            state = self.changed.wait_while(state, asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn check_abandoned(&self) -> Result<(), ProveError> {
        if self.lock().abandoned { Err(ProveError::Abandoned) } else { Ok(()) }
    }
}

/// What it takes to keep `bytes`, with their row in the table: tiny files are many.
fn cost(bytes: &[u8]) -> usize {
    bytes.len() + 64
}

/// What a rebuilt tar turned out to be.
#[derive(Debug)]
struct Rebuilt {
    diff_id: DiffId,
    size: u64,
}

/// Hashes the tar stream: segments of `tar_split`, contents from `dest`.
fn rebuild(tar_split: File, dest: &OwnedFd, shared: &Shared) -> Result<Rebuilt, ProveError> {
    let json = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(tar_split));
    // Its size was limited when it was written.
    let mut limits = SplitLimits::default();
    (limits.total_bytes, limits.entries) = (u64::MAX, u64::MAX);
    let mut segments = TarSplitReader::new(json, limits);
    let mut tar = Tar {
        dest: dest.as_fd(),
        files: TreeReader::new(dest.as_fd()),
        shared,
        hasher: Hasher::new(),
        crc64: Crc64::new(),
        buffer: vec![0; BUFFER],
    };
    let mut number = 0;
    for segment in &mut segments {
        shared.check_abandoned()?;
        match segment.map_err(ProveError::TarSplit)? {
            Segment::Raw(bytes) => tar.hasher.update(&bytes),
            Segment::File { size: 0, .. } => {}
            Segment::File { name, size, crc64 } => {
                match shared.wait_for(number)? {
                    Some(bytes) if bytes.len() as u64 == size => tar.add(&bytes),
                    _ => tar.add_file(&LayerPath::parse(&name)?, size)?,
                }
                // Others give a tar back only if these are right, too.
                if std::mem::take(&mut tar.crc64).value() != crc64 {
                    return Err(ProveError::Checksum { path: LayerPath::parse(&name)? });
                }
                number += 1;
            }
        }
    }
    Ok(Rebuilt { diff_id: tar.hasher.finish().into(), size: segments.tar_size() })
}

struct Tar<'a> {
    dest: BorrowedFd<'a>,
    files: TreeReader<'a>,
    shared: &'a Shared,
    hasher: Hasher,
    /// Of the present file.
    crc64: Crc64,
    buffer: Vec<u8>,
}

impl Tar<'_> {
    fn add(&mut self, content: &[u8]) {
        self.hasher.update(content);
        self.crc64.update(content);
    }

    fn add_file(&mut self, path: &LayerPath, size: u64) -> Result<(), ProveError> {
        let mut file = match self.files.open(path) {
            Err(TreeError::Fs(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_unreadable(self.dest, path.as_path()).during("open", path.as_path())?
            }
            file => file?,
        };
        let mut left = size;
        loop {
            let n = file.read(&mut self.buffer).during("read", path.as_path())?;
            if n as u64 > left || (n == 0 && left > 0) {
                return Err(ProveError::Changed { path: path.clone() });
            }
            if n == 0 {
                return Ok(());
            }
            left -= n as u64;
            self.hasher.update(&self.buffer[..n]);
            self.crc64.update(&self.buffer[..n]);
            self.shared.check_abandoned()?;
        }
    }
}

/// Opens a file that its owner, which is this process, may not read as it is now:
/// a file of mode 0000 or 0111, made without privileges.
fn open_unreadable(dest: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let node = openat2(dest, path, flags, Mode::empty(), resolve)?;
    let stat = fstat(&node)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let by_descriptor = format!("/proc/self/fd/{}", node.as_raw_fd());
    let mode = Mode::from_raw_mode(stat.st_mode);
    chmod(&by_descriptor, mode | Mode::RUSR)?;
    let file = open(&by_descriptor, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    chmod(&by_descriptor, mode)?;
    Ok(file?.into())
}
