//! Locks between processes, and the token that tells readers of a change.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::dir::{open_at, random};
use crate::{FsError, FsResultExt};

/// Mode of lock files, whatever the umask.
const MODE: u32 = 0o644;

/// A lock on a file, held until it is dropped.
///
/// Other holders are kept out whether they are other processes, other threads,
/// or another `Lock` of the same thread: each acquisition opens the file anew
/// (an open-file-description lock). These locks and the classic record locks
/// that the Go tools take keep each other out, too.
///
/// A process that dies releases its locks. A child that is forked while a lock
/// is held shares it until the child ends or executes another program.
#[derive(Debug)]
pub struct Lock {
    file: File,
    name: PathBuf,
    exclusive: bool,
}

/// What a lock file says of its last writer; see [`Lock::token`].
///
/// Opaque: equal tokens mean that nothing was written in between.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Vec<u8>);

impl Token {
    /// Length of what is written, in bytes.
    const LEN: usize = 64;

    /// Whether nobody has ever written under this lock.
    pub fn is_never_written(&self) -> bool {
        self.0.is_empty()
    }

    /// Time, counter, process and 44 random bytes: never the same twice.
    fn fresh() -> Result<Self, Errno> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut token = Vec::with_capacity(Self::LEN);
        token.extend_from_slice(&nanoseconds.to_le_bytes());
        token.extend_from_slice(&COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        token.extend_from_slice(&std::process::id().to_le_bytes());
        token.extend_from_slice(&random::<44>()?);
        Ok(Self(token))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", hex::encode(&self.0))
    }
}

impl Lock {
    /// Waits until no exclusive holder is left.
    ///
    /// `name` is created in `dir` if it is missing. Where the file cannot be
    /// opened for writing (a read-only filesystem, missing permission), it is
    /// opened for reading, which is enough for a shared lock.
    ///
    /// # Errors
    ///
    /// If the file can be neither opened nor created, or the kernel refuses the lock.
    pub fn shared(dir: impl AsFd, name: &str) -> Result<Self, FsError> {
        let file = match open_or_create(&dir, name) {
            Err(Errno::ROFS | Errno::ACCESS) => {
                open_at(&dir, name, OFlags::RDONLY).during("open lock file", name)?
            }
            opened => opened.during("open lock file", name)?,
        };
        Self::wait(file, name, false)
    }

    /// Waits until no other holder is left.
    ///
    /// # Errors
    ///
    /// If the file can be neither opened nor created, or the kernel refuses the lock.
    pub fn exclusive(dir: impl AsFd, name: &str) -> Result<Self, FsError> {
        let file = open_or_create(&dir, name).during("open lock file", name)?;
        Self::wait(file, name, true)
    }

    /// Takes the lock if nobody holds it; `None` if somebody does.
    ///
    /// # Errors
    ///
    /// If the file can be neither opened nor created, or the kernel refuses the lock.
    pub fn try_exclusive(dir: impl AsFd, name: &str) -> Result<Option<Self>, FsError> {
        let file = open_or_create(&dir, name).during("open lock file", name)?;
        Self::try_lock(file, name)
    }

    /// Like [`Lock::shared`], on a file that must exist and is opened for reading.
    ///
    /// `None` if there is no such file. Nothing is created.
    ///
    /// # Errors
    ///
    /// If the file exists and cannot be opened, or the kernel refuses the lock.
    pub fn shared_existing(dir: impl AsFd, name: &str) -> Result<Option<Self>, FsError> {
        match open_at(&dir, name, OFlags::RDONLY) {
            Err(Errno::NOENT) => Ok(None),
            opened => Self::wait(opened.during("open lock file", name)?, name, false).map(Some),
        }
    }

    /// Like [`Lock::try_exclusive`], on an open file.
    pub(crate) fn try_lock(file: OwnedFd, name: &str) -> Result<Option<Self>, FsError> {
        let request = whole_file(true);
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&request)) {
                Ok(_) => return Ok(Some(Self::new(file, name, true))),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Ok(None),
                Err(errno) => return Err(errno).during("lock", name),
            }
        }
    }

    fn wait(file: OwnedFd, name: &str, exclusive: bool) -> Result<Self, FsError> {
        let request = whole_file(exclusive);
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&request)) {
                Ok(_) => return Ok(Self::new(file, name, exclusive)),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno).during("lock", name),
            }
        }
    }

    fn new(file: OwnedFd, name: &str, exclusive: bool) -> Self {
        Self { file: file.into(), name: name.into(), exclusive }
    }

    /// The token of the last writer: whoever reads the same one twice, each time
    /// under the lock, knows that what it protects has not changed in between.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn token(&self) -> Result<Token, FsError> {
        let mut bytes = vec![0; Token::LEN];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).during("read lock file", &self.name),
            }
        }
        bytes.truncate(filled);
        Ok(Token(bytes))
    }

    /// Tells readers that what they remember is old; comes before the change itself.
    ///
    /// # Errors
    ///
    /// If the lock is a shared one, or the file cannot be written.
    pub fn write_token(&mut self) -> Result<(), FsError> {
        if !self.exclusive {
            return Err(Errno::PERM).during("write token under a shared lock", &self.name);
        }
        let token = Token::fresh().during("get random bytes for", &self.name)?;
        self.file.write_all_at(&token.0, 0).during("write token to", &self.name)
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// Opens a lock file for reading and writing; one that is created has its exact mode.
fn open_or_create(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    loop {
        match open_at(&dir, name, OFlags::RDWR) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        match create_new(&dir, name) {
            // Somebody else was faster: theirs is as good.
            Err(Errno::EXIST) => {}
            created => return created,
        }
    }
}

/// Creates a lock file that must not exist yet.
pub(crate) fn create_new(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    crate::dir::create_at(dir, name, Mode::from_raw_mode(MODE))
}

fn whole_file(exclusive: bool) -> libc::flock {
    let kind = if exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
    libc::flock {
        // The constants are small; their type differs between C libraries.
        #[allow(clippy::cast_possible_truncation)]
        l_type: kind as libc::c_short,
        #[allow(clippy::cast_possible_truncation)]
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    fn directory() -> (tempfile::TempDir, File) {
        let directory = tempfile::tempdir().unwrap();
        let handle = File::open(directory.path()).unwrap();
        (directory, handle)
    }

    #[test]
    fn shared_holders_keep_out_only_exclusive_ones() {
        let (_keep, dir) = directory();
        let first = Lock::shared(&dir, "lock").unwrap();
        let second = Lock::shared(&dir, "lock").unwrap();
        assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
        drop(second);
        let only = Lock::try_exclusive(&dir, "lock").unwrap().unwrap();
        assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
        assert!(Lock::try_exclusive(&dir, "other").unwrap().is_some());
        drop(only);
        assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_some());
    }

    #[test]
    fn who_waits_gets_the_lock_after_the_holder_and_not_before() {
        let (_keep, dir) = directory();
        let released = AtomicBool::new(false);
        let lock = Lock::exclusive(&dir, "lock").unwrap();
        let (ready, started) = mpsc::channel();
        std::thread::scope(|scope| {
            for shared in [true, false] {
                let (dir, released, ready) = (&dir, &released, ready.clone());
                scope.spawn(move || {
                    ready.send(()).unwrap();
                    let take = if shared { Lock::shared } else { Lock::exclusive };
                    let held = take(dir, "lock").unwrap();
                    assert!(released.load(Ordering::SeqCst));
                    drop(held);
                });
            }
            started.recv().unwrap();
            started.recv().unwrap();
            std::thread::yield_now();
            released.store(true, Ordering::SeqCst);
            drop(lock);
        });
    }

    #[test]
    fn tokens_are_unique_and_laid_out_as_the_other_tools_do() {
        let (_keep, dir) = directory();
        let mut lock = Lock::exclusive(&dir, "lock").unwrap();
        assert!(lock.token().unwrap().is_never_written());
        let mut seen = HashSet::new();
        for _ in 0..100 {
            lock.write_token().unwrap();
            let token = lock.token().unwrap();
            assert_eq!(token.0.len(), 64);
            assert_eq!(token.0[16..20], std::process::id().to_le_bytes());
            assert!(seen.insert(token.clone()));
            assert!(seen.contains(&lock.token().unwrap()));
        }
        // The random part alone differs, too.
        assert_eq!(seen.iter().map(|t| t.0[20..].to_vec()).collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn short_and_long_lock_files_have_tokens() {
        let (keep, dir) = directory();
        std::fs::write(keep.path().join("short"), "abc").unwrap();
        std::fs::write(keep.path().join("long"), [7; 100]).unwrap();
        assert_eq!(Lock::shared(&dir, "short").unwrap().token().unwrap(), Token(b"abc".to_vec()));
        assert_eq!(Lock::shared(&dir, "long").unwrap().token().unwrap(), Token(vec![7; 64]));
    }

    #[test]
    fn a_shared_lock_writes_no_token() {
        let (keep, dir) = directory();
        assert!(Lock::shared(&dir, "lock").unwrap().write_token().is_err());
        assert_eq!(keep.path().join("lock").metadata().unwrap().len(), 0);
    }

    #[test]
    fn who_may_only_read_gets_a_shared_lock() {
        let (keep, dir) = directory();
        std::fs::write(keep.path().join("lock"), "token").unwrap();
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o444);
        std::fs::set_permissions(keep.path().join("lock"), read_only).unwrap();
        let root = rustix::process::geteuid().is_root();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if root {
                    // For this thread only.
                    let path = keep.path();
                    let all = std::os::unix::fs::PermissionsExt::from_mode(0o555);
                    std::fs::set_permissions(path, all).unwrap();
                    let nobody = rustix::process::Uid::from_raw(65534);
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                let lock = Lock::shared(&dir, "lock").unwrap();
                assert_eq!(lock.token().unwrap(), Token(b"token".to_vec()));
                let refused = Lock::exclusive(&dir, "lock").unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
            });
        });
        if root {
            assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_some());
        }
    }

    #[test]
    fn nothing_is_created_where_a_lock_must_exist() {
        let (keep, dir) = directory();
        assert!(Lock::shared_existing(&dir, "lock").unwrap().is_none());
        assert!(!keep.path().join("lock").exists());
        drop(Lock::exclusive(&dir, "lock").unwrap());
        let shared = Lock::shared_existing(&dir, "lock").unwrap().unwrap();
        assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
        drop(shared);
    }
}
