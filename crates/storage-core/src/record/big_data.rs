//! Big data: files that belong to a record, in a directory of its own.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::RecordError;
use super::place::{DIR_MODE, Place};
use crate::FsResultExt;
use crate::atomic::remove_all_temporaries;
use crate::dir::{make_dir, open_at, open_dir, sync, text_names};

/// The name of the file that holds the big data item `key`.
///
/// It is the key itself if it has only lower-case letters, digits and dots, else
/// `=` and its base64. As in all tools of this layout, the last character is not
/// looked at.
///
/// ```
/// use storage_core::big_data_file_name;
///
/// assert_eq!(big_data_file_name("manifest"), "manifest");
/// assert_eq!(big_data_file_name("zstd-chunked-manifest"), "=enN0ZC1jaHVua2VkLW1hbmlmZXN0");
/// assert_eq!(big_data_file_name("key?"), "key?");
/// ```
pub fn big_data_file_name(key: &str) -> String {
    let last = key.char_indices().next_back().map_or(0, |(at, _)| at);
    let plain = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'.');
    if key[..last].bytes().all(plain) { key.into() } else { format!("={}", STANDARD.encode(key)) }
}

/// The file name of a key, if it is one that stays in its directory.
pub(super) fn file_name(key: &str) -> Result<String, RecordError> {
    let name = big_data_file_name(key);
    let bad = name.contains(['/', '\0']) || matches!(name.as_str(), "" | "." | "..");
    if bad || name.len() > 255 {
        return Err(RecordError::Key { key: key.into() });
    }
    Ok(name)
}

/// Opens a big data item for reading; `None` if there is none, as of a key that cannot be a
/// file name.
pub(super) fn open(place: &Place, id: &str, key: &str) -> Result<Option<File>, RecordError> {
    let Ok(name) = file_name(key) else { return Ok(None) };
    let Some(store) = place.dir() else { return Ok(None) };
    let Some(dir) = place.within(open_dir(store, id))? else { return Ok(None) };
    open_file(dir.as_fd(), &name)
        .map_err(|e| crate::FsError::new("open", place.path(id).join(&name), e).into())
}

/// Opens a regular file for reading, without waiting for the writer of a pipe.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &str) -> Result<Option<File>, Errno> {
    match open_at(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK) {
        Err(Errno::NOENT) => Ok(None),
        opened => Ok(Some(opened?.into())),
    }
}

/// Opens the directory of a record's big data and makes it, durably, if it is missing.
pub(super) fn make(place: &Place, id: &str) -> Result<OwnedFd, RecordError> {
    let store = place.writable()?;
    let (dir, made) = place.within(make_dir(store, id, DIR_MODE))?;
    if made {
        sync(store).during("flush the directory of", place.path(id))?;
    }
    Ok(dir)
}

/// The keys of a record's big data that are on disk, sorted.
pub(super) fn keys(place: &Place, id: &str) -> Result<Vec<String>, RecordError> {
    let Some(store) = place.dir() else { return Ok(Vec::new()) };
    let Some(dir) = place.within(open_dir(store, id))? else { return Ok(Vec::new()) };
    let names = text_names(&dir).during("read directory", place.path(id))?;
    let mut keys: Vec<String> = names.iter().filter_map(|name| key_of(name)).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// Removes what killed writers of the big data of these records left; tells how many.
pub(super) fn sweep<'a>(
    place: &Place,
    ids: impl Iterator<Item = &'a str>,
) -> Result<usize, RecordError> {
    let (store, mut removed) = (place.writable()?, 0);
    for id in ids {
        if let Some(dir) = place.within(open_dir(store, id))? {
            let own = remove_all_temporaries(&dir);
            removed += own.map_err(|error| error.within(place.path(id)))?;
        }
    }
    Ok(removed)
}

/// The key whose file has this name; `None` for what is no big data.
fn key_of(name: &str) -> Option<String> {
    let key = match name.strip_prefix('=') {
        Some(base64) => String::from_utf8(STANDARD.decode(base64).ok()?).ok()?,
        None => name.to_owned(),
    };
    // What is being written has a name that no key has.
    (big_data_file_name(&key) == name && !matches!(name, "." | "..") && !name.starts_with(".tmp-"))
        .then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_keys() {
        for key in ["manifest", "sha256:00", "zstd-chunked-manifest", "key?", "ä", "a"] {
            assert_eq!(key_of(&big_data_file_name(key)).as_deref(), Some(key));
        }
        for name in [".", "..", ".tmp-manifest123", "=?", "=bWFuaWZlc3Q=", "with space"] {
            assert_eq!(key_of(name), None, "{name}");
        }
    }
}
