//! TOCs as text, and what becomes of them.

use std::fmt::Write as _;

use proptest::prelude::*;
use storage_core::{Digest, EntryKind, Time};

use super::*;
use crate::Limits;

fn read(entries: &str) -> Result<Toc, TocError> {
    let json = format!(r#"{{"version":1,"entries":[{entries}]}}"#);
    Toc::read_for(json.as_bytes(), &Limits::default(), 1000)
}

fn problem(entries: &str) -> EntryProblem {
    match read(entries) {
        Err(TocError::Entry { problem, .. }) => problem,
        other => panic!("{entries}: {other:?}"),
    }
}

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

/// A file of ten bytes between `offset` and `end`, with further fields.
fn file(name: &str, offset: u64, end: u64, more: &str) -> String {
    let digest = digest("0123456789");
    format!(
        r#"{{"type":"reg","name":"{name}","size":10,"digest":"{digest}","offset":{offset},"endOffset":{end}{more}}}"#
    )
}

fn chunk(name: &str, fields: &str) -> String {
    format!(r#"{{"type":"chunk","name":"{name}",{fields}}}"#)
}

#[test]
fn entries_come_out_as_they_went_in() {
    let toc = read(
        r#"{"type":"dir","name":"./d/","mode":493,"uid":1,"gid":2,"modtime":"2024-02-29T12:00:00Z"},
        {"type":"symlink","name":"./d/l","linkName":"../x","mode":511},
        {"type":"hardlink","name":"h","linkName":"./d/l"},
        {"type":"char","name":"c","devMajor":1,"devMinor":3,"mode":438},
        {"type":"fifo","name":"p","mode":33188},
        {"type":"reg","name":"e","xattrs":{"user.b":"YmFyAGJheg==","user.a":""},
         "accesstime":"1970-01-01T00:00:00Z","changetime":"2024-02-29T12:00:00.5+00:00"}"#,
    )
    .unwrap();
    let entries: Vec<Entry> = toc.entries().collect();
    let time = Time { seconds: 1_709_208_000, nanoseconds: 0 };
    assert_eq!(entries[0].name, b"./d/");
    assert_eq!((entries[0].mode, entries[0].uid, entries[0].gid), (0o755, 1, 2));
    assert_eq!((entries[0].mtime, entries[0].atime), (time, None));
    assert_eq!(entries[1].kind, EntryKind::Symlink { target: b"../x".into() });
    assert_eq!(entries[2].kind, EntryKind::HardLink { target: b"./d/l".into() });
    assert_eq!(entries[3].kind, EntryKind::CharDevice { major: 1, minor: 3 });
    assert_eq!((&entries[4].kind, entries[4].mode), (&EntryKind::Fifo, 0o644));
    let xattrs = [("user.a", &b""[..]), ("user.b", b"bar\0baz")];
    assert_eq!(entries[5].xattrs, xattrs.map(|(k, v)| (k.into(), v.into())));
    assert_eq!(entries[5].atime, None);
    assert_eq!(entries[5].ctime, Some(Time { nanoseconds: 500_000_000, ..time }));
    assert_eq!((toc.uid_set(), toc.gid_set()), (vec![0, 1], vec![0, 2]));
    assert_eq!(toc.files().count(), 0);
}

#[test]
fn a_file_without_chunk_fields_is_one_chunk_and_others_tile() {
    let toc = read(&format!(
        "{},{},{},{}",
        file("a", 100, 200, ""),
        file("b", 200, 300, r#","chunkSize":4"#),
        chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":5,"chunkType":"zeros""#),
        chunk("b", r#""offset":260,"chunkOffset":9"#),
    ))
    .unwrap();
    let chunks = |i| -> Vec<_> {
        let file: TocFile<'_> = toc.file(i).unwrap();
        file.chunks().map(|c| (c.offset, c.end, c.file_offset, c.size, c.hole)).collect()
    };
    assert_eq!(chunks(0), [(100, 200, 0, 10, false)]);
    assert_eq!(
        chunks(1),
        [(200, 250, 0, 4, false), (250, 260, 4, 5, true), (260, 300, 9, 1, false)]
    );
    assert_eq!(toc.len(), 2);
}

#[test]
fn content_at_impossible_places_is_refused() {
    for entries in [
        file("a", 100, 100, ""),
        file("a", 200, 100, ""),
        file("a", 100, 1001, ""),
        file("a", 0, u64::from(u32::MAX), ""),
        format!("{},{}", file("a", 100, 200, ""), file("b", 199, 300, "")),
        format!("{},{}", file("a", 200, 300, ""), file("b", 100, 200, "")),
        format!(
            "{},{}",
            file("b", 200, 300, r#","chunkSize":4"#),
            chunk("b", r#""offset":200,"chunkOffset":4,"chunkSize":6"#)
        ),
        format!(
            "{},{}",
            file("b", 200, 300, r#","chunkSize":4"#),
            chunk("b", r#""offset":301,"chunkOffset":4,"chunkSize":6"#)
        ),
        format!(
            "{},{}",
            file("b", 200, 300, r#","chunkSize":4"#),
            chunk("b", r#""offset":300,"chunkOffset":4,"chunkSize":6"#)
        ),
    ] {
        assert_eq!(problem(&entries), EntryProblem::Place, "{entries}");
    }
}

#[test]
fn chunks_that_do_not_tile_are_refused() {
    let first = file("b", 200, 300, r#","chunkSize":4"#);
    for second in [
        String::new(),
        format!(",{}", chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":5"#)),
        format!(",{}", chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":7"#)),
        format!(",{}", chunk("b", r#""offset":250,"chunkOffset":5,"chunkSize":5"#)),
        format!(",{}", chunk("b", r#""offset":250,"chunkOffset":3,"chunkSize":7"#)),
        format!(",{}", chunk("b", r#""offset":250,"chunkSize":10"#)),
        format!(
            ",{}",
            chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":9223372036854775807"#)
        ),
    ] {
        assert_eq!(problem(&format!("{first}{second}")), EntryProblem::Tiling, "{second}");
    }
    let whole = file("a", 100, 200, "");
    let extra = chunk("a", r#""offset":150,"chunkOffset":10,"chunkSize":1"#);
    assert_eq!(problem(&format!("{whole},{extra}")), EntryProblem::Tiling);
}

#[test]
fn a_chunk_follows_its_file() {
    let stray = chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":6"#);
    assert_eq!(problem(&stray), EntryProblem::Stray);
    let first = file("a", 200, 300, r#","chunkSize":4"#);
    assert_eq!(problem(&format!("{first},{stray}")), EntryProblem::Stray);
    let between = r#"{"type":"dir","name":"d"}"#;
    let first = file("b", 200, 300, r#","chunkSize":10"#);
    assert_eq!(problem(&format!("{first},{between},{stray}")), EntryProblem::Stray);
}

#[test]
fn numbers_times_and_texts_that_can_not_be_are_refused() {
    let dir = |more: &str| format!(r#"{{"type":"dir","name":"d",{more}}}"#);
    for (fields, expected) in [
        (r#""uid":4294967295"#, EntryProblem::Id(4_294_967_295)),
        (r#""gid":4294967296"#, EntryProblem::Id(4_294_967_296)),
        (r#""mode":65536"#, EntryProblem::Mode(65536)),
        (r#""modtime":"yesterday""#, EntryProblem::Time("yesterday".into())),
        (r#""xattrs":{"":"YQ=="}"#, EntryProblem::Xattr(String::new())),
        (r#""xattrs":{"user.a":"YQ"}"#, EntryProblem::Xattr("user.a".into())),
        (r#""xattrs":{"user.a":"YQ==","user.a":"YQ=="}"#, EntryProblem::Xattr("user.a".into())),
    ] {
        assert_eq!(problem(&dir(fields)), expected, "{fields}");
    }
    let char = r#"{"type":"char","name":"c","devMajor":4294967296}"#;
    assert_eq!(problem(char), EntryProblem::Device(4_294_967_296));
    assert_eq!(problem(r#"{"type":"sparse","name":"c"}"#), EntryProblem::Type("sparse".into()));
    let text = digest("x");
    let full = format!(r#"{{"type":"reg","name":"c","digest":"{text}"}}"#);
    assert_eq!(problem(&full), EntryProblem::NotEmpty);
    let none = r#"{"type":"reg","name":"c","size":1,"offset":1,"endOffset":2}"#;
    assert_eq!(problem(none), EntryProblem::NoDigest);
}

#[test]
fn names_that_make_no_plain_tree_are_refused() {
    let entry = |kind: &str, name: &str| format!(r#"{{"type":"{kind}","name":"{name}"}}"#);
    let link = |name: &str, to: &str| {
        format!(r#"{{"type":"hardlink","name":"{name}","linkName":"{to}"}}"#)
    };
    for (entries, expected) in [
        ([entry("reg", "../x"), entry("reg", "y")], "leaves the layer's root"),
        ([entry("reg", "./x"), entry("reg", "x")], "name of another entry"),
        ([entry("dir", "x/"), entry("dir", "a/../x")], "name of another entry"),
        ([entry("reg", ".wh.x"), entry("dir", "x")], "name of another entry"),
        ([entry("symlink", "l"), entry("reg", "l/x")], "no directory"),
        ([entry("reg", "l/a/x"), entry("symlink", "l")], "no directory"),
        ([entry("reg", ".wh.d"), entry("reg", "d/x")], "no directory"),
        ([link("h", "x"), entry("reg", "x")], "no file that comes before"),
        ([entry("dir", "d"), link("h", "d")], "no file that comes before"),
        ([entry("reg", "x"), link("h", "../x")], "leaves the layer's root"),
        ([entry("reg", "x"), link("h", "h")], "no file that comes before"),
    ] {
        let text = problem(&entries.join(",")).to_string();
        assert!(text.contains(expected), "{entries:?}: {text}");
    }
    for entries in [
        [entry("dir", "d"), entry("reg", "d/x")],
        [entry("reg", "d/x"), entry("dir", "d")],
        [entry("reg", ".wh..wh..opq"), entry("reg", ".wh.x")],
        [entry("symlink", "x"), link("h", "./x")],
        [entry("reg", "d/.wh.x"), entry("reg", "x")],
    ] {
        assert!(read(&entries.join(",")).is_ok(), "{entries:?}");
    }
    let whiteout = file(".wh.x", 100, 200, "");
    assert_eq!(problem(&whiteout), EntryProblem::Whiteout);
}

#[test]
fn rows_are_small() {
    assert!(size_of::<Record>() + size_of::<Content>() <= 128);
    assert!(size_of::<ChunkRecord>() <= 64);
    assert!(size_of::<Extra>() <= 80);
}

#[test]
fn limits_hold() {
    let limits = Limits { entries: 2, ..Limits::default() };
    let entries =
        r#"{"type":"dir","name":"a"},{"type":"dir","name":"b"},{"type":"dir","name":"c"}"#;
    let json = format!(r#"{{"entries":[{entries}]}}"#);
    let outcome = Toc::read(json.as_bytes(), &limits);
    assert!(matches!(outcome, Err(TocError::TooMany { limit: 2 })));
}

#[test]
fn the_digest_of_tar_split_is_found_wherever_it_stands() {
    let text = digest("x");
    for json in [
        format!(r#"{{"tarSplitDigest":"{text}","entries":[]}}"#),
        format!(r#"{{"entries":[],"TARSPLITDIGEST":"{text}"}}"#),
    ] {
        let toc = Toc::read(json.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(toc.tar_split_digest(), Some(&text));
    }
    for json in [
        format!(r#"{{"tarSplitDigest":"{text}","tarsplitdigest":"{text}"}}"#),
        r#"{"tarSplitDigest":"md5:0"}"#.into(),
        r#"{"tarSplitDigest":7}"#.into(),
        r#"{"version":"one"}"#.into(),
        r#"{"other":[1,}"#.into(),
        r#"{"":1}"#.into(),
    ] {
        assert!(Toc::read(json.as_bytes(), &Limits::default()).is_err(), "{json}");
    }
}

#[test]
fn a_usual_entry_takes_less_than_its_share_of_memory() {
    let mut json = String::new();
    for i in 0..20_000_u64 {
        let name = format!("usr/share/some/package/with/files/number-{i:08}/file.txt");
        let entry = file(&name, i, i + 1, r#","modtime":"2024-02-29T12:00:00.5Z","uid":7"#);
        write!(json, "{}{entry}", if i == 0 { "" } else { "," }).unwrap();
    }
    let json = format!(r#"{{"entries":[{json}]}}"#);
    let toc = Toc::read(json.as_bytes(), &Limits::default()).unwrap();
    let bytes = toc.records.capacity() * size_of::<Record>()
        + toc.contents.capacity() * size_of::<Content>()
        + toc.chunks.capacity() * size_of::<ChunkRecord>()
        + toc.extras.capacity() * size_of::<Extra>()
        + toc.names.bytes()
        + toc.arena.capacity();
    // A directory of its own for each: usual ones hold several files.
    assert!(bytes / toc.len() <= 170, "{} bytes", bytes / toc.len());
}

#[test]
fn texts_have_a_bound() {
    let of = |count: usize, entry: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (0..count).map(entry).collect();
        read(&entries.join(","))
    };
    let (long, deep) = ("x".repeat(6000), vec!["x".repeat(250); 15].join("/"));
    let kinds: [&dyn Fn(usize) -> String; 3] = [
        &|n| format!(r#"{{"type":"dir","name":"{n}/{deep}"}}"#),
        &|n| format!(r#"{{"type":"symlink","name":"{n}","linkName":"{long}"}}"#),
        &|n| format!(r#"{{"type":"reg","name":"{n}","xattrs":{{"user.a":"{long}"}}}}"#),
    ];
    for kind in kinds {
        assert!(of(2500, kind).is_ok(), "9, 15 and 11 MB");
        assert!(matches!(of(5000, kind), Err(TocError::TooMuchText)), "19, 30 and 22 MB");
    }
    // What is above many stands there once.
    let below = |n| format!(r#"{{"type":"fifo","name":"{deep}/{n}"}}"#);
    assert!(of(5000, &below).is_ok());
}

proptest! {
    #[test]
    fn chunks_of_any_accepted_file_tile_it(
        sizes in proptest::collection::vec((0..20_u64, 0..4_u64, any::<bool>()), 1..12),
    ) {
        let total: u64 = sizes.iter().map(|(size, ..)| size).sum();
        let (mut at, mut place) = (0, 1);
        let mut entries = String::new();
        for (i, (size, frame, hole)) in sizes.iter().enumerate() {
            let kind = if *hole { r#","chunkType":"zeros""# } else { "" };
            let rest = format!(r#""offset":{place},"chunkOffset":{at},"chunkSize":{size}{kind}"#);
            if i == 0 {
                let digest = digest("x");
                let end: u64 = 1 + sizes.iter().map(|(_, frame, _)| frame).sum::<u64>();
                entries = format!(
                    r#"{{"type":"reg","name":"a","size":{total},"digest":"{digest}","endOffset":{end},{rest}}}"#
                );
            } else {
                write!(entries, ",{}", chunk("a", &rest)).unwrap();
            }
            at += size;
            place += frame;
        }
        if let Ok(toc) = read(&entries) {
            let (mut at, mut place) = (0, 0);
            for file in toc.files() {
                for chunk in file.chunks() {
                    prop_assert_eq!(chunk.file_offset, at);
                    prop_assert!(chunk.offset >= place && chunk.end >= chunk.offset);
                    prop_assert!(chunk.hole || chunk.end > chunk.offset);
                    (at, place) = (at + chunk.size, chunk.end);
                }
                prop_assert_eq!(at, file.size());
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        cut in 0..400_usize, byte in any::<u8>(), at in 0..400_usize,
    ) {
        let mut json = format!(
            r#"{{"version":1,"entries":[{},{}]}}"#,
            file("b", 200, 300, r#","chunkSize":4"#),
            chunk("b", r#""offset":250,"chunkOffset":4,"chunkSize":6"#)
        ).into_bytes();
        let length = json.len();
        json[at % length] = byte;
        json.truncate(length.saturating_sub(cut / 20));
        if let Ok(toc) = Toc::read(&json[..], &Limits::default()) {
            prop_assert!(toc.entries().count() == toc.len());
        }
    }
}
