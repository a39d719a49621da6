//! Entries to a deterministic tar.

use std::io::{self, Read, Write};

use storage_core::Entry;

use crate::header::{self, BLOCK};

/// What is read of a content at once.
const BUFFER: usize = 128 << 10;

/// Choices of a [`TarWriter`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WriterOptions {
    /// Whether parts of seconds, and times of access and change, are written; else
    /// times are rounded down to seconds.
    pub exact_times: bool,
}

/// An entry that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarWriteError {
    /// The output failed.
    #[error("write the tar stream")]
    Write(#[source] io::Error),
    /// The content could not be read.
    #[error("read the content of {:?}", String::from_utf8_lossy(.name))]
    Content {
        /// Whose.
        name: Vec<u8>,
        /// What the reader said.
        source: io::Error,
    },
    /// The content is longer or shorter than the entry says.
    #[error("the content of {:?} is not of {size} bytes", String::from_utf8_lossy(.name))]
    Size {
        /// Whose.
        name: Vec<u8>,
        /// What the entry says.
        size: u64,
    },
    /// The entry says what no tar header can.
    #[error("{:?} cannot be written to a tar stream", String::from_utf8_lossy(.name))]
    Entry {
        /// Its name.
        name: Vec<u8>,
        /// What it says.
        #[source]
        source: Unwritable,
    },
}

/// Something about an entry that no tar header can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwritable {
    /// A name that is empty or has a zero byte.
    #[error("its name is empty or has a zero byte")]
    Name,
    /// A link's target that is empty or has a zero byte.
    #[error("its target is empty or has a zero byte")]
    Target,
    /// A size of what is no regular file, or one of 2^63 bytes and more.
    #[error("its size is not possible")]
    Size,
    /// More than the permission bits.
    #[error("its mode has more than permissions")]
    Mode,
    /// The number that means "no owner".
    #[error("its owner or group is 4294967295")]
    Owner,
    /// A device number of more than 21 bits.
    #[error("its device number is too large")]
    Device,
    /// A key of an extended attribute that is empty, or has a zero byte or `=`.
    #[error("it has an extended attribute without a proper key")]
    Attribute,
    /// More than 1 MiB of names and extended attributes, which Go refuses to read.
    #[error("its names and extended attributes are too long")]
    TooLong,
}

/// Writes entries as a tar stream: ustar, with PAX headers only where needed.
///
/// The same entries give the same bytes. A PAX header comes before an entry with a
/// name or target that does not fit or is not ASCII, an owner above 2097151, a size
/// of 8 GiB or more, a time that is no 33-bit number of seconds, or extended
/// attributes (as `SCHILY.xattr.`).
///
/// ```
/// use storage_core::{Entry, EntryKind, Time};
/// use tarball::{TarWriter, WriterOptions};
///
/// let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
/// let motd = Entry {
///     name: b"etc/motd".into(), kind: EntryKind::Regular, mode: 0o644, uid: 0, gid: 0,
///     size: 6, mtime: Time::EPOCH, atime: None, ctime: None, xattrs: vec![],
/// };
/// tar.entry(&motd, &b"hello\n"[..])?;
/// assert_eq!(tar.finish()?.len(), 4 * 512);
/// # Ok::<_, tarball::TarWriteError>(())
/// ```
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: W,
    options: WriterOptions,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// To an output, which should be buffered if files are small.
    pub fn new(out: W, options: WriterOptions) -> Self {
        Self { out, options, buffer: vec![0; BUFFER] }
    }

    /// Writes an entry; `content` must give exactly `entry.size` bytes (so use
    /// [`io::empty`] for what has none).
    ///
    /// # Errors
    ///
    /// As [`TarWriteError`] says. After [`TarWriteError::Entry`] nothing has been
    /// written and the next entry may follow; after the others the stream is broken.
    pub fn entry(&mut self, entry: &Entry, content: impl Read) -> Result<(), TarWriteError> {
        let blocks = header::build(entry, &self.options)
            .map_err(|source| TarWriteError::Entry { name: entry.name.clone(), source })?;
        self.out.write_all(&blocks).map_err(TarWriteError::Write)?;
        self.content(entry, content)
    }

    /// Writes the end of the stream; does not flush the output.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn finish(mut self) -> Result<W, TarWriteError> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(TarWriteError::Write)?;
        Ok(self.out)
    }

    fn content(&mut self, entry: &Entry, mut content: impl Read) -> Result<(), TarWriteError> {
        let name = || entry.name.clone();
        let mut left = entry.size;
        loop {
            // Nothing is left at the end, when one read more must find nothing.
            let count = match content.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(TarWriteError::Content { name: name(), source }),
            };
            if count as u64 > left || (count == 0 && left > 0) {
                return Err(TarWriteError::Size { name: name(), size: entry.size });
            }
            if count == 0 {
                break;
            }
            left -= count as u64;
            self.out.write_all(&self.buffer[..count]).map_err(TarWriteError::Write)?;
        }
        let padding = header::padding(entry.size);
        self.out.write_all(&[0; BLOCK][..padding]).map_err(TarWriteError::Write)
    }
}
