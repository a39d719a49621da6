//! Entries with their contents, for unpacking.

use std::io::{self, BufRead, Read};

use storage_core::Entry;

use crate::{Limits, Part, Parts, Sink, TarError};

/// Reads entry after entry, while a sink hears of every part of the stream.
///
/// With a [`TarSplitWriter`](crate::TarSplitWriter) as sink, unpacking and
/// recording are one pass.
///
/// ```
/// use std::io::Read;
/// use tarball::{Limits, TarReader, TarSplitWriter};
/// # use tarball::{TarWriter, WriterOptions};
/// # use storage_core::{Entry, EntryKind, Time};
/// # let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
/// # let entry = Entry { name: b"motd".into(), kind: EntryKind::Regular, mode: 0o644, uid: 0, gid: 0,
/// #     size: 6, mtime: Time::EPOCH, atime: None, ctime: None, xattrs: vec![] };
/// # tar.entry(&entry, &b"hello\n"[..])?;
/// # let stream = tar.finish()?;
///
/// let mut tar = TarReader::new(&stream[..], Limits::default(), TarSplitWriter::new(Vec::new()));
/// while let Some(entry) = tar.next_entry()? {
///     let mut content = String::new();
///     tar.content().read_to_string(&mut content)?;
///     assert_eq!((entry.name.as_slice(), content.as_str()), (&b"motd"[..], "hello\n"));
/// }
/// let (_, tar_split) = tar.finish()?;
/// assert!(tar_split.finish()?.starts_with(br#"{"type":2,"payload":""#));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TarReader<R: Read, S: Sink = ()> {
    parts: Parts<R>,
    sink: S,
    /// Bytes of content that the sink has heard of and nobody has read yet.
    told: usize,
}

impl<R: Read, S: Sink> TarReader<R, S> {
    /// Of a stream; `sink` hears of every part (`()` for nobody).
    pub fn new(stream: R, limits: Limits, sink: S) -> Self {
        Self { parts: Parts::new(stream, limits), sink, told: 0 }
    }

    /// The next entry; what was not read of the previous one's content is skipped
    /// (and told to the sink). `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream and of the sink; the reader is of no use afterwards.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.parts.take_content(std::mem::take(&mut self.told));
        loop {
            let offset = self.parts.offset();
            let Some(part) = self.parts.next_part()? else { return Ok(None) };
            self.sink.part(&part).map_err(|source| TarError::Record { offset, source })?;
            if let Part::Entry(entry) = part {
                return Ok(Some(entry));
            }
        }
    }

    /// The content of the entry that came last: nothing, for all but regular files.
    ///
    /// May be called again, and goes on where the one before was left.
    pub fn content(&mut self) -> Content<'_, R, S> {
        Content { reader: self }
    }

    /// Reads what is left of the stream, and gives stream and sink back.
    ///
    /// # Errors
    ///
    /// As for [`TarReader::next_entry`].
    pub fn finish(mut self) -> Result<(R, S), TarError> {
        while self.next_entry()?.is_some() {}
        Ok((self.parts.into_inner(), self.sink))
    }

    fn fill(&mut self) -> Result<&[u8], TarError> {
        if self.told == 0 {
            let offset = self.parts.offset();
            let content = self.parts.content()?;
            if !content.is_empty() {
                let told = self.sink.part(&Part::Content(content));
                told.map_err(|source| TarError::Record { offset, source })?;
            }
            self.told = content.len();
        }
        Ok(&self.parts.available()[..self.told])
    }
}

/// The content of one entry, as a reader of exactly its bytes.
///
/// Errors carry a [`TarError`] inside.
#[derive(Debug)]
pub struct Content<'a, R: Read, S: Sink> {
    reader: &'a mut TarReader<R, S>,
}

impl<R: Read, S: Sink> Read for Content<'_, R, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let content = self.fill_buf()?;
        let count = content.len().min(out.len());
        out[..count].copy_from_slice(&content[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read, S: Sink> BufRead for Content<'_, R, S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.reader.fill()?)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.reader.told);
        self.reader.told -= amount;
        self.reader.parts.take_content(amount);
    }
}
