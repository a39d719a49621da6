//! What a model says of files, kept tightly.

use storage_core::{Entry, EntryKind, Time};

use super::Expected;

/// Stands for "none" where a number is expected.
const NONE: u32 = u32::MAX;
const NOT_DESCRIBED: u64 = u64::MAX;

const WHITEOUT: EntryKind = EntryKind::CharDevice { major: 0, minor: 0 };

/// Files, directories, links and devices by their numbers.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    rows: Vec<Row>,
    extras: Vec<Extra>,
    /// Bytes of what extras point to.
    texts: usize,
}

#[derive(Debug)]
struct Row {
    mtime: Time,
    size: u64,
    number: u64,
    uid: u32,
    gid: u32,
    /// In `extras`.
    extra: u32,
    mode: u16,
    kind: Kind,
    opaque: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Directory,
    Fifo,
    Whiteout,
    /// As its extra says.
    Other,
}

/// What few have.
#[derive(Debug, Default)]
struct Extra {
    kind: Option<EntryKind>,
    atime: Option<Time>,
    ctime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Nodes {
    /// Bytes of memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.extras.len() * size_of::<Extra>() + self.texts
    }

    /// What one of them is to be, by that name.
    pub(super) fn get(&self, node: usize, name: &[u8]) -> Expected {
        let row = &self.rows[node];
        let empty = Extra::default();
        let extra = self.extras.get(row.extra as usize).unwrap_or(&empty);
        let entry = Entry {
            name: name.into(),
            kind: match row.kind {
                Kind::Regular => EntryKind::Regular,
                Kind::Directory => EntryKind::Directory,
                Kind::Fifo => EntryKind::Fifo,
                Kind::Whiteout => WHITEOUT,
                Kind::Other => extra.kind.clone().expect("others have an extra that says it"),
            },
            mode: row.mode.into(),
            uid: row.uid,
            gid: row.gid,
            size: row.size,
            mtime: row.mtime,
            atime: extra.atime,
            ctime: extra.ctime,
            xattrs: extra.xattrs.clone(),
        };
        let number = (row.number != NOT_DESCRIBED).then_some(row.number);
        Expected { entry, number, opaque: row.opaque }
    }

    pub(super) fn push(&mut self, node: Expected) -> usize {
        let number = self.rows.len();
        let row = self.row(NONE, node);
        self.rows.push(row);
        number
    }

    /// Another one in the place of that one.
    pub(super) fn replace(&mut self, node: usize, new: Expected) {
        self.rows[node] = self.row(self.rows[node].extra, new);
    }

    /// Gives it owner, mode and time of another entry.
    pub(super) fn describe_anew(&mut self, node: usize, entry: &Entry) {
        let row = &mut self.rows[node];
        (row.uid, row.gid, row.mtime) = (entry.uid, entry.gid, entry.mtime);
        row.mode = mode_of(entry);
    }

    pub(super) fn is_directory(&self, node: usize) -> bool {
        self.rows[node].kind == Kind::Directory
    }

    pub(super) fn is_whiteout(&self, node: usize) -> bool {
        self.rows[node].kind == Kind::Whiteout
    }

    /// Makes a directory hide what lower layers have in it.
    pub(super) fn hide_lower(&mut self, node: usize) {
        self.rows[node].opaque = true;
    }

    pub(super) fn link_text(&self, node: usize) -> Option<&[u8]> {
        match self.extras.get(self.rows[node].extra as usize)?.kind.as_ref()? {
            EntryKind::Symlink { target } => Some(target),
            _ => None,
        }
    }

    /// A row; what few have goes to an extra, to that one if there is one.
    fn row(&mut self, extra: u32, Expected { entry, number, opaque }: Expected) -> Row {
        let kind = match &entry.kind {
            EntryKind::Regular => Kind::Regular,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Fifo => Kind::Fifo,
            kind if *kind == WHITEOUT => Kind::Whiteout,
            _ => Kind::Other,
        };
        let (mtime, size, uid, gid) = (entry.mtime, entry.size, entry.uid, entry.gid);
        let mode = mode_of(&entry);
        let new = Extra {
            kind: (kind == Kind::Other).then_some(entry.kind),
            atime: entry.atime,
            ctime: entry.ctime,
            xattrs: entry.xattrs,
        };
        let is_empty = new.kind.is_none()
            && new.atime.is_none()
            && new.ctime.is_none()
            && new.xattrs.is_empty();
        let extra = match self.extras.get_mut(extra as usize) {
            Some(old) => {
                self.texts = self.texts.saturating_sub(old.texts()) + new.texts();
                *old = new;
                extra
            }
            None if is_empty => NONE,
            None => {
                self.texts += new.texts();
                self.extras.push(new);
                u32::try_from(self.extras.len() - 1).expect("a model has less than 4 GiB")
            }
        };
        let number = number.unwrap_or(NOT_DESCRIBED);
        Row { mtime, size, number, uid, gid, extra, mode, kind, opaque }
    }
}

fn mode_of(entry: &Entry) -> u16 {
    u16::try_from(entry.mode).expect("modes have at most 12 bits")
}

impl Extra {
    /// Bytes of what it points to, with what the allocator takes for each piece.
    fn texts(&self) -> usize {
        const PIECE: usize = 16;
        let link = match &self.kind {
            Some(EntryKind::Symlink { target } | EntryKind::HardLink { target }) => target.len(),
            _ => 0,
        };
        let pair = |(key, value): &(Vec<u8>, Vec<u8>)| {
            size_of::<(Vec<u8>, Vec<u8>)>() + key.len() + value.len() + 2 * PIECE
        };
        PIECE + link + self.xattrs.iter().map(pair).sum::<usize>()
    }
}
