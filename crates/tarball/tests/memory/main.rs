//! Memory stays bounded, whatever a stream says.

#[path = "../common/mod.rs"]
mod common;
mod sys;

use std::io::{self, BufReader, Read};

use common::{exact, file, tar_of};
use storage_core::Entry;
use sys::peak;
use tarball::{
    Limits, Parts, Sink, SplitLimits, TarError, TarReader, TarSplitEntries, TarSplitError,
    TarSplitReader, TarSplitWriter,
};

const MIB: usize = 1 << 20;

/// The last result of reading all parts.
fn read(stream: impl Read) -> Result<(), TarError> {
    let mut parts = Parts::new(stream, Limits::default());
    let mut tar_split = TarSplitWriter::new(io::sink());
    while let Some(part) = parts.next_part()? {
        tar_split.part(&part).unwrap();
    }
    Ok(())
}

/// A header of this type and size, as an octal number.
fn header(flag: u8, size: &[u8; 12]) -> Vec<u8> {
    let mut block = tar_of(&[(file("name"), Vec::new())], exact());
    block.truncate(512);
    block[156] = flag;
    block[124..136].copy_from_slice(size);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[test]
fn sizes_are_not_believed_before_the_bytes_are_there() {
    for flag in *b"xgLK" {
        for size in [b"77777777777\0", b"00004000001\0", b"00003776000\0"] {
            let peak = peak(|| assert!(read(&header(flag, size)[..]).is_err()));
            assert!(peak < 2 * MIB, "{flag} {size:?}: {peak}");
        }
    }
    let peak = peak(|| assert!(read(&header(b'0', b"77777777777\0")[..]).is_err()));
    assert!(peak < MIB, "{peak}");
}

#[test]
fn content_and_trailer_flow_through() {
    let content = header(b'0', b"00100000000\0");
    let bytes = peak(|| read(content.chain(io::repeat(7).take(16 << 20))).unwrap());
    assert!(bytes < MIB, "{bytes}");
    let end = [header(b'0', b"00000000000\0"), vec![0; 1024]].concat();
    let bytes = peak(|| read(end.chain(io::repeat(7).take(16 << 20))).unwrap());
    assert!(bytes < 6 * MIB, "{bytes}");
}

#[test]
fn extension_headers_without_end_are_refused() {
    for block in [header(b'x', b"00000000000\0"), header(b'L', b"00000001000\0")] {
        let blocks = block.repeat(10_000);
        let bytes = peak(|| {
            let error = read(&blocks[..]).unwrap_err();
            assert!(matches!(error, TarError::TooLong { .. }), "{error:?}");
        });
        assert!(bytes < 4 * MIB, "{bytes}");
    }
}

#[test]
fn many_entries_take_few_bytes_each() {
    const ENTRIES: usize = 20_000;
    let entries: Vec<_> = (0..ENTRIES).map(|n| (file(&format!("dir/{n}")), Vec::new())).collect();
    let tar = tar_of(&entries, exact());
    let mut split = Vec::new();
    let bytes = peak(|| {
        let mut tar = TarReader::new(&tar[..], Limits::default(), TarSplitWriter::new(&mut split));
        while tar.next_entry().unwrap().is_some() {}
        tar.finish().unwrap().1.finish().unwrap();
    });
    // Of the output, which grows by doubling, there are two for a moment.
    assert!(bytes < 2 * split.capacity() + 40 * ENTRIES + MIB, "{bytes}");
    let bytes = peak(|| {
        let parts = TarSplitEntries::new(&split[..], SplitLimits::default(), Limits::default());
        assert_eq!(parts.map(Result::unwrap).count(), 2 * ENTRIES + 1);
    });
    assert!(bytes < 40 * ENTRIES + MIB / 10, "{bytes}");
}

#[test]
fn a_line_without_end_is_refused() {
    let endless = || BufReader::new(io::repeat(b'a'));
    let bytes = peak(|| {
        let mut reader = TarSplitReader::new(endless(), SplitLimits::default());
        let error = reader.next().unwrap().unwrap_err();
        assert!(matches!(error, TarSplitError::TooMuch { .. }));
        assert!(reader.next().is_none());
    });
    assert!(bytes < 33 * MIB, "{bytes}");
    let empty = BufReader::new(io::repeat(b'\n'));
    let mut limits = SplitLimits::default();
    limits.total_bytes = 1 << 20;
    let mut reader = TarSplitReader::new(empty, limits);
    assert!(matches!(reader.next(), Some(Err(TarSplitError::TooMuch { .. }))));
}

#[test]
fn a_header_in_many_segments_is_bounded_too() {
    let block = header(b'x', b"00000000000\0");
    let mut writer = TarSplitWriter::new(Vec::new());
    for _ in 0..10_000 {
        writer.raw(&block).unwrap();
    }
    let split = writer.finish().unwrap();
    let bytes = peak(|| {
        let parts = TarSplitEntries::new(&split[..], SplitLimits::default(), Limits::default());
        let error = parts.map(|part| part.map(drop)).find_map(Result::err).unwrap();
        assert!(matches!(error, TarSplitError::Header(TarError::TooLong { .. })), "{error:?}");
    });
    assert!(bytes < 4 * MIB, "{bytes}");
}

#[test]
fn contents_are_written_through_a_small_buffer() {
    let size = 16 << 20;
    let entry = Entry { size, ..file("large") };
    let bytes = peak(|| {
        let mut tar = tarball::TarWriter::new(io::sink(), exact());
        tar.entry(&entry, io::repeat(1).take(size)).unwrap();
        tar.finish().unwrap();
    });
    assert!(bytes < MIB, "{bytes}");
}
