//! tar-split: what Go's library of that name writes for the same stream, and what
//! no reader takes.

mod common;

use std::io::Write;

use common::{exact, file, take_apart, tar_of};
use storage_core::{Digest, Entry, EntryKind};
use tarball::{
    Limits, RebuildError, Segment, SegmentProblem, SplitLimits, SplitPart, TarError,
    TarSplitEntries, TarSplitError, TarSplitReader, TarSplitWriter, rebuild,
};

fn segments(split: &[u8]) -> Result<Vec<Segment>, TarSplitError> {
    TarSplitReader::new(split, SplitLimits::default()).collect()
}

fn parts(split: &[u8]) -> Result<Vec<SplitPart>, TarSplitError> {
    TarSplitEntries::new(split, SplitLimits::default(), Limits::default()).collect()
}

/// A stream with names that JSON has to escape, or cannot hold.
fn odd_stream() -> Vec<u8> {
    let with = |name: &[u8], content: &[u8]| {
        let entry = Entry { name: name.to_vec(), size: content.len() as u64, ..file("") };
        (entry, content.to_vec())
    };
    let directory = Entry { kind: EntryKind::Directory, ..file("./") };
    let entries = [
        (directory, Vec::new()),
        with(b"hello", b"hello world\n"),
        with(b"empty", b""),
        with("<&> \"\\\u{2028}\u{7f}\u{1}\t\u{e9}\u{1f980}".as_bytes(), b"x"),
        with(b"raw-\xff\xfe", &[b'r'; 1000]),
        with(&b"long/".repeat(60), b"long"),
        with(b"big", &(0..=255).cycle().take(100_000).collect::<Vec<u8>>()),
    ];
    [tar_of(&entries, exact()), vec![0; 7168]].concat()
}

/// The digest was computed from what `asm.NewInputTarStream` of tar-split 0.11.2 and
/// `storage.NewJSONPacker` write for this stream, without the empty segment that this
/// version had at the end.
#[test]
fn equals_what_go_writes() {
    let stream = odd_stream();
    let split = take_apart(&stream[..], Limits::default()).unwrap().tar_split;
    let text = std::str::from_utf8(&split).unwrap();
    let files = text.lines().filter(|line| line.contains(r#""type":1"#));
    let long = format!(
        r#"{{"type":1,"name":"{}","size":4,"payload":"Mb2MPtAAAAA=","position":11}}"#,
        "long/".repeat(60)
    );
    let expected = [
        r#"{"type":1,"name":"./","payload":null,"position":1}"#,
        r#"{"type":1,"name":"hello","size":12,"payload":"ROnPP1cq2aw=","position":3}"#,
        r#"{"type":1,"name":"empty","payload":null,"position":5}"#,
        concat!(
            r#"{"type":1,"name":"\u003c\u0026\u003e \"\\\u2028"#,
            "\u{7f}",
            r#"\u0001\té🦀","size":1,"payload":"IxAAAAAAAAA=","position":7}"#
        ),
        r#"{"type":1,"name_raw":"cmF3Lf/+","size":1000,"payload":"ncU8ZI6QMds=","position":9}"#,
        &long,
        r#"{"type":1,"name":"big","size":100000,"payload":"8EQQ65Li0wQ=","position":13}"#,
    ];
    assert_eq!(files.collect::<Vec<_>>(), expected);
    assert_eq!(
        Digest::of(&split).hex(),
        "dc7163d5f98a04e3c4a5147adf1e4dc8c8af78b28b20f5a4fbeacce197ba24da"
    );
}

/// A tar-split of a few lines.
fn lines(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

#[test]
fn lines_are_read_as_go_reads_them() {
    let split = lines(&[
        r#"{"type":2,"payload":"YWJj","position":0}"#,
        "",
        r#" { "position":1, "type":1, "name":"n\u00e9", "payload":null, "more":{} }"#,
        r#"{"type":1,"name_raw":"/w==","size":3,"payload":"AAAAAAAAAAE=","position":2}"#,
        r#"{"type":2,"payload":"","position":3}"#,
        r#"{"type":2,"payload":null,"position":4}"#,
    ]);
    let file = |name: &[u8], size, crc64| Segment::File { name: name.to_vec(), size, crc64 };
    let (raw, none) = (Segment::Raw(b"abc".to_vec()), Segment::Raw(Vec::new()));
    let expected = [raw, file("né".as_bytes(), 0, 0), file(b"\xff", 3, 1), none.clone(), none];
    let mut reader = TarSplitReader::new(&split[..], SplitLimits::default());
    let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(read, expected);
    assert_eq!(reader.tar_size(), 6);
    // The last line needs no end.
    assert_eq!(segments(&split[..split.len() - 1]).unwrap(), expected);
}

#[test]
fn lines_that_are_no_segments_are_refused() {
    use SegmentProblem::{Base64, Checksum, Name, Position, Size, Type};
    for (line, expected) in [
        (r#"{"type":0,"position":0}"#, Type),
        (r#"{"type":3,"position":0}"#, Type),
        (r#"{"type":2,"payload":"","position":1}"#, Position),
        (r#"{"type":1,"name":"a","name_raw":"YQ==","payload":null,"position":0}"#, Name),
        (r#"{"type":2,"payload":"YQ","position":0}"#, Base64),
        (r#"{"type":2,"payload":"Y\nQ==","position":0}"#, Base64),
        (r#"{"type":1,"name_raw":"?","payload":null,"position":0}"#, Base64),
        (r#"{"type":1,"name":"a","size":1,"payload":null,"position":0}"#, Checksum),
        (r#"{"type":1,"name":"a","size":1,"payload":"AAAA","position":0}"#, Checksum),
        (r#"{"type":1,"name":"a","size":-1,"payload":null,"position":0}"#, Size),
    ] {
        match segments(&lines(&[line])) {
            Err(TarSplitError::Segment { line: 1, problem }) => assert_eq!(problem, expected),
            other => panic!("{line}: {other:?}"),
        }
    }
    for line in [
        "[]",
        "1",
        "{",
        r#"{"type":2,"payload":""}"#,
        r#"{"type":2,"payload":"","position":-1}"#,
        r#"{"type":1,"name":"a","size":9223372036854775808,"position":0}"#,
        r#"{"type":1,"name":"a","size":1.5,"position":0}"#,
        r#"{"type":2,"payload":"","position":0} {}"#,
    ] {
        let error = segments(&lines(&[line])).unwrap_err();
        assert!(matches!(error, TarSplitError::Json { line: 1, .. }), "{line}: {error:?}");
    }
}

#[test]
fn sizes_do_not_overflow() {
    let line = |name, size: i64, position| {
        format!(
            r#"{{"type":1,"name":"{name}","size":{size},"payload":"AAAAAAAAAAA=","position":{position}}}"#
        )
    };
    let (large, one) = (line("a", i64::MAX, 0), line("b", 1, 1));
    assert_eq!(segments(&lines(&[&large])).unwrap().len(), 1);
    let error = segments(&lines(&[&large, &one])).unwrap_err();
    let size = SegmentProblem::Size;
    assert!(matches!(error, TarSplitError::Segment { line: 2, problem } if problem == size));
}

#[test]
fn a_name_that_comes_twice_is_told_by_the_writer_and_refused_by_the_reader() {
    let mut writer = TarSplitWriter::new(Vec::new());
    for name in ["a/b", "a", "./a//b/"] {
        assert_eq!(writer.duplicate_name(), None);
        writer.entry(name.as_bytes(), 0).unwrap();
    }
    assert_eq!(writer.duplicate_name(), Some(&b"./a//b/"[..]));
    let error = segments(&writer.finish().unwrap()).unwrap_err();
    assert!(matches!(error, TarSplitError::Duplicate { name } if name == b"./a//b/"));
}

#[test]
fn contents_must_be_of_the_size_that_was_told() {
    let writer = || {
        let mut writer = TarSplitWriter::new(Vec::new());
        writer.entry(b"a", 3).unwrap();
        writer.content(b"ab").unwrap();
        writer
    };
    assert!(writer().content(b"cd").is_err());
    assert!(writer().raw(b"header").is_err());
    assert!(writer().entry(b"b", 0).is_err());
    assert!(writer().finish().is_err());
    let mut complete = writer();
    complete.content(b"c").unwrap();
    complete.finish().unwrap();
}

#[test]
fn limits_hold() {
    let split = take_apart(&odd_stream()[..], Limits::default()).unwrap().tar_split;
    let with = |change: fn(&mut SplitLimits)| {
        let mut limits = SplitLimits::default();
        change(&mut limits);
        TarSplitReader::new(&split[..], limits).collect::<Result<Vec<_>, _>>()
    };
    let what = |result| match result {
        Err(TarSplitError::TooMuch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(with(|limits| limits.line_bytes = 700)), "bytes in a line");
    assert_eq!(what(with(|limits| limits.total_bytes = 5000)), "bytes");
    assert_eq!(what(with(|limits| limits.entries = 6)), "entries");
    assert!(with(|limits| limits.entries = 7).is_ok());
    let longest = split.split(|&byte| byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest > 9000);
    assert!(with(|limits| limits.line_bytes = 9600).is_ok());
}

/// Writes segments and files, whatever they are.
fn split_of(segments: &[Segment]) -> Vec<u8> {
    let mut writer = TarSplitWriter::new(Vec::new());
    for segment in segments {
        match segment {
            Segment::Raw(bytes) => writer.raw(bytes).unwrap(),
            Segment::File { name, size, .. } => {
                writer.entry(name, *size).unwrap();
                writer.content(&vec![0; usize::try_from(*size).unwrap()]).unwrap();
            }
        }
    }
    writer.finish().unwrap()
}

fn header(entry: &Entry) -> Vec<u8> {
    let content = vec![0; usize::try_from(entry.size).unwrap()];
    let mut tar = tar_of(&[(entry.clone(), content)], exact());
    tar.truncate(512);
    tar
}

fn file_of(name: &str, size: u64) -> Segment {
    Segment::File { name: name.into(), size, crc64: 0 }
}

#[test]
fn a_file_must_be_the_one_that_its_header_announces() {
    let a = Entry { size: 3, ..file("a") };
    let raw = || Segment::Raw(header(&a));
    let disagrees = |segments: &[Segment]| match parts(&split_of(segments)) {
        Err(TarSplitError::Disagrees { name }) => String::from_utf8(name).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(parts(&split_of(&[raw(), file_of("a", 3)])).is_ok());
    assert_eq!(disagrees(&[raw(), file_of("b", 3)]), "b");
    assert_eq!(disagrees(&[raw(), file_of("./a", 3)]), "./a");
    assert_eq!(disagrees(&[raw(), file_of("a", 4)]), "a");
    assert_eq!(disagrees(&[file_of("a", 3)]), "a");
    assert_eq!(disagrees(&[raw(), file_of("a", 3), file_of("b", 0)]), "b");
    let half = Segment::Raw(header(&a)[..256].to_vec());
    assert_eq!(disagrees(&[half.clone(), file_of("a", 3)]), "a");

    // Nor is there a header without its file.
    let two = [header(&a), header(&file("b"))].concat();
    for segments in [&[raw()][..], &[Segment::Raw(two), file_of("b", 0)]] {
        let error = parts(&split_of(segments)).unwrap_err();
        assert!(matches!(error, TarSplitError::NoFile { name } if name == b"a"));
    }
    let error = parts(&split_of(&[half])).unwrap_err();
    assert!(matches!(error, TarSplitError::Header(TarError::CutHeader { offset: 256 })));
    let error = parts(&split_of(&[Segment::Raw(vec![7; 512])])).unwrap_err();
    assert!(matches!(error, TarSplitError::Header(TarError::Checksum { offset: 0 })));
}

#[test]
fn nothing_comes_after_the_end_of_the_entries() {
    let end = Segment::Raw(vec![0; 1024]);
    let hidden = Segment::Raw(header(&file("hidden")));
    assert!(parts(&split_of(&[end.clone(), hidden.clone()])).is_ok());
    let error = parts(&split_of(&[end, hidden, file_of("hidden", 0)])).unwrap_err();
    assert!(matches!(error, TarSplitError::Disagrees { name } if name == b"hidden"));
}

#[test]
fn how_raw_bytes_are_cut_into_segments_does_not_matter() {
    let a = Entry { size: 3, ..file("a") };
    let raw = |bytes: &[u8]| Segment::Raw(bytes.to_vec());
    let (first, second) = (header(&a), header(&file("b")));
    let segments = [
        raw(&first[..100]),
        raw(&first[100..]),
        file_of("a", 3),
        raw(&[0; 200]),
        raw(&[&[0; 309][..], &second[..1]].concat()),
        raw(&second[1..]),
        file_of("b", 0),
        // As Go's own writer, fed through a pipe, ends a stream.
        raw(&[0; 512]),
        raw(&[0; 500]),
        raw(&[0; 12]),
        raw(&[0; 77]),
    ];
    let entries: Vec<_> = parts(&split_of(&segments)).unwrap();
    let entries = entries.iter().filter_map(|part| match part {
        SplitPart::File { entry, .. } => Some(entry.clone()),
        _ => None,
    });
    assert_eq!(entries.collect::<Vec<_>>(), [a, file("b")]);
}

/// A global header with a record of nine bytes, not padded.
fn global_header() -> Vec<u8> {
    let mut block = header(&file("pax_global_header"));
    block[156] = b'g';
    block[124..136].copy_from_slice(b"00000000011\0");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(b"9 path=x\n");
    block
}

#[test]
fn global_headers_without_files_are_counted() {
    let global = [global_header(), vec![0; 503]].concat();
    let split = split_of(&[Segment::Raw(global.repeat(5))]);
    let read = |entries| {
        let mut limits = Limits::default();
        limits.entries = entries;
        let parts = TarSplitEntries::new(&split[..], SplitLimits::default(), limits);
        parts.collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(read(5).unwrap().len(), 1);
    assert!(matches!(read(4), Err(TarSplitError::TooMuch { limit: 4, .. })));
}

#[test]
fn a_global_header_may_or_may_not_have_a_file() {
    let block = global_header();
    let rest = [vec![0; 503], header(&file("a"))].concat();

    let global = file_of("pax_global_header", 0);
    let now = [Segment::Raw(block.clone()), global, Segment::Raw(rest.clone()), file_of("a", 0)];
    let before = [Segment::Raw([block, rest].concat()), file_of("a", 0)];
    let kinds = |segments: &[Segment]| {
        let parts = parts(&split_of(segments)).unwrap();
        let kind = |part: &SplitPart| match part {
            SplitPart::Raw(_) => 'r',
            SplitPart::File { .. } => 'f',
            SplitPart::Global(_) => 'g',
            _ => '?',
        };
        parts.iter().map(kind).collect::<String>()
    };
    assert_eq!(kinds(&now), "rgrf");
    assert_eq!(kinds(&before), "rf");
}

#[test]
fn a_stream_is_rebuilt_of_the_right_files_only() {
    let stream = odd_stream();
    let apart = take_apart(&stream[..], Limits::default()).unwrap();
    let try_with = |change: fn(&mut Vec<u8>)| {
        let open = |name: &[u8], _| {
            let index = apart.entries.iter().position(|entry| entry.name == name).unwrap();
            let mut content = apart.contents[index].clone();
            if name == b"hello" {
                change(&mut content);
            }
            Ok(std::io::Cursor::new(content))
        };
        let reader = TarSplitReader::new(&apart.tar_split[..], SplitLimits::default());
        let mut out = Vec::new();
        rebuild(reader, open, &mut out).map(|size| (size, out))
    };
    let (size, out) = try_with(|_| ()).unwrap();
    assert!(out == stream);
    assert_eq!(size, stream.len() as u64);
    let changes: [fn(&mut Vec<u8>); 4] = [
        |content| content[0] = b'j',
        |content| content.push(0),
        |content| content.truncate(11),
        Vec::clear,
    ];
    for change in changes {
        let error = try_with(change).unwrap_err();
        assert!(matches!(error, RebuildError::Changed { name } if name == b"hello"));
    }
}

#[test]
fn a_full_output_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let stream = odd_stream();
    let mut tar =
        tarball::TarReader::new(&stream[..], Limits::default(), TarSplitWriter::new(Full));
    let error = tar.next_entry().unwrap_err();
    assert!(matches!(&error, TarError::Record { offset: 0, .. }));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::StorageFull);
    let split = take_apart(&stream[..], Limits::default()).unwrap().tar_split;
    let reader = TarSplitReader::new(&split[..], SplitLimits::default());
    let open = |_: &[u8], _: u64| -> std::io::Result<&[u8]> { unreachable!() };
    assert!(matches!(rebuild(reader, open, Full), Err(RebuildError::Write(_))));
}
