//! Blobs made by the book, and by the book of a liar.
//!
//! Nothing of the crate's own writer is in here, so that reader and writer can't
//! share a misunderstanding.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Map, Value, json};
use storage_core::{BytesSource, DiffId, Digest, Entry, EntryKind, Time};
use tarball::{Part, Parts, TarSplitWriter, TarWriter, WriterOptions};

/// A blob, and what stands about it in the image.
#[derive(Clone)]
pub(crate) struct Built {
    pub(crate) blob: Vec<u8>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) diff_id: DiffId,
    pub(crate) tar: Vec<u8>,
    pub(crate) toc: Vec<u8>,
    pub(crate) tar_split: Vec<u8>,
}

impl Built {
    pub(crate) fn source(&self) -> BytesSource {
        BytesSource::new(self.blob.clone())
    }
}

/// How a blob is made, and where it lies.
pub(crate) struct Recipe {
    /// Length of chunks; `None` is one chunk for each file.
    pub(crate) chunk: Option<usize>,
    /// Frames in a chunk.
    pub(crate) frames: usize,
    pub(crate) edit_toc: Box<dyn Fn(&mut Value)>,
    pub(crate) edit_toc_text: Box<dyn Fn(String) -> String>,
    pub(crate) edit_tar_split: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
    /// Bytes of a skippable frame that follows each chunk and belongs to it.
    pub(crate) padding: usize,
    /// Bytes between the payloads of TOC and tar-split, more than the header.
    pub(crate) between: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            chunk: None,
            frames: 1,
            edit_toc: Box::new(|_| {}),
            edit_toc_text: Box::new(|text| text),
            edit_tar_split: Box::new(|bytes| bytes),
            padding: 0,
            between: 0,
        }
    }
}

pub(crate) fn entry(name: &str, kind: EntryKind) -> Entry {
    let id = if super::is_root() { 1000 } else { rustix::process::geteuid().as_raw() };
    Entry {
        name: name.into(),
        kind,
        mode: 0o755,
        uid: id,
        gid: if super::is_root() { 1001 } else { rustix::process::getegid().as_raw() },
        size: 0,
        mtime: Time { seconds: 1_600_000_000, nanoseconds: 0 },
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    }
}

pub(crate) fn file(name: &str, content: impl Into<Vec<u8>>) -> (Entry, Vec<u8>) {
    let content = content.into();
    let size = content.len() as u64;
    (Entry { size, mode: 0o644, ..entry(name, EntryKind::Regular) }, content)
}

pub(crate) fn other(name: &str, kind: EntryKind) -> (Entry, Vec<u8>) {
    (entry(name, kind), Vec::new())
}

pub(crate) fn tar_of(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut options = WriterOptions::default();
    options.exact_times = true;
    let mut writer = TarWriter::new(Vec::new(), options);
    for (entry, content) in entries {
        writer.entry(entry, &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// A blob of these entries below a root.
pub(crate) fn build(entries: &[(Entry, Vec<u8>)]) -> Built {
    Recipe::default().build(rooted(entries))
}

/// A tar of a root and these entries.
pub(crate) fn rooted(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    tar_of(&[&[other("./", EntryKind::Directory)], entries].concat())
}

impl Recipe {
    pub(crate) fn build(&self, tar: Vec<u8>) -> Built {
        let (mut blob, toc_entries, tar_split) = self.take_apart(&tar);
        let tar_split = (self.edit_tar_split)(tar_split);
        let tar_split_payload = compress(&tar_split);
        let mut toc = json!({
            "version": 1,
            "entries": toc_entries,
            "tarSplitDigest": Digest::of(&tar_split_payload).to_string(),
        });
        (self.edit_toc)(&mut toc);
        let toc = (self.edit_toc_text)(toc.to_string()).into_bytes();
        let toc_payload = compress(&toc);
        let toc_at = skippable(&mut blob, &toc_payload);
        if self.between > 0 {
            skippable(&mut blob, &vec![0; self.between]);
        }
        let tar_split_at = skippable(&mut blob, &tar_split_payload);
        skippable(&mut blob, &[0; 64]);
        let key = |name: &str| format!("io.github.containers.zstd-chunked.{name}");
        let position = format!("{toc_at}:{}:{}:1", toc_payload.len(), toc.len());
        let split_position =
            format!("{tar_split_at}:{}:{}", tar_split_payload.len(), tar_split.len());
        let annotations = vec![
            (key("manifest-checksum"), Digest::of(&toc_payload).to_string()),
            (key("manifest-position"), position),
            (key("tarsplit-position"), split_position),
        ];
        let diff_id = Digest::of(&tar).into();
        Built { blob, annotations, diff_id, tar, toc, tar_split }
    }

    /// Data frames, TOC entries and tar-split.
    fn take_apart(&self, tar: &[u8]) -> (Vec<u8>, Vec<Value>, Vec<u8>) {
        let (mut blob, mut entries) = (Vec::new(), Vec::new());
        let mut split = TarSplitWriter::new(Vec::new());
        let mut parts = Parts::new(tar, tarball::Limits::default());
        let mut headers = Vec::new();
        let mut open: Option<(Entry, Vec<u8>)> = None;
        while let Some(part) = parts.next_part().unwrap() {
            match part {
                Part::Raw(bytes) => {
                    split.raw(bytes).unwrap();
                    headers.extend_from_slice(bytes);
                }
                Part::Entry(entry) => {
                    split.entry(&entry.name, entry.size).unwrap();
                    if entry.size > 0 {
                        open = Some((entry, Vec::new()));
                    } else {
                        entries.push(Value::Object(fields(&entry)));
                    }
                }
                Part::Content(bytes) => {
                    split.content(bytes).unwrap();
                    let (entry, content) = open.as_mut().unwrap();
                    content.extend_from_slice(bytes);
                    if content.len() as u64 == entry.size {
                        blob.extend(compress(&std::mem::take(&mut headers)));
                        let (entry, content) = open.take().unwrap();
                        self.add_file(&entry, &content, &mut blob, &mut entries);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        blob.extend(compress(&headers));
        (blob, entries, split.finish().unwrap())
    }

    fn add_file(&self, entry: &Entry, content: &[u8], blob: &mut Vec<u8>, out: &mut Vec<Value>) {
        let mut first = fields(entry);
        let name = first["name"].clone();
        first.insert("digest".into(), Digest::of(content).to_string().into());
        let mut rows = vec![first];
        let (mut at, length) = (0, self.chunk.unwrap_or(content.len()));
        for chunk in content.chunks(length) {
            if at > 0 {
                let row = json!({"type": "chunk", "name": name, "chunkOffset": at});
                rows.push(row.as_object().unwrap().clone());
            }
            let row = rows.last_mut().unwrap();
            row.insert("offset".into(), blob.len().into());
            if chunk.len() < content.len() {
                row.insert("chunkSize".into(), chunk.len().into());
                row.insert("chunkDigest".into(), Digest::of(chunk).to_string().into());
                if chunk.iter().all(|&byte| byte == 0) {
                    row.insert("chunkType".into(), "zeros".into());
                }
            }
            at += chunk.len();
            for frame in chunk.chunks(chunk.len().div_ceil(self.frames)) {
                blob.extend(compress(frame));
            }
            if self.padding > 0 {
                skippable(blob, &vec![0; self.padding]);
            }
        }
        rows[0].insert("endOffset".into(), blob.len().into());
        out.extend(rows.into_iter().map(Value::Object));
    }
}

pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Appends a skippable frame; returns where its payload is.
fn skippable(blob: &mut Vec<u8>, payload: &[u8]) -> usize {
    blob.extend([0x50, 0x2a, 0x4d, 0x18]);
    blob.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    blob.extend(payload);
    blob.len() - payload.len()
}

fn fields(entry: &Entry) -> Map<String, Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.into(), value);
    put("name", text(&entry.name).into());
    let kind = match &entry.kind {
        EntryKind::Regular => "reg",
        EntryKind::Directory => "dir",
        EntryKind::Symlink { target } => {
            put("linkName", text(target).into());
            "symlink"
        }
        EntryKind::HardLink { target } => {
            put("linkName", text(target).into());
            "hardlink"
        }
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            put("devMajor", (*major).into());
            put("devMinor", (*minor).into());
            if matches!(entry.kind, EntryKind::CharDevice { .. }) { "char" } else { "block" }
        }
        EntryKind::Fifo => "fifo",
    };
    put("type", kind.into());
    put("mode", entry.mode.into());
    put("uid", entry.uid.into());
    put("gid", entry.gid.into());
    if entry.size > 0 {
        put("size", entry.size.into());
    }
    put("modtime", rfc3339(entry.mtime).into());
    if let Some(time) = entry.atime {
        put("accesstime", rfc3339(time).into());
    }
    if let Some(time) = entry.ctime {
        put("changetime", rfc3339(time).into());
    }
    if !entry.xattrs.is_empty() {
        let base64 = |value: &[u8]| base64::engine::general_purpose::STANDARD.encode(value);
        let xattrs: Map<String, Value> =
            entry.xattrs.iter().map(|(key, value)| (text(key), base64(value).into())).collect();
        put("xattrs", xattrs.into());
    }
    fields
}

/// In the zone of some producer.
fn rfc3339(time: Time) -> String {
    let local = jiff::Timestamp::from_second(time.seconds + 19_800).unwrap().to_string();
    let mut text = local.trim_end_matches('Z').to_owned();
    if time.nanoseconds > 0 {
        write!(text, ".{:09}", time.nanoseconds).unwrap();
    }
    text + "+05:30"
}
