//! A tar, read by an independent reader.

use std::borrow::Cow;

use storage_core::{Entry, EntryKind};

/// What both readers take, they understand alike, as far as the formats are undisputed.
///
/// # Panics
///
/// If they do not.
pub(crate) fn agrees(stream: &[u8], entries: &[Entry]) {
    let mut archive = tar::Archive::new(stream);
    let Ok(others) = archive.entries() else { return };
    let mut entries = entries.iter();
    for other in others {
        let Ok(mut other) = other else { return };
        if other.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        if disputed(&mut other) {
            return;
        }
        let Some(entry) = entries.next() else { return };
        same(entry, &other);
        if entry.kind != EntryKind::Regular && other.size() > 0 {
            // Whether such an entry has content is a matter of taste; ours is Go's.
            return;
        }
        assert_eq!(entry.size, other.size());
    }
}

fn same(entry: &Entry, other: &tar::Entry<'_, &[u8]>) {
    let (header, kind) = (other.header(), other.header().entry_type());
    assert_eq!(entry.name, &*other.path_bytes());
    // It reads numbers when asked, and knows no blank ones.
    let number = |ours: u32, theirs: std::io::Result<u64>| {
        assert!(theirs.map_or(true, |theirs| theirs == u64::from(ours)), "not {ours}");
    };
    number(entry.uid, header.uid());
    number(entry.gid, header.gid());
    number(entry.mode, header.mode().map(|mode| u64::from(mode & 0o7777)));
    let link = || other.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
    let is = match &entry.kind {
        EntryKind::Regular => kind.is_file() || kind.is_contiguous(),
        // Archives older than type 5 only have the slash.
        EntryKind::Directory => kind.is_dir() || header.as_bytes()[156] == 0,
        EntryKind::Symlink { target } => kind.is_symlink() && *target == link(),
        EntryKind::HardLink { target } => kind.is_hard_link() && *target == link(),
        EntryKind::CharDevice { .. } => kind.is_character_special(),
        EntryKind::BlockDevice { .. } => kind.is_block_special(),
        EntryKind::Fifo => kind.is_fifo(),
    };
    assert!(is, "{:?} is {kind:?} to {:?}", entry.kind, link());
}

/// Whether the other reader is known to go its own way, so that all that follows may
/// differ: it takes the first of several PAX records where Go takes the last, and knows
/// neither star's prefix, nor prefixes of old Go, nor ustar of another version.
fn disputed(other: &mut tar::Entry<'_, &[u8]>) -> bool {
    let header = other.header().as_bytes();
    let magic = &header[257..265];
    let star = magic.starts_with(b"ustar\0") && header[508..] == *b"tar\0";
    let old_version = magic.starts_with(b"ustar\0") && magic != b"ustar\x0000";
    let old_go = magic == b"ustar  \0" && header[345..500].iter().any(|&byte| byte != 0);
    let kind = other.header().entry_type();
    let extension =
        kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
    if star || old_version || old_go || extension {
        return true;
    }
    // A long name may hold zeros, or nothing at all.
    let name = other.path_bytes();
    let link = other.link_name_bytes().unwrap_or_default();
    if name.is_empty() || name.contains(&0) || link.contains(&0) {
        return true;
    }
    let Ok(Some(records)) = other.pax_extensions() else { return false };
    let mut keys = Vec::new();
    for record in records {
        let Ok(record) = record else { return true };
        keys.push(record.key_bytes());
        if record.value_bytes().is_empty() || record.value_bytes().starts_with(b"+") {
            return true;
        }
    }
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
