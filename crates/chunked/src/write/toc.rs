//! The TOC, written entry by entry.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};
use storage_core::{ChunkDigest, Digest, Entry, EntryKind, Time};

use super::WriteError;

/// A chunk of a file as it lies in the blob.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Where its frame starts in the blob.
    pub(super) offset: u64,
    /// Bytes of content.
    pub(super) size: u64,
    /// Of the content; not needed where a file has one chunk.
    pub(super) digest: Option<ChunkDigest>,
    /// Whether it is nothing but zeros.
    pub(super) hole: bool,
}

/// Writes a TOC as JSON, in the field order of existing images.
///
/// A file's first line names the end of its last frame, so the chunks of one file,
/// the current one, are kept.
#[derive(Debug)]
pub(super) struct TocWriter<W: Write> {
    out: W,
    empty: bool,
    chunks: Vec<Chunk>,
}

impl<W: Write> TocWriter<W> {
    pub(super) fn new(mut out: W) -> Result<Self, WriteError> {
        out.write_all(br#"{"version":1,"entries":["#).map_err(WriteError::Compress)?;
        Ok(Self { out, empty: true, chunks: Vec::new() })
    }

    /// An entry without content.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let line = Line::of(entry)?;
        self.line(&line)
    }

    /// The next chunk of the file whose [`file`](Self::file) follows.
    pub(super) fn chunk(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    /// A file that has content; its chunks, at least one, came before.
    pub(super) fn file(
        &mut self,
        entry: &Entry,
        digest: ChunkDigest,
        end_offset: u64,
    ) -> Result<(), WriteError> {
        let chunks = std::mem::take(&mut self.chunks);
        let mut line = Line::of(entry)?;
        line.digest = Some(digest);
        line.offset = chunks.first().map_or(0, |chunk| chunk.offset);
        line.end_offset = end_offset;
        if let [_] = chunks[..] {
            return self.line(&line);
        }
        let mut at = 0;
        for chunk in chunks {
            line.offset = chunk.offset;
            line.chunk_size = chunk.size;
            line.chunk_offset = at;
            line.chunk_digest = chunk.digest;
            line.chunk_type = if chunk.hole { "zeros" } else { "" };
            self.line(&line)?;
            at += chunk.size;
            line = Line { kind: "chunk", name: line.name, ..Line::default() };
        }
        Ok(())
    }

    /// Ends the TOC.
    pub(super) fn finish(mut self, tar_split: Digest) -> Result<W, WriteError> {
        write!(self.out, r#"],"tarSplitDigest":"{tar_split}"}}"#).map_err(WriteError::Compress)?;
        Ok(self.out)
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), WriteError> {
        if !std::mem::take(&mut self.empty) {
            self.out.write_all(b",").map_err(WriteError::Compress)?;
        }
        serde_json::to_writer(&mut self.out, line)
            .map_err(|error| WriteError::Compress(error.into()))
    }
}

/// One element of `entries`. Whatever is zero is left out, but for type and name.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    link_name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    mtime: Option<Rfc3339>,
    #[serde(rename = "accesstime", skip_serializing_if = "Option::is_none")]
    atime: Option<Rfc3339>,
    #[serde(rename = "changetime", skip_serializing_if = "Option::is_none")]
    ctime: Option<Rfc3339>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u32,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<ChunkDigest>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    end_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<ChunkDigest>,
    #[serde(skip_serializing_if = "str::is_empty")]
    chunk_type: &'static str,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl<'a> Line<'a> {
    /// The line of an entry, as if it had no content.
    fn of(entry: &'a Entry) -> Result<Self, WriteError> {
        let text = |bytes: &'a [u8]| {
            std::str::from_utf8(bytes)
                .map_err(|_| WriteError::NotText { name: entry.name.clone(), bytes: bytes.into() })
        };
        let time = |time: Time| {
            timestamp(time)
                .ok_or_else(|| WriteError::Time { name: entry.name.clone(), seconds: time.seconds })
        };
        let (kind, link, device) = match &entry.kind {
            EntryKind::Regular => ("reg", &b""[..], (0, 0)),
            EntryKind::Directory => ("dir", &b""[..], (0, 0)),
            EntryKind::Symlink { target } => ("symlink", &target[..], (0, 0)),
            EntryKind::HardLink { target } => ("hardlink", &target[..], (0, 0)),
            EntryKind::CharDevice { major, minor } => ("char", &b""[..], (*major, *minor)),
            EntryKind::BlockDevice { major, minor } => ("block", &b""[..], (*major, *minor)),
            EntryKind::Fifo => ("fifo", &b""[..], (0, 0)),
        };
        let mut xattrs = BTreeMap::new();
        for (key, value) in &entry.xattrs {
            xattrs.insert(text(key)?, BASE64.encode(value));
        }
        Ok(Self {
            kind,
            name: text(&entry.name)?,
            link_name: text(link)?,
            mode: entry.mode,
            size: entry.size,
            uid: entry.uid,
            gid: entry.gid,
            mtime: Some(time(entry.mtime)?),
            atime: entry.atime.map(time).transpose()?,
            ctime: entry.ctime.map(time).transpose()?,
            dev_major: device.0,
            dev_minor: device.1,
            xattrs,
            ..Self::default()
        })
    }
}

/// In UTC, with no more digits of a second than it needs.
#[derive(Debug, Clone, Copy)]
struct Rfc3339(jiff::Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time as RFC 3339 can say it: in the years 0 to 9999.
fn timestamp(time: Time) -> Option<Rfc3339> {
    const YEAR_0: i64 = -62_167_219_200;
    const YEAR_10000: i64 = 253_402_300_800;
    if !(YEAR_0..YEAR_10000).contains(&time.seconds) {
        return None;
    }
    jiff::Timestamp::new(time.seconds, time.nanoseconds.try_into().ok()?).ok().map(Rfc3339)
}
