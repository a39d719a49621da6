//! On the filesystem of the temporary directory, whatever it can do. `cp` is the
//! judge of that: what it shares we share, and what it does not we refuse. Set
//! TMPDIR to try another filesystem.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use reflink::{
    Outcome, ReflinkError, Refusal, reflink, reflink_or_copy, reflink_range, shared_bytes,
};

/// A multiple of every filesystem's block size, and of no other file's content.
const BLOCK: usize = 64 * 1024;

fn content() -> Vec<u8> {
    (0_u32..)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(4 * BLOCK + 5)
        .collect()
}

struct Files {
    dir: tempfile::TempDir,
    src: File,
    dst: File,
    cp_shares: bool,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let create = |name| {
            let path = dir.path().join(name);
            File::options().read(true).write(true).create_new(true).open(path).unwrap()
        };
        let (mut src, mut dst) = (create("src"), create("dst"));
        src.write_all(&content()).unwrap();
        src.sync_all().unwrap();
        // Cursors must not matter.
        src.seek(SeekFrom::Start(3)).unwrap();
        dst.seek(SeekFrom::Start(4)).unwrap();
        let cp_shares = cp_shares(dir.path());
        Self { dir, src, dst, cp_shares }
    }

    fn dst_content(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("dst")).unwrap()
    }
}

fn cp_shares(dir: &Path) -> bool {
    Command::new("cp")
        .arg("--reflink=always")
        .args([dir.join("src"), dir.join("judge")])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

#[test]
fn a_file_is_shared_exactly_where_cp_shares_it() {
    let files = Files::new();
    match reflink(&files.src, &files.dst) {
        Ok(()) => {
            assert!(files.cp_shares);
            assert!(files.dst_content() == content());
            assert!(shared_bytes(&files.dst).unwrap() >= content().len() as u64);
        }
        Err(error) => {
            assert!(!files.cp_shares);
            assert_eq!(error.refusal(), Some(Refusal::Unsupported), "{error:?}");
            assert_eq!(files.dst_content(), b"", "a refusal leaves the destination alone");
        }
    }
}

#[test]
fn shared_or_copied_the_content_is_the_same() {
    let files = Files::new();
    let outcome = reflink_or_copy(&files.src, &files.dst).unwrap();
    let bytes = content().len() as u64;
    let copied = Outcome::Copied { bytes, refusal: Refusal::Unsupported };
    let expected = if files.cp_shares { Outcome::Reflinked } else { copied };
    assert_eq!(outcome, expected);
    assert!(files.dst_content() == content());
}

#[test]
fn a_range_is_shared_exactly_where_cp_shares() {
    let files = Files::new();
    let block = BLOCK as u64;
    match reflink_range(&files.src, block..3 * block, &files.dst, 2 * block) {
        Ok(()) => {
            assert!(files.cp_shares);
            let expected = [&vec![0; 2 * BLOCK], &content()[BLOCK..3 * BLOCK]].concat();
            assert!(files.dst_content() == expected);
            assert_eq!(shared_bytes(&files.dst).unwrap(), 2 * block);
        }
        Err(error) => {
            assert!(!files.cp_shares);
            assert_eq!(error.refusal(), Some(Refusal::Unsupported), "{error:?}");
            assert_eq!(files.dst_content(), b"");
        }
    }
}

#[test]
fn the_ragged_end_of_a_file_is_shared_too() {
    let files = Files::new();
    let (start, end) = (4 * BLOCK as u64, content().len() as u64);
    let result = reflink_range(&files.src, start..end, &files.dst, 0);
    assert_eq!(result.is_ok(), files.cp_shares);
    if files.cp_shares {
        assert_eq!(files.dst_content(), content()[4 * BLOCK..]);
    }
}

#[test]
fn a_range_that_is_not_aligned_is_refused_for_this_file() {
    let files = Files::new();
    let expected = if files.cp_shares { Refusal::ThisFile } else { Refusal::Unsupported };
    for (range, offset) in [(1..BLOCK as u64, 1), (0..7, 0), (0..BLOCK as u64, 1)] {
        let error = reflink_range(&files.src, range, &files.dst, offset).unwrap_err();
        assert_eq!(error.refusal(), Some(expected), "{error:?}");
    }
}

#[test]
fn an_empty_range_is_nothing_and_not_the_rest() {
    let files = Files::new();
    reflink_range(&files.src, 0..0, &files.dst, 0).unwrap();
    assert_eq!(files.dst_content(), b"");
}

#[test]
fn other_filesystems_share_nothing() {
    let files = Files::new();
    // An anonymous file in memory is on a filesystem of its own.
    let memory: File = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap().into();
    memory.write_all_at(b"content", 0).unwrap();
    let error = reflink(&memory, &files.dst).unwrap_err();
    assert!(error.refusal().unwrap().is_about_the_filesystem(), "{error:?}");
    let outcome = reflink_or_copy(&memory, &files.dst).unwrap();
    assert!(matches!(outcome, Outcome::Copied { bytes: 7, .. }), "{outcome:?}");
    assert_eq!(files.dst_content(), b"content");
}

#[test]
fn what_is_broken_is_no_refusal() {
    let files = Files::new();
    // Not open for writing: wherever sharing is possible at all, a failure.
    let read_only = File::open(files.dir.path().join("dst")).unwrap();
    let error = reflink(&files.src, &read_only).unwrap_err();
    assert!(matches!(error, ReflinkError::Failed(_)), "{error:?}");
    assert!(reflink_or_copy(&files.src, &read_only).is_err());
}

#[test]
fn a_file_of_its_own_shares_nothing() {
    let files = Files::new();
    files.dst.write_all_at(&content(), 0).unwrap();
    files.dst.sync_all().unwrap();
    match shared_bytes(&files.dst) {
        Ok(shared) => assert_eq!(shared, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    }
}

#[test]
fn many_extents_are_counted_to_the_last() {
    let files = Files::new();
    if !files.cp_shares {
        // Nothing can be shared here; but the extents are still read to their end.
        for n in 0..300 {
            files.dst.write_all_at(b"x", n * 2 * BLOCK as u64).unwrap();
        }
        files.dst.sync_all().unwrap();
        assert_eq!(shared_bytes(&files.dst).unwrap_or(0), 0);
        return;
    }
    let block = BLOCK as u64;
    for n in 0..300 {
        reflink_range(&files.src, 0..block, &files.dst, n * 2 * block).unwrap();
    }
    assert_eq!(shared_bytes(&files.dst).unwrap(), 300 * block);
}
