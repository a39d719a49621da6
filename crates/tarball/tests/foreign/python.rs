//! Members of an archive as Python's tarfile sees them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use storage_core::{Digest, Entry, EntryKind, Time};

const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/tarfile_tool.py");

#[derive(Deserialize)]
struct Member {
    name: String,
    r#type: String,
    link: String,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    sha256: String,
    mtime: String,
    atime: Option<String>,
    ctime: Option<String>,
    device: (u32, u32),
    xattrs: Vec<(String, String)>,
}

/// Has an archive of odd members made.
pub(crate) fn make(format: &str, path: &Path) {
    let status = Command::new("python3").args([TOOL, "make", format]).arg(path).status();
    assert!(status.expect("python3 starts").success());
}

/// The entries of an archive, with the digests of their contents in hexadecimal.
pub(crate) fn list(tar: &[u8]) -> Vec<(Entry, String)> {
    let mut python = Command::new("python3")
        .args([TOOL, "list"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = python.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may stop reading at the end of the archive, before that of the stream.
        scope.spawn(move || drop(stdin.write_all(tar)));
        python.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<Member>(line).unwrap().into_entry()).collect()
}

/// An entry in the form that the list of [`list`] has: tarfile drops the final
/// slash of a directory's name.
pub(crate) fn listed(entry: &Entry, content: &[u8]) -> (Entry, String) {
    let mut entry = entry.clone();
    if entry.kind == EntryKind::Directory {
        entry.name = trim_slashes(entry.name);
    }
    (entry, Digest::of(content).hex())
}

fn trim_slashes(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&b'/') {
        name.pop();
    }
    name
}

impl Member {
    fn into_entry(self) -> (Entry, String) {
        let target = bytes(&self.link);
        let (major, minor) = self.device;
        let kind = match &self.r#type[..] {
            "0" | "\0" | "7" => EntryKind::Regular,
            "1" => EntryKind::HardLink { target },
            "2" => EntryKind::Symlink { target },
            "3" => EntryKind::CharDevice { major, minor },
            "4" => EntryKind::BlockDevice { major, minor },
            "5" => EntryKind::Directory,
            "6" => EntryKind::Fifo,
            other => panic!("type {other:?}"),
        };
        let xattrs = self.xattrs.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
        let entry = Entry {
            name: bytes(&self.name),
            kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: time(&self.mtime),
            atime: self.atime.as_deref().map(time),
            ctime: self.ctime.as_deref().map(time),
            xattrs,
        };
        (entry, self.sha256)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// The decimal text of a time, by way of nanoseconds.
fn time(text: &str) -> Time {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: i128 = format!("{fraction:0<9}")[..9].parse().unwrap();
    let seconds: i128 = whole.parse().unwrap();
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let total = seconds * 1_000_000_000 + sign * nanoseconds;
    Time {
        seconds: i64::try_from(total.div_euclid(1_000_000_000)).unwrap(),
        nanoseconds: u32::try_from(total.rem_euclid(1_000_000_000)).unwrap(),
    }
}
