//! Against a process that takes classic record locks, as the Go tools do.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use storage_core::{Lock, TempDir, recover_temp_dirs};

/// Tries to lock the whole of a file in one go; prints how it went, and holds the
/// lock until it is killed.
const PYTHON: &str = r#"
import fcntl, sys, time
path, kind = sys.argv[1:]
file = open(path, "r+b")
try:
    fcntl.lockf(file, getattr(fcntl, kind) | fcntl.LOCK_NB)
    print("locked", flush=True)
    time.sleep(1000)
except OSError:
    print("refused", flush=True)
"#;

struct Classic(Child, String);

impl Classic {
    fn start(path: &Path, kind: &str) -> Self {
        let mut python = Command::new("python3")
            .args(["-c", PYTHON])
            .arg(path)
            .arg(kind)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed as an independent judge");
        let mut answer = String::new();
        BufReader::new(python.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        Self(python, answer.trim().to_owned())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Classic {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn answer(path: &Path, kind: &str) -> String {
    Classic::start(path, kind).1.clone()
}

pub(crate) fn ours_keep_theirs_out() {
    let root = tempfile::tempdir().unwrap();
    let dir = File::open(root.path()).unwrap();
    let path = root.path().join("lock");

    let shared = Lock::shared(&dir, "lock").unwrap();
    assert_eq!(answer(&path, "LOCK_SH"), "locked");
    assert_eq!(answer(&path, "LOCK_EX"), "refused");
    drop(shared);
    let exclusive = Lock::exclusive(&dir, "lock").unwrap();
    assert_eq!(answer(&path, "LOCK_SH"), "refused");
    assert_eq!(answer(&path, "LOCK_EX"), "refused");
    drop(exclusive);
    assert_eq!(answer(&path, "LOCK_EX"), "locked");
}

pub(crate) fn theirs_keep_ours_out() {
    let root = tempfile::tempdir().unwrap();
    let dir = File::open(root.path()).unwrap();
    let path = root.path().join("lock");
    File::create(&path).unwrap();

    let shared = Classic::start(&path, "LOCK_SH");
    assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
    drop(Lock::shared(&dir, "lock").unwrap());
    shared.kill();

    let exclusive = Classic::start(&path, "LOCK_EX");
    assert_eq!(exclusive.1, "locked");
    assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Lock::exclusive(&dir, "lock").unwrap());
        exclusive.kill();
        drop(waiting.join().unwrap());
    });
    // The file outlives its holders and stops nobody.
    assert!(Lock::try_exclusive(&dir, "lock").unwrap().is_some());
}

pub(crate) fn temp_dirs() {
    let root = tempfile::tempdir().unwrap();
    let dir = File::open(root.path()).unwrap();
    let theirs = root.path().join("lock-77");
    File::create(&theirs).unwrap();
    std::fs::create_dir_all(root.path().join("temp-dir-77/0-layer")).unwrap();

    let holder = Classic::start(&theirs, "LOCK_EX");
    let ours = TempDir::create(&dir).unwrap();
    assert_eq!(recover_temp_dirs(&dir).unwrap(), 0);
    assert!(root.path().join("temp-dir-77/0-layer").exists());
    let name_of = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let is_ours = |name: &std::ffi::OsString| {
        name.to_str().is_some_and(|name| name.starts_with("lock-") && name != "lock-77")
    };
    let our_lock = std::fs::read_dir(root.path()).unwrap().map(name_of).find(is_ours).unwrap();
    assert_eq!(answer(&root.path().join(our_lock), "LOCK_EX"), "refused");

    holder.kill();
    assert_eq!(recover_temp_dirs(&dir).unwrap(), 1);
    ours.delete().unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
