//! What says that two files could be one: content, owner, mode and xattrs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use storage_core::{ChunkDigest, Entry, Hasher};

/// The fingerprint under which other tools look for files to link to.
pub(super) fn fingerprint(entry: &Entry, digest: ChunkDigest) -> [u8; 32] {
    let mut hasher = Hasher::new();
    let Entry { uid, gid, mode, .. } = entry;
    hasher.update(format!("{digest}{uid}:{gid}:{mode:o}").as_bytes());
    // Sorted by key already.
    for (key, value) in &entry.xattrs {
        hasher.update(key);
        hasher.update(STANDARD.encode(value).as_bytes());
    }
    *hasher.finish().as_bytes()
}

#[cfg(test)]
mod unit {
    use storage_core::{Digest, EntryKind, Time};

    use super::*;

    #[test]
    fn it_is_the_one_of_tools_in_use() {
        let entry = Entry {
            name: b"f".into(),
            kind: EntryKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 12,
            mtime: Time::EPOCH,
            atime: None,
            ctime: None,
            xattrs: vec![(b"user.foo".into(), b"bar\0baz".into())],
        };
        let found = fingerprint(&entry, Digest::of(b"hello world\n").into());
        // The vector of the format's description; sha256sum of the text says the same.
        assert_eq!(
            Digest::from_bytes(found).hex(),
            "06c7eb0eb72901a8ae26c93c341a4d1f6ec7b24c38aa75da114d3404b4e69365"
        );
    }
}
