//! The parts of a blob, by the book.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::crc64::crc64;
use super::header::{headers, padding};
use super::item::Item;
use crate::digest::sha256;

/// What a blob is made of, before anything lies.
pub(super) struct Parts {
    pub(super) tar: Vec<u8>,
    /// Frames of data.
    pub(super) data: Vec<u8>,
    pub(super) entries: Vec<Value>,
    /// Lines of the tar-split.
    pub(super) split: Vec<Value>,
}

impl Parts {
    /// Of a tar of these items; `trailer` ends it.
    pub(super) fn of(items: &[Item], trailer: &[u8], chunk: Option<usize>) -> Self {
        let mut parts =
            Self { tar: Vec::new(), data: Vec::new(), entries: Vec::new(), split: Vec::new() };
        let mut open = Vec::new();
        let mut segment = Vec::new();
        for item in items {
            let header = headers(item);
            parts.tar.extend(&header);
            open.extend(&header);
            segment.extend(&header);
            if item.raw.is_some() {
                continue;
            }
            parts.add_segment(&std::mem::take(&mut segment));
            if item.flag == b'g' {
                parts.add_file(b"pax_global_header", &[]);
                continue;
            }
            parts.add_file(item.read_name(), &item.content);
            let mut row = fields(item);
            if item.content.is_empty() {
                parts.entries.push(Value::Object(row));
                continue;
            }
            parts.data.extend(frame(&std::mem::take(&mut open)));
            row.insert("digest".into(), format!("sha256:{}", sha256(&item.content)).into());
            parts.add_chunks(row, &item.content, chunk.unwrap_or(usize::MAX));
            parts.tar.extend(&item.content);
            let padding = padding(item.content.len());
            parts.tar.extend(&padding);
            open.extend(&padding);
            segment.extend(&padding);
        }
        parts.tar.extend(trailer);
        open.extend(trailer);
        segment.extend(trailer);
        parts.data.extend(frame(&open));
        if !segment.is_empty() {
            parts.add_segment(&segment);
        }
        parts
    }

    fn add_segment(&mut self, bytes: &[u8]) {
        let position = self.split.len();
        let payload = BASE64.encode(bytes);
        self.split.push(json!({"type": 2, "payload": payload, "position": position}));
    }

    fn add_file(&mut self, name: &[u8], content: &[u8]) {
        let position = self.split.len();
        let mut line = json!({"type": 1, "position": position, "payload": Value::Null});
        match std::str::from_utf8(name) {
            Ok(name) => line["name"] = name.into(),
            Err(_) => line["name_raw"] = BASE64.encode(name).into(),
        }
        if !content.is_empty() {
            line["size"] = content.len().into();
            line["payload"] = BASE64.encode(crc64(content).to_be_bytes()).into();
        }
        self.split.push(line);
    }

    fn add_chunks(&mut self, first: Map<String, Value>, content: &[u8], length: usize) {
        let name = first["name"].clone();
        let mut rows = vec![first];
        let mut at = 0;
        for chunk in content.chunks(length.min(content.len())) {
            if at > 0 {
                let row = json!({"type": "chunk", "name": name, "chunkOffset": at});
                rows.push(row.as_object().cloned().unwrap_or_default());
            }
            let row = rows.last_mut().expect("the first was there before");
            row.insert("offset".into(), self.data.len().into());
            if chunk.len() < content.len() {
                row.insert("chunkSize".into(), chunk.len().into());
                row.insert("chunkDigest".into(), format!("sha256:{}", sha256(chunk)).into());
            }
            at += chunk.len();
            self.data.extend(frame(chunk));
        }
        rows[0].insert("endOffset".into(), self.data.len().into());
        self.entries.extend(rows.into_iter().map(Value::Object));
    }
}

/// A zstd frame.
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes everything")
}

/// A zstd stream that wants a window of so many bits of its reader.
///
/// # Panics
///
/// If zstd knows no such window.
#[must_use]
pub fn zstd_with_window(bytes: &[u8], bits: u32) -> Vec<u8> {
    let encode = || -> std::io::Result<Vec<u8>> {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1)?;
        encoder.long_distance_matching(bits > 27)?;
        encoder.window_log(bits)?;
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    encode().expect("memory takes everything")
}

/// What a zstd stream decodes to.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub fn zstd_decoded(stream: &[u8]) -> Vec<u8> {
    zstd::decode_all(stream).expect("it was made here")
}

/// Appends a skippable frame; gives the place of its payload.
pub(super) fn skippable(blob: &mut Vec<u8>, payload: &[u8]) -> usize {
    blob.extend([0x50, 0x2a, 0x4d, 0x18]);
    blob.extend(u32::try_from(payload.len()).expect("a small payload").to_le_bytes());
    blob.extend(payload);
    blob.len() - payload.len()
}

/// What the TOC says of an item, without its content.
fn fields(item: &Item) -> Map<String, Value> {
    debug_assert!(item.is_entry(), "nothing else is in a TOC");
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.into(), value);
    let kind = match item.flag {
        b'1' => "hardlink",
        b'2' => "symlink",
        b'3' => "char",
        b'4' => "block",
        b'5' => "dir",
        b'6' => "fifo",
        _ => "reg",
    };
    put("type", kind.into());
    put("name", text(item.read_name()));
    if !item.link.is_empty() {
        put("linkName", text(&item.link));
    }
    put("mode", (item.mode & 0o7777).to_string().parse().expect("it is a number"));
    let size = item.size.unwrap_or(item.content.len() as i128);
    for (key, value) in [("uid", item.uid), ("gid", item.gid), ("size", size)] {
        if value != 0 {
            put(key, number(value));
        }
    }
    if let Some((major, minor)) = item.device {
        put("devMajor", number(major));
        put("devMinor", number(minor));
    }
    put("modtime", rfc3339(item.mtime).into());
    if !item.xattrs.is_empty() {
        let xattrs = item.xattrs.iter().map(|(key, value)| {
            (String::from_utf8_lossy(key).into_owned(), Value::from(BASE64.encode(value)))
        });
        put("xattrs", Value::Object(xattrs.collect()));
    }
    fields
}

/// A JSON number; of those that are too large for any reader, a float.
fn number(value: i128) -> Value {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        #[expect(clippy::cast_precision_loss, reason = "no reader takes it anyway")]
        _ => (value as f64).into(),
    }
}

/// Seconds since 1970 as a date, which years of more than four digits do not have.
fn rfc3339(seconds: i128) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that leap days come last in their year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i128::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(1_709_208_000), "2024-02-29T12:00:00Z");
        assert_eq!(rfc3339(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(253_402_300_800), "10000-01-01T00:00:00Z");
    }
}
