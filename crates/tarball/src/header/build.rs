//! Entries to header blocks.

use std::collections::BTreeMap;

use storage_core::{Entry, EntryKind, Time};
use tar_core::{EntryType, Header};

use super::BLOCK;
use crate::write::{Unwritable, WriterOptions};

/// Most bytes of a PAX header: Go's `archive/tar` reads no larger one.
const PAX_MAX: usize = 1 << 20;

/// Largest number in seven octal digits, and in eleven.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// Keys and values of a PAX header; sorted, so that equal entries have equal headers.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// All header blocks of an entry.
pub(crate) fn build(entry: &Entry, options: &WriterOptions) -> Result<Vec<u8>, Unwritable> {
    check(entry)?;
    let mut records = Records::new();
    let mut header = Header::new_ustar();
    put_name(&mut header, entry, &mut records);
    put_kind(&mut header, &entry.kind, &mut records)?;
    put_numbers(&mut header, entry, &mut records);
    put_times(&mut header, entry, options, &mut records);
    for (key, value) in &entry.xattrs {
        records.insert([b"SCHILY.xattr.", &key[..]].concat(), value.clone());
    }
    header.set_checksum();
    let mut blocks = pax_blocks(&entry.name, &records)?;
    blocks.extend_from_slice(header.as_bytes());
    Ok(blocks)
}

/// What no header can say.
fn check(entry: &Entry) -> Result<(), Unwritable> {
    let is_text = |name: &[u8]| !name.is_empty() && !name.contains(&0);
    if !is_text(&entry.name) {
        return Err(Unwritable::Name);
    }
    if let EntryKind::Symlink { target } | EntryKind::HardLink { target } = &entry.kind
        && !is_text(target)
    {
        return Err(Unwritable::Target);
    }
    if entry.kind != EntryKind::Regular && entry.size != 0 {
        return Err(Unwritable::Size);
    }
    if entry.size > i64::MAX.cast_unsigned() {
        return Err(Unwritable::Size);
    }
    if entry.mode > 0o7777 {
        return Err(Unwritable::Mode);
    }
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(Unwritable::Owner);
    }
    let bad_key = |(key, _): &(Vec<u8>, Vec<u8>)| !is_text(key) || key.contains(&b'=');
    if entry.xattrs.iter().any(bad_key) {
        return Err(Unwritable::Attribute);
    }
    Ok(())
}

fn put_name(header: &mut Header, entry: &Entry, records: &mut Records) {
    let fields = header.as_ustar_mut();
    let (prefix, name) = split_name(&entry.name).unwrap_or_else(|| {
        records.insert(b"path".to_vec(), entry.name.clone());
        (&[], &entry.name)
    });
    put(&mut fields.prefix, prefix);
    put(&mut fields.name, name);
}

fn put_kind(
    header: &mut Header,
    kind: &EntryKind,
    records: &mut Records,
) -> Result<(), Unwritable> {
    let mut device = (0, 0);
    header.set_entry_type(match kind {
        EntryKind::Regular => EntryType::Regular,
        EntryKind::Directory => EntryType::Directory,
        EntryKind::Symlink { .. } => EntryType::Symlink,
        EntryKind::HardLink { .. } => EntryType::Link,
        EntryKind::CharDevice { major, minor } => {
            device = (*major, *minor);
            EntryType::Char
        }
        EntryKind::BlockDevice { major, minor } => {
            device = (*major, *minor);
            EntryType::Block
        }
        EntryKind::Fifo => EntryType::Fifo,
    });
    if let EntryKind::Symlink { target } | EntryKind::HardLink { target } = kind {
        let field = &mut header.as_ustar_mut().linkname;
        if !target.is_ascii() || target.len() > field.len() {
            records.insert(b"linkpath".to_vec(), target.clone());
        }
        put(field, target);
    }
    header.set_device(device.0, device.1).map_err(|_| Unwritable::Device)
}

/// Mode, owner and size. What does not fit goes to a record, and the field is 0.
fn put_numbers(header: &mut Header, entry: &Entry, records: &mut Records) {
    let mut field = |key: &str, value: u64, most: u64| {
        if value <= most {
            return value;
        }
        records.insert(key.into(), value.to_string().into_bytes());
        0
    };
    let uid = field("uid", entry.uid.into(), OCTAL_7);
    let gid = field("gid", entry.gid.into(), OCTAL_7);
    let size = field("size", entry.size, OCTAL_11);
    let fits = "at most seven or eleven octal digits";
    header.set_mode(entry.mode).expect(fits);
    header.set_uid(uid).expect(fits);
    header.set_gid(gid).expect(fits);
    header.set_size(size).expect(fits);
}

fn put_times(header: &mut Header, entry: &Entry, options: &WriterOptions, records: &mut Records) {
    let mut mtime = entry.mtime;
    if options.exact_times {
        let others = [(&b"atime"[..], entry.atime), (&b"ctime"[..], entry.ctime)];
        for (key, time) in others {
            if let Some(time) = time {
                records.insert(key.to_vec(), decimal(time));
            }
        }
    } else {
        mtime.nanoseconds = 0;
    }
    let fits = u64::try_from(mtime.seconds).ok().filter(|&seconds| seconds <= OCTAL_11);
    if fits.is_none() || mtime.nanoseconds != 0 {
        records.insert(b"mtime".to_vec(), decimal(mtime));
    }
    header.set_mtime(fits.unwrap_or(0)).expect("at most eleven octal digits");
}

/// Seconds as PAX writes them: with a sign before the whole, and no idle zeros.
fn decimal(time: Time) -> Vec<u8> {
    let Time { seconds, nanoseconds } = time;
    if nanoseconds == 0 {
        return seconds.to_string().into_bytes();
    }
    let (sign, whole, fraction) = match seconds {
        0.. => ("", seconds, nanoseconds),
        _ => ("-", -(seconds + 1), 1_000_000_000 - nanoseconds),
    };
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').into()
}

/// Prefix and name as the two fields of a block hold them; `None` if they cannot.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The name's own final slash is no place to split; a leading one leaves no prefix.
    let slashes = 1..name.len().min(157) - 1;
    let slash = slashes.rev().find(|&at| name[at] == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (rest.len() <= 100 && prefix.len() <= 155).then_some((prefix, rest))
}

/// Copies text to a field: whole, or for old readers as much of it as is ASCII and fits.
fn put(field: &mut [u8], text: &[u8]) {
    let ascii = text.iter().map(|byte| if byte.is_ascii() { *byte } else { b'_' });
    for (to, from) in field.iter_mut().zip(ascii) {
        *to = from;
    }
}

/// The header blocks that hold the records; none for none.
fn pax_blocks(name: &[u8], records: &Records) -> Result<Vec<u8>, Unwritable> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let mut content = Vec::new();
    for (key, value) in records {
        put_record(key, value, &mut content);
    }
    if content.len() > PAX_MAX {
        return Err(Unwritable::TooLong);
    }
    let mut header = Header::new_ustar();
    let last = name.split(|&byte| byte == b'/').rfind(|part| !part.is_empty());
    put(&mut header.as_ustar_mut().name, &[b"PaxHeaders/", last.unwrap_or_default()].concat());
    header.set_entry_type(EntryType::XHeader);
    header.set_mode_small(0o644);
    let fits = "at most 1 MiB";
    header.set_size(content.len() as u64).expect(fits);
    header.set_uid(0).and_then(|()| header.set_gid(0)).expect("zero");
    header.set_mtime_small(0);
    header.set_device_small(0, 0);
    header.set_checksum();
    let mut blocks = header.as_bytes().to_vec();
    blocks.append(&mut content);
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    Ok(blocks)
}

/// Appends `length key=value\n`, whose length counts its own digits.
fn put_record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    for part in [&b" "[..], key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in (0..30).chain(80..110).chain(970..1010) {
            let value = vec![b'v'; length];
            let mut record = Vec::new();
            put_record(b"key", &value, &mut record);
            let digits = record.iter().position(|&byte| byte == b' ').unwrap();
            let said = std::str::from_utf8(&record[..digits]).unwrap();
            assert_eq!(said.parse(), Ok(record.len()));
        }
    }

    #[test]
    fn times_are_written_with_their_sign() {
        for (seconds, nanoseconds, expected) in [
            (0, 0, "0"),
            (12, 500_000_000, "12.5"),
            (0, 1, "0.000000001"),
            (-1, 750_000_000, "-0.25"),
            (-2, 500_000_000, "-1.5"),
            (-3, 0, "-3"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
        ] {
            assert_eq!(decimal(Time { seconds, nanoseconds }), expected.as_bytes());
        }
    }

    #[test]
    fn names_are_split_where_both_parts_fit() {
        let name = |prefix: usize, rest: usize| [vec![b'p'; prefix], vec![b'n'; rest]].join(&b'/');
        assert_eq!(split_name(&[b'n'; 100]), Some((&b""[..], &[b'n'; 100][..])));
        assert_eq!(split_name(&[b'n'; 101]), None);
        for (prefix, rest) in [(155, 100), (1, 100), (155, 1), (60, 60)] {
            let name = name(prefix, rest);
            let (before, after) = split_name(&name).unwrap();
            assert_eq!((before.len(), after.len()), (prefix, rest));
        }
        assert_eq!(split_name(&name(156, 20)), None);
        assert_eq!(split_name(&name(20, 101)), None);
        assert_eq!(split_name(&name(0, 100)), None);
        let mut directory = name(80, 40);
        directory.push(b'/');
        assert_eq!(split_name(&directory).unwrap().1.len(), 41);
        assert_eq!(split_name("é".as_bytes()), None);
    }
}
