//! One entry of a tar, in the test's own words.

/// One entry: what it says of itself, and in which fields it says it.
///
/// Times are [`Item::MTIME`], owners 0:0, modes 0644 and 0755, unless told.
#[derive(Debug, Clone)]
pub struct Item {
    pub(super) name: Vec<u8>,
    /// The name that the headers lead to, if it is another.
    pub(super) called: Option<Vec<u8>>,
    pub(super) flag: u8,
    pub(super) content: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: i128,
    pub(super) uid: i128,
    pub(super) gid: i128,
    pub(super) mtime: i128,
    pub(super) device: Option<(i128, i128)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) records: Vec<u8>,
    pub(super) size: Option<i128>,
    pub(super) patches: Vec<(usize, Vec<u8>)>,
    pub(super) gnu: bool,
    pub(super) raw: Option<Vec<u8>>,
}

fn item(name: impl AsRef<[u8]>, flag: u8) -> Item {
    Item {
        name: name.as_ref().to_vec(),
        called: None,
        flag,
        content: Vec::new(),
        link: Vec::new(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Item::MTIME,
        device: None,
        xattrs: Vec::new(),
        records: Vec::new(),
        size: None,
        patches: Vec::new(),
        gnu: false,
        raw: None,
    }
}

/// A regular file, mode 0644.
pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Item {
    Item { content: content.as_ref().to_vec(), mode: 0o644, ..item(name, b'0') }
}

/// A directory, mode 0755.
pub fn dir(name: impl AsRef<[u8]>) -> Item {
    item(name, b'5')
}

/// A symbolic link.
pub fn symlink(name: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Item {
    Item { link: text.as_ref().to_vec(), mode: 0o777, ..item(name, b'2') }
}

/// Another name; mode 0644, as [`file()`].
pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Item {
    Item { link: target.as_ref().to_vec(), mode: 0o644, ..item(name, b'1') }
}

/// A character device, mode 0755.
pub fn char_device(name: impl AsRef<[u8]>, major: i128, minor: i128) -> Item {
    Item { device: Some((major, minor)), ..item(name, b'3') }
}

/// A block device, mode 0755.
pub fn block_device(name: impl AsRef<[u8]>, major: i128, minor: i128) -> Item {
    Item { device: Some((major, minor)), ..item(name, b'4') }
}

/// A named pipe, mode 0755.
pub fn fifo(name: impl AsRef<[u8]>) -> Item {
    item(name, b'6')
}

/// A PAX header for all that follows.
pub fn global(records: &[(&str, &str)]) -> Item {
    let item = item("pax_global_header", b'g');
    records.iter().fold(item, |item, (key, value)| item.record(key, value))
}

/// Bytes in the place of an entry; the TOC says nothing of them.
pub fn raw(bytes: impl AsRef<[u8]>) -> Item {
    Item { raw: Some(bytes.as_ref().to_vec()), ..item("", 0) }
}

/// The two blocks that end a tar, in its middle.
pub fn end() -> Item {
    raw([0; 1024])
}

impl Item {
    /// The time of everything that says no other: 2023.
    pub const MTIME: i128 = 1_700_000_000;

    /// With these permission bits, or any number in their place.
    #[must_use]
    pub fn mode(self, mode: i128) -> Self {
        Self { mode, ..self }
    }

    /// With this owner and group.
    #[must_use]
    pub fn owner(self, uid: i128, gid: i128) -> Self {
        Self { uid, gid, ..self }
    }

    /// Last changed at this second.
    #[must_use]
    pub fn mtime(self, mtime: i128) -> Self {
        Self { mtime, ..self }
    }

    /// With this extended attribute, too.
    #[must_use]
    pub fn xattr(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.xattrs.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Without any extended attribute but this one.
    #[must_use]
    pub fn without_xattrs(mut self, but: &str) -> Self {
        self.xattrs.retain(|(key, _)| key == but.as_bytes());
        self
    }

    /// With this PAX record; the TOC does not hear of it.
    #[must_use]
    pub fn record(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.records.extend(super::header::record(key.as_bytes(), value.as_ref()));
        self
    }

    /// Called so in TOC and tar-split, since that is what records make of its name.
    #[must_use]
    pub fn called(self, name: impl AsRef<[u8]>) -> Self {
        Self { called: Some(name.as_ref().to_vec()), ..self }
    }

    /// With these bytes among its PAX records.
    #[must_use]
    pub fn raw_records(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.records.extend(bytes.as_ref());
        self
    }

    /// With this size in its header, whatever it has; the TOC says the same.
    #[must_use]
    pub fn size(self, size: i128) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Of this type.
    #[must_use]
    pub fn flag(self, flag: u8) -> Self {
        Self { flag, ..self }
    }

    /// With these bytes at a place of its header block; the sum is made right.
    #[must_use]
    pub fn patch(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.patches.push((at, bytes.as_ref().to_vec()));
        self
    }

    /// With long names in GNU tar's way, not by PAX records.
    #[must_use]
    pub fn gnu(self) -> Self {
        Self { gnu: true, ..self }
    }

    /// What readers of the tar call it.
    pub(super) fn read_name(&self) -> &[u8] {
        self.called.as_ref().unwrap_or(&self.name)
    }

    /// Whether the tar has this as an entry of a tree.
    pub(super) fn is_entry(&self) -> bool {
        self.raw.is_none() && self.flag != b'g'
    }
}
