//! Whole blobs, taken apart by other means than ours.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use storage_core::{Digest, Entry, EntryKind, Time};
use tarball::{TarWriter, WriterOptions};

use super::{WriteError, WriteOptions, WrittenBlob, write_blob};
use crate::{Span, TocLocation};

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry {
        name: name.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    }
}

fn file(name: &str, content: &[u8]) -> (Entry, Vec<u8>) {
    let size = content.len() as u64;
    (Entry { size, ..entry(name, EntryKind::Regular) }, content.into())
}

fn tar(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut options = WriterOptions::default();
    options.exact_times = true;
    let mut tar = TarWriter::new(Vec::new(), options);
    for (entry, content) in entries {
        tar.entry(entry, &content[..]).unwrap();
    }
    tar.finish().unwrap()
}

fn write(tar: &[u8], threads: usize) -> Result<(Vec<u8>, WrittenBlob), WriteError> {
    let mut options = WriteOptions::default();
    (options.level, options.threads) = (1, threads);
    let mut blob = Vec::new();
    let written = write_blob(tar, &mut blob, &options)?;
    Ok((blob, written))
}

/// Decodes frames one after the other, as `zstd -d` does; no frames are no content.
fn decode(frames: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if frames.is_empty() {
        return content;
    }
    zstd::Decoder::new(frames).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn number(value: &Value, key: &str) -> usize {
    value.get(key).map_or(0, |n| usize::try_from(n.as_u64().unwrap()).unwrap())
}

fn numbers(annotation: &str) -> Vec<usize> {
    annotation.split(':').map(|n| n.parse().unwrap()).collect()
}

/// A blob taken apart by its annotations.
struct Opened<'a> {
    blob: &'a [u8],
    toc: Value,
    tar_split: Vec<u8>,
}

fn open<'a>(blob: &'a [u8], written: &WrittenBlob) -> Opened<'a> {
    let get = |key: &str| &written.annotations[&format!("io.github.containers.zstd-chunked.{key}")];
    let (toc, split) = (numbers(get("manifest-position")), numbers(get("tarsplit-position")));
    let payload = |place: &[usize]| {
        let header = &blob[place[0] - 8..place[0]];
        assert_eq!(header[..4], [0x50, 0x2a, 0x4d, 0x18]);
        assert_eq!(header[4..], u32::try_from(place[1]).unwrap().to_le_bytes());
        let frame = &blob[place[0]..place[0] + place[1]];
        let content = decode(frame);
        assert_eq!(content.len(), place[2]);
        (Digest::of(frame).to_string(), content)
    };
    let (toc_digest, toc_bytes) = payload(&toc);
    let (split_digest, tar_split) = payload(&split);
    assert_eq!(toc_digest, *get("manifest-checksum"));
    let json: Value = serde_json::from_slice(&toc_bytes).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["tarSplitDigest"], split_digest);

    let annotations = written.annotations.iter().map(|(key, value)| (&key[..], &value[..]));
    let location = TocLocation::from_annotations(annotations).unwrap().unwrap();
    let span = |span: Span| [span.offset, span.length, span.uncompressed];
    assert_eq!(span(location.toc).to_vec(), toc[..3].iter().map(|n| *n as u64).collect::<Vec<_>>());
    assert!(location.tar_split.is_some());

    let footer: Vec<u8> =
        toc.iter().chain(&split).flat_map(|n| (*n as u64).to_le_bytes()).collect();
    assert_eq!(footer.len() + 8, 64);
    assert_eq!(blob[blob.len() - 64..blob.len() - 8], footer);
    assert_eq!(blob[blob.len() - 72..blob.len() - 64], *b"\x50\x2a\x4d\x18\x40\0\0\0");
    assert!(blob.ends_with(b"GNUlInUx"));
    Opened { blob, toc: json, tar_split }
}

impl Opened<'_> {
    fn entries(&self) -> &[Value] {
        self.toc["entries"].as_array().unwrap()
    }

    /// Contents by name, from the frames that the TOC names; all digests checked.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let entries = self.entries();
        for (i, entry) in entries.iter().enumerate() {
            let name = entry["name"].as_str().unwrap();
            if !["reg", "chunk"].contains(&entry["type"].as_str().unwrap()) {
                continue;
            }
            let next = entries.get(i + 1).filter(|next| next["type"] == "chunk");
            let file = entries[..=i].iter().rfind(|e| e["type"] == "reg").unwrap();
            assert_eq!(file["name"], name);
            let end = next.map_or_else(|| number(file, "endOffset"), |next| number(next, "offset"));
            let chunk = decode(&self.blob[number(entry, "offset")..end]);
            if entry["type"] == "chunk" || next.is_some() {
                assert_eq!(entry["chunkDigest"], Digest::of(&chunk).to_string());
                assert_eq!(number(entry, "chunkSize"), chunk.len());
                let zeros = entry.get("chunkType").is_some_and(|kind| kind == "zeros");
                assert!(!zeros || chunk.iter().all(|&b| b == 0));
            } else {
                assert!(!entry.to_string().contains("chunk"), "{entry}");
            }
            let content = contents.entry(name.into()).or_default();
            assert_eq!(number(entry, "chunkOffset"), content.len());
            content.extend(chunk);
            if next.is_none() && !content.is_empty() {
                assert_eq!(file["digest"], Digest::of(content).to_string());
            }
        }
        contents
    }
}

#[test]
fn toc_lines_are_as_those_of_existing_images() {
    let xattrs = vec![
        (b"security.capability".to_vec(), vec![1, 0, 0, 2]),
        (b"user.foo".to_vec(), b"bar".to_vec()),
    ];
    let time = Time { seconds: 1_700_000_000, nanoseconds: 120_000_000 };
    let device = EntryKind::CharDevice { major: 5, minor: 1 };
    let bytes = tar(&[
        (Entry { mode: 0o1777, ..entry("./tmp/", EntryKind::Directory) }, vec![]),
        (
            Entry {
                mode: 0o4755,
                uid: 3,
                gid: 4,
                size: 6,
                mtime: time,
                xattrs,
                ..entry("tmp/a<b", EntryKind::Regular)
            },
            b"hello\n".into(),
        ),
        (entry("l", EntryKind::Symlink { target: b"tmp/a<b".into() }), vec![]),
        (entry("h", EntryKind::HardLink { target: b"tmp/a<b".into() }), vec![]),
        (Entry { mtime: Time::EPOCH, ..entry("c", device) }, vec![]),
        (Entry { atime: Some(time), ..entry("p", EntryKind::Fifo) }, vec![]),
        file("empty", b""),
    ]);
    let (blob, written) = write(&bytes, 1).unwrap();
    let opened = open(&blob, &written);
    let offset = number(&opened.entries()[1], "offset");
    let end = number(&opened.entries()[1], "endOffset");
    assert_eq!(decode(&blob[..offset]), bytes[..bytes.len() - decode(&blob[offset..]).len()]);
    let day = "2023-11-14T22:13:20Z";
    let expected = format!(
        concat!(
            r#"{{"type":"dir","name":"./tmp/","mode":1023,"modtime":"{day}"}},"#,
            r#"{{"type":"reg","name":"tmp/a<b","mode":2541,"size":6,"uid":3,"gid":4,"#,
            r#""modtime":"2023-11-14T22:13:20.12Z","#,
            r#""xattrs":{{"security.capability":"AQAAAg==","user.foo":"YmFy"}},"#,
            r#""digest":"{hello}","offset":{offset},"endOffset":{end}}},"#,
            r#"{{"type":"symlink","name":"l","linkName":"tmp/a<b","mode":420,"modtime":"{day}"}},"#,
            r#"{{"type":"hardlink","name":"h","linkName":"tmp/a<b","mode":420,"modtime":"{day}"}},"#,
            r#"{{"type":"char","name":"c","mode":420,"modtime":"1970-01-01T00:00:00Z","#,
            r#""devMajor":5,"devMinor":1}},"#,
            r#"{{"type":"fifo","name":"p","mode":420,"modtime":"{day}","#,
            r#""accesstime":"2023-11-14T22:13:20.12Z"}},"#,
            r#"{{"type":"reg","name":"empty","mode":420,"modtime":"{day}"}}"#,
        ),
        day = day,
        offset = offset,
        end = end,
        hello = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    );
    let place =
        numbers(&written.annotations["io.github.containers.zstd-chunked.manifest-position"]);
    let toc = String::from_utf8(decode(&blob[place[0]..place[0] + place[1]])).unwrap();
    let start = r#"{"version":1,"entries":["#;
    assert_eq!(toc[..start.len() + expected.len()], format!("{start}{expected}"));
    assert!(toc[start.len() + expected.len()..].starts_with(r#"],"tarSplitDigest":"sha256:"#));
}

#[test]
fn frames_of_any_length_keep_their_content() {
    // Nothing splits a run of one letter, so its frame is long; so is that of a hole,
    // and that of the headers of thousands of directories.
    let mut entries = vec![
        file("letters", &[b'A'; (3 << 20) + 5]),
        file("hole", &vec![0; (5 << 20) + 1]),
        file("both", &[vec![b'B'; 1 << 20], vec![0; 2 << 20], vec![b'C'; (1 << 20) + 1]].concat()),
    ];
    entries.extend((0..4000).map(|i| (entry(&format!("d{i}/"), EntryKind::Directory), vec![])));
    entries.push(file("last", b"x"));
    let bytes = tar(&entries);
    let (blob, written) = write(&bytes, 2).unwrap();
    assert!(decode(&blob) == bytes);
    let contents = open(&blob, &written).contents();
    for (entry, content) in &entries {
        if entry.kind == EntryKind::Regular {
            assert!(contents[str::from_utf8(&entry.name).unwrap()] == *content);
        }
    }
    let kinds: Vec<_> = open(&blob, &written)
        .entries()
        .iter()
        .filter(|e| e["name"] == "both")
        .map(|e| e.get("chunkType").cloned())
        .collect();
    assert_eq!(kinds, [None, Some(json!("zeros")), None]);
    assert!(write(&bytes, 1).unwrap().0 == blob, "threads can be seen in the blob");
}

#[test]
fn an_empty_tar_becomes_a_blob() {
    for bytes in [tar(&[]), Vec::new()] {
        let (blob, written) = write(&bytes, 1).unwrap();
        assert_eq!(decode(&blob), bytes);
        assert!(open(&blob, &written).entries().is_empty());
        assert_eq!(written.diff_size, bytes.len() as u64);
    }
}

#[test]
fn what_the_format_cannot_say_is_refused() {
    let twice = [file("a/b", b"1"), file("./a//b", b"2")];
    assert!(matches!(write(&tar(&twice), 1),
        Err(WriteError::DuplicateName { name }) if name == b"./a//b"));

    let latin1 = Entry { name: b"caf\xe9".into(), ..entry("", EntryKind::Fifo) };
    assert!(matches!(write(&tar(&[(latin1, vec![])]), 1),
        Err(WriteError::NotText { bytes, .. }) if bytes == b"caf\xe9"));

    let mtime = Time { seconds: 300_000_000_000, nanoseconds: 0 };
    let far = Entry { mtime, ..entry("far", EntryKind::Fifo) };
    assert!(matches!(
        write(&tar(&[(far, vec![])]), 1),
        Err(WriteError::Time { seconds: 300_000_000_000, .. })
    ));

    let mut global = tar(&[file("g", b"13 comment=x\n")]);
    global[156] = b'g';
    global[148..156].fill(b' ');
    let sum: u32 = global[..512].iter().map(|&byte| u32::from(byte)).sum();
    global[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(matches!(write(&global, 1),
        Err(WriteError::GlobalHeader { name }) if name == b"g"));

    let cut = tar(&[file("a", &[7; 5000])]);
    assert!(matches!(write(&cut[..3000], 1), Err(WriteError::Tar(_))));
}

#[test]
fn a_failing_output_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bytes = tar(&[file("a", b"content")]);
    let result = write_blob(&bytes[..], Full, &WriteOptions::default());
    assert!(matches!(result, Err(WriteError::Write(_))));
}

/// Contents with holes, and long enough for several chunks.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        (0usize..3000).prop_map(|len| vec![0; len]),
        (any::<u8>(), 0usize..2000).prop_map(|(byte, len)| vec![byte; len]),
        proptest::collection::vec(any::<u8>(), 0..60_000),
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn blob_toc_and_tar_split_each_give_the_tar_back(
        contents in proptest::collection::vec(content(), 0..12),
    ) {
        let entries: Vec<_> =
            contents.iter().enumerate().map(|(i, c)| file(&format!("f{i}"), c)).collect();
        let bytes = tar(&entries);
        let (blob, written) = write(&bytes, 3).unwrap();
        prop_assert_eq!(written.digest.digest(), &Digest::of(&blob));
        prop_assert_eq!(written.size, blob.len() as u64);
        prop_assert_eq!(written.diff_id.digest(), &Digest::of(&bytes));
        prop_assert_eq!(written.diff_size, bytes.len() as u64);
        prop_assert!(decode(&blob) == bytes);

        let opened = open(&blob, &written);
        let by_name = opened.contents();
        prop_assert_eq!(by_name.len(), contents.len());
        for (i, content) in contents.iter().enumerate() {
            let name = format!("f{i}");
            prop_assert!(by_name[&name] == *content, "content of {}", name);
        }

        let mut rebuilt = Vec::new();
        for line in opened.tar_split.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            if line["type"] == 1 {
                rebuilt.extend(&by_name[line["name"].as_str().unwrap()]);
            } else {
                let payload = line["payload"].as_str().unwrap();
                rebuilt.extend(base64::engine::general_purpose::STANDARD.decode(payload).unwrap());
            }
        }
        prop_assert!(rebuilt == bytes);
        prop_assert!(write(&bytes, 1).unwrap().0 == blob, "threads can be seen in the blob");
    }
}
