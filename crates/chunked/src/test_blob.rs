//! A blob for unit tests.

use storage_core::{Entry, EntryKind, Time};

use crate::write::{WriteOptions, write_blob};

/// A blob of these files.
pub(crate) fn blob_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tarball::TarWriter::new(Vec::new(), tarball::WriterOptions::default());
    for (name, content) in files {
        let entry = Entry {
            name: name.as_bytes().into(),
            kind: EntryKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: content.len() as u64,
            mtime: Time::EPOCH,
            atime: None,
            ctime: None,
            xattrs: Vec::new(),
        };
        tar.entry(&entry, &content[..]).unwrap();
    }
    let mut blob = Vec::new();
    write_blob(&tar.finish().unwrap()[..], &mut blob, &WriteOptions::default()).unwrap();
    blob
}
