//! In what a tree differs from a model.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use storage_core::{Entry, EntryKind, LayerPath, Time};

use super::names::Place;
use super::{Aspect, Difference, Expected, Maker, Model};
use crate::options::Privileges;
use crate::walk::{Found, Walk, WalkError, WalkOptions};
use crate::xattr::{ACCESS_LISTS, DEFAULT_LIST, is_opaque, is_private_to_a_tool, is_private_xattr};

impl Model {
    /// Says in what the tree at `root` differs, in the order of the paths.
    ///
    /// No content is read; sockets and times of access are not looked at, and of a
    /// root without an entry nothing, since it is not this layer's own; nor of one that
    /// another tool made. Of what is
    /// not to be there, and of a directory in place of something else, only the top
    /// is named.
    ///
    /// # Errors
    ///
    /// If the root itself cannot be read, or this process
    /// [has no room](storage_core::FsError::is_for_want_of_room) for more. What else cannot be
    /// read below the root counts as missing.
    pub fn compare(
        &self,
        root: BorrowedFd<'_>,
        maker: Maker,
    ) -> Result<Vec<Difference>, WalkError> {
        let mut met = Met {
            model: self,
            maker,
            seen: vec![false; self.names.count()],
            first: HashMap::new(),
            skip: None,
            differences: Vec::new(),
        };
        for found in Walk::new(root, WalkOptions { root_entry: true, raw: true })? {
            match found {
                Ok(found) => met.take(&found),
                Err(WalkError::Fs(error)) if error.is_for_want_of_room() => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        Ok(met.finish())
    }
}

/// What was met of a tree.
struct Met<'m> {
    model: &'m Model,
    maker: Maker,
    /// Which places were met.
    seen: Vec<bool>,
    /// The first name on disk of nodes that have several in the model.
    first: HashMap<usize, Place>,
    /// All below this is not looked at.
    skip: Option<LayerPath>,
    differences: Vec<Difference>,
}

impl Met<'_> {
    fn take(&mut self, found: &Found) {
        if self.skip.as_ref().is_some_and(|top| top.holds(&found.path)) {
            return;
        }
        let place = self.model.names.find(&found.path);
        let node = place.and_then(|place| self.model.names.node(place));
        let (Some(place), Some(node)) = (place, node) else {
            return self.differ(found, vec![Aspect::Extra]);
        };
        self.seen[place as usize] = true;
        let expected = self.model.nodes.get(node, found.path.as_bytes());
        if let EntryKind::HardLink { target } = &found.entry.kind {
            // Its attributes were compared at its first name. Two files that are alike may
            // be one on disk, where files are reused by hard links.
            let other = LayerPath::parse(target).ok().and_then(|path| self.model.get(&path));
            if other.is_none_or(|other| !is_alike(&other, &expected)) {
                self.differ(found, vec![Aspect::HardLink]);
            }
            return;
        }
        let apart =
            self.model.shared.contains(&node) && *self.first.entry(node).or_insert(place) != place;
        let mut aspects = aspects(&expected, &found.entry, self.maker, self.model.privileges);
        if apart && aspects != [Aspect::Kind] {
            aspects.push(Aspect::HardLink);
            aspects.sort_unstable();
        }
        if !aspects.is_empty() {
            self.differ(found, aspects);
        }
    }

    fn differ(&mut self, found: &Found, aspects: Vec<Aspect>) {
        let whole = [Aspect::Extra, Aspect::Kind].iter().any(|aspect| aspects.contains(aspect));
        if whole && found.entry.kind == EntryKind::Directory {
            self.skip = Some(found.path.clone());
        }
        self.differences.push(Difference { path: found.path.clone(), aspects });
    }

    fn finish(mut self) -> Vec<Difference> {
        for (place, node) in
            self.model.names.iter().filter(|(place, _)| !self.seen[*place as usize])
        {
            // What is deeper than a path can say, no walk can have met.
            let Some(path) = self.model.names.path(place) else { continue };
            if !may_be_missing(&self.model.nodes.get(node, path.as_bytes()), self.maker) {
                self.differences.push(Difference { path, aspects: vec![Aspect::Missing] });
            }
        }
        self.differences.sort_by(|a, b| a.path.cmp(&b.path));
        self.differences
    }
}

/// Whether two nodes are the same but for their names.
fn is_alike(a: &Expected, b: &Expected) -> bool {
    Entry { name: a.entry.name.clone(), ..b.entry.clone() } == a.entry
}

/// In what something that was found differs.
fn aspects(
    expected: &Expected,
    found: &Entry,
    maker: Maker,
    privileges: Privileges,
) -> Vec<Aspect> {
    let (entry, ours) = (&expected.entry, maker == Maker::Writer);
    if !is_same_kind(&entry.kind, &found.kind) {
        return vec![Aspect::Kind];
    }
    let described = expected.number.is_some();
    let root = LayerPath::parse(&entry.name).is_ok_and(|path| path.is_root());
    if root && !(ours && described) {
        return Vec::new();
    }
    let directory = entry.kind == EntryKind::Directory;
    let link = matches!(entry.kind, EntryKind::Symlink { .. });
    // What others give no owner or time, or one of their own.
    let owned =
        ours || (described && !(expected.is_whiteout() || link && maker == Maker::OtherByToc));
    let timed = owned && (ours || !directory);
    let has_mode = !link && !expected.is_whiteout() && (ours || described);
    let differs = [
        (Aspect::Size, entry.size != found.size),
        (Aspect::Target, link && entry.kind != found.kind),
        (Aspect::Device, !link && entry.kind != found.kind),
        (
            Aspect::Owner,
            privileges != Privileges::Unprivileged
                && owned
                && (entry.uid, entry.gid) != (found.uid, found.gid),
        ),
        (Aspect::Mode, has_mode && entry.mode != found.mode),
        (Aspect::Time, timed && !is_held_as(entry.mtime, found.mtime)),
        (
            Aspect::Xattrs,
            !has_xattrs(expected, found, privileges) || ours && has_others(expected, found),
        ),
    ];
    differs.into_iter().filter_map(|(aspect, differs)| differs.then_some(aspect)).collect()
}

/// The times of which filesystems take the nearest for those beyond: 32 bits, ext4, xfs.
const EARLIEST: [i64; 1] = [-(1 << 31)];
const LATEST: [i64; 3] = [(1 << 31) - 1, (1 << 34) - (1 << 31) - 1, 16_299_260_424];

/// Whether a filesystem that is asked for one time may have kept it as the other.
fn is_held_as(asked: Time, found: Time) -> bool {
    asked == found
        || (asked > found && LATEST.contains(&found.seconds))
        || (asked < found && EARLIEST.contains(&found.seconds))
}

fn is_same_kind(a: &EntryKind, b: &EntryKind) -> bool {
    let whiteout = |kind: &EntryKind| *kind == EntryKind::CharDevice { major: 0, minor: 0 };
    std::mem::discriminant(a) == std::mem::discriminant(b) && whiteout(a) == whiteout(b)
}

fn has_xattrs(expected: &Expected, found: &Entry, privileges: Privileges) -> bool {
    // The kernel keeps the access list of a file with its mode, and has its own form of both.
    let shown = |key: &[u8]| !is_private_xattr(key) && !key.starts_with(b"system.posix_acl_");
    let within_reach = |key: &[u8]| {
        privileges == Privileges::Root
            || !(key.starts_with(b"security.") || key.starts_with(b"trusted."))
    };
    let visible = |xattrs: &[(Vec<u8>, Vec<u8>)]| {
        let mut xattrs = xattrs.to_vec();
        xattrs.retain(|(key, _)| shown(key) && within_reach(key));
        xattrs
    };
    let opaque = found.kind != EntryKind::Directory || is_opaque(&found.xattrs) == expected.opaque;
    opaque && visible(&expected.entry.xattrs) == visible(&found.xattrs)
}

/// Whether there is an attribute that no layer gives a file, or an access list that this one
/// does not; or no default list where there is to be one. The kernel may keep a list in its
/// own way, so that only that much can be told.
fn has_others(expected: &Expected, found: &Entry) -> bool {
    let entry = &expected.entry;
    let is_there = |entry: &Entry, key: &[u8]| {
        // One without entries takes the list away.
        entry.xattrs.iter().any(|(other, value)| other == key && value.len() > EMPTY_LIST)
    };
    let is_private = |(key, _): &(Vec<u8>, Vec<u8>)| is_private_to_a_tool(key);
    found.xattrs.iter().any(is_private)
        || ACCESS_LISTS.iter().any(|list| is_there(found, list) && !is_there(entry, list))
        || is_there(entry, DEFAULT_LIST) && !is_there(found, DEFAULT_LIST)
}

/// Bytes of an access list without entries: the number of its version.
const EMPTY_LIST: usize = 4;

fn may_be_missing(expected: &Expected, maker: Maker) -> bool {
    let special = match expected.entry.kind {
        EntryKind::Fifo | EntryKind::BlockDevice { .. } => true,
        EntryKind::CharDevice { .. } => !expected.is_whiteout(),
        _ => false,
    };
    special && maker == Maker::OtherByToc
}
