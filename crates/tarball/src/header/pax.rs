//! Records of a PAX header: `length key=value\n`, again and again.

use crate::TarError;

/// What the records of one header say, as far as it concerns an entry.
///
/// The last record of a key counts, and an empty value takes earlier ones back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax<'a> {
    pub(super) path: Option<&'a [u8]>,
    pub(super) linkpath: Option<&'a [u8]>,
    pub(super) size: Option<&'a [u8]>,
    pub(super) uid: Option<&'a [u8]>,
    pub(super) gid: Option<&'a [u8]>,
    pub(super) mtime: Option<&'a [u8]>,
    pub(super) atime: Option<&'a [u8]>,
    pub(super) ctime: Option<&'a [u8]>,
    /// Sorted by key, each key once.
    pub(super) xattrs: Vec<(&'a [u8], &'a [u8])>,
    /// Whether there is any record of GNU tar's sparse formats.
    pub(super) sparse: bool,
}

impl<'a> Pax<'a> {
    /// Reads all records.
    pub(super) fn read(bytes: &'a [u8], offset: u64) -> Result<Self, TarError> {
        let mut pax = Self::default();
        for record in Records(bytes) {
            let (key, value) = record.ok_or(TarError::BadRecord { offset })?;
            pax.add(key, value, offset)?;
        }
        pax.xattrs.sort_by_key(|&(key, _)| key);
        pax.xattrs.reverse();
        pax.xattrs.dedup_by_key(|&mut (key, _)| key);
        pax.xattrs.reverse();
        Ok(pax)
    }

    fn add(&mut self, key: &'a [u8], value: &'a [u8], offset: u64) -> Result<(), TarError> {
        let some = Some(value).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = some,
            b"linkpath" => self.linkpath = some,
            b"size" => self.size = some,
            b"uid" => self.uid = some,
            b"gid" => self.gid = some,
            b"mtime" => self.mtime = some,
            b"atime" => self.atime = some,
            b"ctime" => self.ctime = some,
            _ => match key.strip_prefix(b"SCHILY.xattr.") {
                Some(b"") => return Err(TarError::BadRecord { offset }),
                Some(attribute) => self.xattrs.push((attribute, value)),
                None => self.sparse |= key.starts_with(b"GNU.sparse."),
            },
        }
        Ok(())
    }
}

/// Reads all records and forgets them.
pub(super) fn check(bytes: &[u8], offset: u64) -> Result<(), TarError> {
    if Records(bytes).all(|record| record.is_some()) {
        return Ok(());
    }
    Err(TarError::BadRecord { offset })
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Keys and values in order; `None` for a broken one, which is the last.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((record, rest)) = split(self.0) else {
            self.0 = b"";
            return Some(None);
        };
        self.0 = rest;
        Some(Some(record))
    }
}

/// The first record, and what follows it.
fn split(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let digits = &bytes[..space];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    is_valid(key, value).then_some(((key, value), rest))
}

fn is_valid(key: &[u8], value: &[u8]) -> bool {
    match key {
        b"" => false,
        b"path" | b"linkpath" | b"uname" | b"gname" => !value.contains(&0),
        _ => !key.contains(&0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_key_counts() {
        let pax = Pax::read(b"9 path=a\n9 path=b\n7 uid=\n9 uid=77\n7 uid=\n", 0).unwrap();
        assert_eq!(pax.path, Some(&b"b"[..]));
        assert_eq!(pax.uid, None);
    }

    #[test]
    fn attributes_are_sorted_bytes() {
        let records = b"24 SCHILY.xattr.u.b=old\n22 SCHILY.xattr.u.a=\xff\n\
            24 SCHILY.xattr.u.b=n\0=\n21 SCHILY.xattr.u.c=\n";
        let pax = Pax::read(records, 0).unwrap();
        let expected = [(&b"u.a"[..], &b"\xff"[..]), (b"u.b", b"n\0="), (b"u.c", b"")];
        assert_eq!(pax.xattrs, expected);
    }

    #[test]
    fn broken_records_are_errors() {
        for bytes in [
            &b"9 path=ab\n"[..],
            b"8 path=a\n",
            b"99 path=a\n",
            b"9 path=a",
            b"9path=a\n",
            b"+9 path=a\n",
            b"7 path\n",
            b"5 =a\n",
            b"1 \n",
            b"0 ",
            b"10 path=a\0\n",
            b"9 path=a\n\0\0\0",
            b"18446744073709551616 path=a\n",
            b"18 SCHILY.xattr.=\n",
        ] {
            assert!(Pax::read(bytes, 0).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn records_of_others_are_skipped_but_checked() {
        assert_eq!(Pax::read(b"25 comment=say\nwhat=ever\n", 0).unwrap(), Pax::default());
        assert!(check(b"25 comment=say\nwhat=ever\n", 0).is_ok());
        assert!(check(b"25 comment=say\nwhatever\n", 0).is_err());
    }
}
