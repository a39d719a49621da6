//! The JSON of `toc`, written while it is made: a layer may have millions of entries.

use std::io::{self, Write};

use reflayer::{BlobToc, Chunk, FoundBy, Frame, FrameKind, Span};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use storage_core::{Entry, EntryKind};

use super::toc::{Look, frame_kind};

/// Writes all layers as one document.
pub(super) fn write(
    out: &mut impl Write,
    looks: &[Look],
    chunks: bool,
    frames: bool,
) -> io::Result<()> {
    let layer = |look| Layer::new(look, chunks, frames);
    let document = Document { layers: looks.iter().map(layer).collect() };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    digest: Option<String>,
    size: Option<u64>,
    found_by: Option<&'static str>,
    /// Whether the TOC has the digest that a manifest names.
    proved: bool,
    toc: Option<Value>,
    tar_split: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<Frames<'a>>,
}

impl<'a> Layer<'a> {
    fn new(look: &'a Look, chunks: bool, frames: bool) -> Self {
        let blob = look.toc.as_ref();
        let location = blob.and_then(|blob| blob.location);
        let found_by = blob.map(|blob| blob.found_by);
        Self {
            digest: look.digest.map(|digest| digest.to_string()),
            size: look.size,
            found_by: found_by.map(|by| match by {
                FoundBy::Annotations => "annotations",
                FoundBy::Footer => "footer",
                _ => "file",
            }),
            proved: found_by == Some(FoundBy::Annotations),
            toc: location.map(|location| span(location.toc, location.toc_digest.to_string())),
            tar_split: location.and_then(|location| location.tar_split).map(|place| {
                let digest = blob.and_then(|blob| blob.toc.tar_split_digest());
                span(place, digest.map(ToString::to_string))
            }),
            entries: blob.map(|blob| Entries { blob, chunks }),
            frames: blob.filter(|_| frames).map(Frames),
        }
    }
}

fn span(span: Span, digest: impl Serialize) -> Value {
    let Span { offset, length, uncompressed } = span;
    json!({"digest": digest, "offset": offset, "length": length, "uncompressed": uncompressed})
}

struct Entries<'a> {
    blob: &'a BlobToc,
    chunks: bool,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let toc = &self.blob.toc;
        let entries = toc.entries().enumerate().map(|(index, found)| {
            let mut value = entry(&found);
            if let Some(file) = toc.file(index) {
                value["digest"] = json!(file.digest().to_string());
                if self.chunks {
                    value["chunks"] = file.chunks().map(|found| chunk(&found)).collect();
                }
            }
            value
        });
        serializer.collect_seq(entries)
    }
}

struct Frames<'a>(&'a BlobToc);

impl Serialize for Frames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.frames().map(|found| frame(self.0, &found)))
    }
}

fn entry(entry: &Entry) -> Value {
    let (kind, more) = match &entry.kind {
        EntryKind::Regular => ("reg", json!({"size": entry.size})),
        EntryKind::Directory => ("dir", json!({})),
        EntryKind::Symlink { target } => ("symlink", json!({"link": text(target)})),
        EntryKind::HardLink { target } => ("hardlink", json!({"link": text(target)})),
        EntryKind::CharDevice { major, minor } => ("char", json!({"device": [major, minor]})),
        EntryKind::BlockDevice { major, minor } => ("block", json!({"device": [major, minor]})),
        EntryKind::Fifo => ("fifo", json!({})),
    };
    let mut value = json!({
        "name": text(&entry.name), "type": kind,
        "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "mtime": {"seconds": entry.mtime.seconds, "nanoseconds": entry.mtime.nanoseconds},
    });
    if !entry.xattrs.is_empty() {
        let hex = |(key, value): &(Vec<u8>, Vec<u8>)| (text(key), Value::from(hex::encode(value)));
        value["xattrs_hex"] = entry.xattrs.iter().map(hex).collect();
    }
    for (key, more) in more.as_object().into_iter().flatten() {
        value[key] = more.clone();
    }
    value
}

fn chunk(chunk: &Chunk) -> Value {
    json!({
        "file_offset": chunk.file_offset, "size": chunk.size,
        "offset": chunk.offset, "length": chunk.end - chunk.offset,
        "digest": chunk.digest.map(|digest| digest.to_string()), "hole": chunk.hole,
    })
}

fn frame(blob: &BlobToc, frame: &Frame) -> Value {
    let mut value = json!({
        "offset": frame.offset, "length": frame.length, "kind": frame_kind(frame.kind),
    });
    if let FrameKind::Chunk { entry, chunk } = frame.kind {
        value["name"] = text(&blob.toc.entry(entry).name).into();
        value["chunk"] = chunk.into();
    }
    value
}

/// Names in a TOC are text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
