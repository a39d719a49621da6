//! One block of a header: its format, and its fields as bytes.

use tar_core::{EntryType, HEADER_SIZE, Header};

use super::number;
use crate::TarError;

/// Bytes of a block.
pub(crate) const BLOCK: usize = HEADER_SIZE;

/// Which layout the bytes after the link's name have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// They have none.
    V7,
    /// Owners' names, devices, 155 bytes of prefix (ustar, PAX).
    Ustar,
    /// As ustar, with 131 bytes of prefix and two times (Schilling's star).
    Star,
    /// Owners' names, devices, two times.
    Gnu,
}

/// What a block speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Entry,
    LongName,
    LongLink,
    Pax,
    Global,
}

/// What the numeric fields of a block say.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) size: i64,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime: i64,
    /// Major and minor; zeros in a format without them.
    pub(super) device: (i64, i64),
}

/// A header block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    header: &'a Header,
    pub(super) format: Format,
}

impl<'a> Block<'a> {
    /// The block at a position; `None` if it is not there in whole.
    pub(super) fn at(input: &'a [u8], position: usize) -> Option<Self> {
        let bytes = input.get(position..)?.first_chunk::<BLOCK>()?;
        let header = Header::from_bytes(bytes);
        let format = match &bytes[257..265] {
            // Any version: there are writers that leave it blank.
            [b'u', b's', b't', b'a', b'r', 0, ..] if bytes[508..] == *b"tar\0" => Format::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            _ => Format::V7,
        };
        Some(Self { header, format })
    }

    pub(super) fn bytes(&self) -> &'a [u8; BLOCK] {
        self.header.as_bytes()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.bytes().iter().all(|&byte| byte == 0)
    }

    /// Old writers summed signed bytes, so both sums are good.
    pub(super) fn verify_checksum(&self, offset: u64) -> Result<(), TarError> {
        let recorded = number::octal(&self.header.as_old().cksum);
        let (before, after) = (&self.bytes()[..148], &self.bytes()[156..]);
        // The field itself counts as eight spaces.
        let sum = |of: fn(u8) -> i32| {
            let spaces = 8 * i32::from(b' ');
            let bytes: i32 = before.iter().chain(after).map(|&byte| of(byte)).sum();
            Some(i64::from(spaces + bytes))
        };
        if recorded == sum(i32::from) || recorded == sum(|byte| byte.cast_signed().into()) {
            return Ok(());
        }
        Err(TarError::Checksum { offset })
    }

    pub(super) fn flag(&self) -> u8 {
        self.header.as_old().linkflag[0]
    }

    pub(super) fn kind(&self) -> Kind {
        match self.header.entry_type() {
            EntryType::GnuLongName => Kind::LongName,
            EntryType::GnuLongLink => Kind::LongLink,
            EntryType::XHeader => Kind::Pax,
            EntryType::XGlobalHeader => Kind::Global,
            _ => Kind::Entry,
        }
    }

    /// All numbers, which must be numbers even where nobody needs them.
    pub(super) fn numbers(&self, offset: u64) -> Result<Numbers, TarError> {
        let header = self.header.as_ustar();
        let read = |field: &'static str, bytes: &[u8]| {
            number::field(bytes).ok_or(TarError::Number { offset, field })
        };
        let device = |bytes: &[u8]| match self.format {
            Format::V7 => Ok(0),
            _ => read("device", bytes),
        };
        Ok(Numbers {
            size: read("size", &header.size)?,
            mode: read("mode", &header.mode)?,
            uid: read("uid", &header.uid)?,
            gid: read("gid", &header.gid)?,
            mtime: read("mtime", &header.mtime)?,
            device: (device(&header.dev_major)?, device(&header.dev_minor)?),
        })
    }

    /// The size of an extension's content.
    pub(super) fn content_size(&self, offset: u64) -> Result<u64, TarError> {
        let value = self.numbers(offset)?.size;
        u64::try_from(value).map_err(|_| TarError::OutOfRange { offset, field: "size", value })
    }

    /// The fields of access and change times, in formats that have them.
    pub(super) fn other_times(&self) -> Option<(&'a [u8], &'a [u8])> {
        match self.format {
            Format::V7 | Format::Ustar => None,
            Format::Star => Some((&self.bytes()[476..488], &self.bytes()[488..500])),
            Format::Gnu => Some((&self.header.as_gnu().atime, &self.header.as_gnu().ctime)),
        }
    }

    pub(super) fn name(&self) -> &'a [u8] {
        self.header.path_bytes()
    }

    pub(super) fn link(&self) -> &'a [u8] {
        self.header.link_name_bytes()
    }

    /// What stands before the name, in formats that have it.
    pub(super) fn prefix(&self) -> &'a [u8] {
        match self.format {
            Format::V7 | Format::Gnu => b"",
            Format::Star => before_zero(&self.bytes()[345..476]),
            Format::Ustar => self.ustar_prefix(),
        }
    }

    /// The bytes that are a prefix in ustar, whatever they are here.
    pub(super) fn ustar_prefix(&self) -> &'a [u8] {
        before_zero(&self.header.as_ustar().prefix)
    }
}

/// A field of text up to its first zero byte.
pub(super) fn before_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
