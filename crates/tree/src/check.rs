//! Entries whose numbers the kernel would misunderstand.

use storage_core::{Entry, EntryKind, LayerPath, Time};

use crate::error::TreeError;

/// Bits of a device's major and minor number in the kernel. What is above them
/// would be cut, and 4096:0 would turn into 0:0, a whiteout.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// The path of an entry that the kernel will take for what it says.
pub(crate) fn checked_path(entry: &Entry) -> Result<LayerPath, TreeError> {
    let path = LayerPath::parse(&entry.name)?;
    match impossible_field(entry) {
        Some((field, value)) => Err(TreeError::Field { path, field, value: value.into() }),
        None => Ok(path),
    }
}

fn impossible_field(entry: &Entry) -> Option<(&'static str, u32)> {
    let (major, minor) = match entry.kind {
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            (major, minor)
        }
        _ => (0, 0),
    };
    // In a time, values of a billion and more stand for "now" and "leave as it is".
    let nanoseconds = entry.mtime.nanoseconds.max(entry.atime.unwrap_or(Time::EPOCH).nanoseconds);
    [
        ("uid", entry.uid, u32::MAX - 1),
        ("gid", entry.gid, u32::MAX - 1),
        ("mode", entry.mode, 0o7777),
        ("number of nanoseconds", nanoseconds, 999_999_999),
        ("major device number", major, MAJOR_MAX),
        ("minor device number", minor, MINOR_MAX),
    ]
    .into_iter()
    .find_map(|(field, value, max)| (value > max).then_some((field, value)))
}
