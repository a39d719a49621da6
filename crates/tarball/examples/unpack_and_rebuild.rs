//! Writes a tar stream, reads it while recording its tar-split, and builds the same
//! stream again from the tar-split and the files.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use storage_core::{Entry, EntryKind, Time};
use tarball::{
    Limits, SplitLimits, TarReader, TarSplitReader, TarSplitWriter, TarWriter, WriterOptions,
    rebuild,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = write()?;

    let mut tar = TarReader::new(&stream[..], Limits::default(), TarSplitWriter::new(Vec::new()));
    let mut files = HashMap::new();
    while let Some(entry) = tar.next_entry()? {
        let mut content = Vec::new();
        tar.content().read_to_end(&mut content)?;
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        writeln!(io::stdout(), "{:04o} {:>6} {name}", entry.mode, entry.size)?;
        files.insert(entry.name, content);
    }
    let (_, tar_split) = tar.finish()?;
    let tar_split = tar_split.finish()?;

    let segments = TarSplitReader::new(&tar_split[..], SplitLimits::default());
    let mut again = Vec::new();
    let open = |name: &[u8], _: u64| {
        files.get(name).map(Vec::as_slice).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let size = rebuild(segments, open, &mut again)?;
    assert_eq!(again, stream, "the same bytes");
    writeln!(io::stdout(), "{size} bytes of tar from {} of tar-split", tar_split.len())?;
    Ok(())
}

fn write() -> Result<Vec<u8>, tarball::TarWriteError> {
    let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
    let entry = |name: &str, kind: EntryKind, mode: u32, size: u64| Entry {
        name: name.into(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        size,
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    };
    tar.entry(&entry("usr/bin/", EntryKind::Directory, 0o755, 0), io::empty())?;
    let size = 10_000;
    tar.entry(&entry("usr/bin/zeros", EntryKind::Regular, 0o755, size), io::repeat(0).take(size))?;
    let target = b"usr/bin".to_vec();
    tar.entry(&entry("bin", EntryKind::Symlink { target }, 0o777, 0), io::empty())?;
    tar.finish()
}

#[test]
fn the_example_runs() {
    main().unwrap();
}
