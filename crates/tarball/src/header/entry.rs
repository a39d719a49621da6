//! The last block of a header, with the extensions before it, to an entry.

use storage_core::{Entry, EntryKind, Time};

use super::block::{Block, Format, before_zero};
use super::number;
use super::pax::Pax;
use crate::TarError;

/// The contents of the extension headers of one entry.
#[derive(Debug)]
pub(super) struct Extensions<'a> {
    pub(super) long_name: Option<&'a [u8]>,
    pub(super) long_link: Option<&'a [u8]>,
    pub(super) pax: Option<&'a [u8]>,
}

/// Reads the entry of a header block that is at `offset`.
pub(super) fn read(
    block: &Block<'_>,
    extensions: &Extensions<'_>,
    offset: u64,
) -> Result<Entry, TarError> {
    let numbers = block.numbers(offset)?;
    let pax = match extensions.pax {
        Some(bytes) => Pax::read(bytes, offset)?,
        None => Pax::default(),
    };
    let (mut times, prefix) = header_times(block, offset)?;
    times.update(&pax, offset)?;
    let name = long(extensions.long_name)
        .or(pax.path)
        .map_or_else(|| joined(prefix, block.name()), <[u8]>::to_vec);
    if name.is_empty() {
        return Err(TarError::EmptyName { offset });
    }
    let link = long(extensions.long_link).or(pax.linkpath).unwrap_or(block.link());
    let kind = kind(block.flag(), &name, link, numbers.device, offset)?;
    if pax.sparse {
        return Err(TarError::Sparse { name });
    }
    let size = number("size", pax.size, numbers.size, offset)?;
    Ok(Entry {
        size: if kind == EntryKind::Regular { unsigned("size", size, offset)? } else { 0 },
        kind,
        mode: permissions(numbers.mode),
        uid: id("uid", number("uid", pax.uid, numbers.uid, offset)?, offset)?,
        gid: id("gid", number("gid", pax.gid, numbers.gid, offset)?, offset)?,
        mtime: match pax.mtime {
            Some(text) => time("mtime", text, offset)?,
            None => whole(numbers.mtime),
        },
        atime: times.atime,
        ctime: times.ctime,
        xattrs: pax.xattrs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect(),
        name,
    })
}

/// The name in a header block itself.
pub(super) fn name(block: &Block<'_>, offset: u64) -> Result<Vec<u8>, TarError> {
    Ok(joined(header_times(block, offset)?.1, block.name()))
}

/// What a GNU long name says; an empty one says nothing.
fn long(content: Option<&[u8]>) -> Option<&[u8]> {
    content.map(before_zero).filter(|name| !name.is_empty())
}

fn joined(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn kind(
    flag: u8,
    name: &[u8],
    link: &[u8],
    device: (i64, i64),
    offset: u64,
) -> Result<EntryKind, TarError> {
    let device = || Ok((device_number(device.0, offset)?, device_number(device.1, offset)?));
    let target = || match link {
        b"" => Err(TarError::EmptyTarget { name: name.to_vec() }),
        link => Ok(link.to_vec()),
    };
    Ok(match flag {
        // Archives older than type 5.
        0 if name.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' => EntryKind::Regular,
        b'1' => EntryKind::HardLink { target: target()? },
        b'2' => EntryKind::Symlink { target: target()? },
        b'3' => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
        b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => return Err(TarError::Sparse { name: name.to_vec() }),
        flag => return Err(TarError::UnsupportedType { name: name.to_vec(), flag }),
    })
}

/// Access and change times.
#[derive(Debug, Default)]
struct OtherTimes {
    atime: Option<Time>,
    ctime: Option<Time>,
}

impl OtherTimes {
    fn update(&mut self, pax: &Pax<'_>, offset: u64) -> Result<(), TarError> {
        if let Some(text) = pax.atime {
            self.atime = Some(time("atime", text, offset)?);
        }
        if let Some(text) = pax.ctime {
            self.ctime = Some(time("ctime", text, offset)?);
        }
        Ok(())
    }
}

/// The times in the block itself, and the prefix of its name.
fn header_times<'a>(block: &Block<'a>, offset: u64) -> Result<(OtherTimes, &'a [u8]), TarError> {
    let none = OtherTimes::default();
    match (block.format, block.other_times()) {
        (Format::Gnu, Some((atime, ctime))) => Ok(match (gnu_time(atime), gnu_time(ctime)) {
            (Some(atime), Some(ctime)) => (OtherTimes { atime, ctime }, block.prefix()),
            // Go before 1.8 wrote GNU headers with a prefix where these times are.
            _ if block.ustar_prefix().is_ascii() => (none, block.ustar_prefix()),
            _ => (none, block.prefix()),
        }),
        (_, Some((atime, ctime))) => {
            let read = |field: &'static str, bytes: &[u8]| match number::field(bytes) {
                Some(0) => Ok(None),
                Some(seconds) => Ok(Some(whole(seconds))),
                None => Err(TarError::Number { offset, field }),
            };
            let times = OtherTimes { atime: read("atime", atime)?, ctime: read("ctime", ctime)? };
            Ok((times, block.prefix()))
        }
        (_, None) => Ok((none, block.prefix())),
    }
}

/// A time that is there unless its field begins with a zero byte; the outer `None`
/// if it is no number.
#[expect(clippy::option_option, reason = "absent and broken are two things")]
fn gnu_time(field: &[u8]) -> Option<Option<Time>> {
    match field {
        [0, ..] => Some(None),
        field => number::field(field).map(|seconds| Some(whole(seconds))),
    }
}

fn whole(seconds: i64) -> Time {
    Time { seconds, nanoseconds: 0 }
}

fn time(field: &'static str, text: &[u8], offset: u64) -> Result<Time, TarError> {
    number::time(text).ok_or(TarError::Number { offset, field })
}

/// A PAX record's number, or else the header's.
fn number(
    field: &'static str,
    record: Option<&[u8]>,
    header: i64,
    offset: u64,
) -> Result<i64, TarError> {
    let Some(text) = record else { return Ok(header) };
    number::decimal(text).ok_or(TarError::Number { offset, field })
}

fn unsigned(field: &'static str, value: i64, offset: u64) -> Result<u64, TarError> {
    u64::try_from(value).map_err(|_| TarError::OutOfRange { offset, field, value })
}

/// A user or group: the largest number means "leave as it is" to the kernel.
fn id(field: &'static str, value: i64, offset: u64) -> Result<u32, TarError> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(TarError::OutOfRange { offset, field, value }),
    }
}

fn device_number(value: i64, offset: u64) -> Result<u32, TarError> {
    u32::try_from(value).map_err(|_| TarError::OutOfRange { offset, field: "device", value })
}

/// Without the file type that some writers add.
fn permissions(mode: i64) -> u32 {
    u32::try_from(mode & 0o7777).expect("twelve bits")
}
