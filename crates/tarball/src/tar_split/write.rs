//! Parts to a tar-split.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::json;
use super::names::Names;
use crate::{Crc64, Part, Sink};

/// Writes a tar-split, byte for byte as the Go library of that name does.
///
/// It is fed with the parts of a stream, all of them and in order, and is a
/// [`Sink`] for that. The output is uncompressed and comes in writes of one line.
#[derive(Debug)]
pub struct TarSplitWriter<W: Write> {
    out: W,
    position: u64,
    line: Vec<u8>,
    /// The entry whose content is coming.
    file: Option<File>,
    names: Names,
}

#[derive(Debug)]
struct File {
    name: Vec<u8>,
    size: u64,
    missing: u64,
    crc: Crc64,
}

impl<W: Write> TarSplitWriter<W> {
    /// To an output.
    pub fn new(out: W) -> Self {
        Self { out, position: 0, line: Vec::new(), file: None, names: Names::default() }
    }

    /// Writes one segment of bytes that are no content, as [`Part::Raw`] gives them.
    ///
    /// Go's readers look for one whole header in each segment, so it is not to be
    /// cut or joined on the way.
    ///
    /// # Errors
    ///
    /// Those of the output, or if content is missing.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end_file()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.line.clear();
        self.line.extend_from_slice(br#"{"type":2,"payload":""#);
        self.put_base64(bytes);
        self.line.push(b'"');
        self.end_line()
    }

    /// Begins an entry of `size` bytes of content; zero for all but regular files.
    ///
    /// # Errors
    ///
    /// Those of the output, or if content of the entry before is missing.
    pub fn entry(&mut self, name: &[u8], size: u64) -> io::Result<()> {
        self.end_file()?;
        self.names.add(name);
        self.file = Some(File { name: name.to_vec(), size, missing: size, crc: Crc64::new() });
        Ok(())
    }

    /// Adds the next bytes of the entry's content.
    ///
    /// # Errors
    ///
    /// If it is more than was announced.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().filter(|file| file.missing >= bytes.len() as u64);
        let Some(file) = file else {
            return Err(io::Error::other("more content than announced to the tar-split"));
        };
        file.missing -= bytes.len() as u64;
        file.crc.update(bytes);
        Ok(())
    }

    /// The first name, as it was written, that is the same as an earlier one when
    /// both are cleaned.
    ///
    /// Every reader refuses such a tar-split, so whoever needs one that can be read
    /// has to look here at the end.
    pub fn duplicate_name(&self) -> Option<&[u8]> {
        self.names.duplicate.as_deref()
    }

    /// Ends the tar-split; does not flush the output.
    ///
    /// # Errors
    ///
    /// Those of the output, or if content is missing.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_file()?;
        Ok(self.out)
    }

    fn end_file(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        if file.missing > 0 {
            return Err(io::Error::other("less content than announced to the tar-split"));
        }
        self.line.clear();
        self.line.extend_from_slice(br#"{"type":1"#);
        self.put_name(&file.name);
        if file.size > 0 {
            write!(self.line, r#","size":{},"payload":""#, file.size)?;
            self.put_base64(&file.crc.value().to_be_bytes());
            self.line.push(b'"');
        } else {
            self.line.extend_from_slice(br#","payload":null"#);
        }
        self.end_line()
    }

    fn put_name(&mut self, name: &[u8]) {
        match std::str::from_utf8(name) {
            Ok("") => {}
            Ok(name) => {
                self.line.extend_from_slice(br#","name":"#);
                json::put_string(name, &mut self.line);
            }
            Err(_) => {
                self.line.extend_from_slice(br#","name_raw":""#);
                self.put_base64(name);
                self.line.push(b'"');
            }
        }
    }

    fn put_base64(&mut self, bytes: &[u8]) {
        let start = self.line.len();
        self.line.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(bytes, &mut self.line[start..]);
        written.expect("there is room for four characters per three bytes");
    }

    fn end_line(&mut self) -> io::Result<()> {
        writeln!(self.line, r#","position":{}}}"#, self.position)?;
        self.position += 1;
        self.out.write_all(&self.line)
    }
}

impl<W: Write> Sink for TarSplitWriter<W> {
    fn part(&mut self, part: &Part<'_>) -> io::Result<()> {
        match part {
            Part::Raw(bytes) => self.raw(bytes),
            Part::Entry(entry) => self.entry(&entry.name, entry.size),
            Part::Global(name) => self.entry(name, 0),
            Part::Content(bytes) => self.content(bytes),
        }
    }
}
