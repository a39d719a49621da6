//! Laws that hold for every tree and for every stream of bytes.

mod common;

use std::io::{self, Read};

use common::{exact, file, round_trip, take_apart, tar_of};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use storage_core::{Entry, EntryKind, Time};
use tarball::{
    Limits, SplitLimits, TarReader, TarSplitEntries, TarSplitReader, TarSplitWriter, WriterOptions,
};

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{1,3}(/[a-c]{1,3}){0,3}/?".prop_map(String::into_bytes),
        1 => "(\\./)?[a-zé<&\"\\\\\n]{1,130}(/[a-z]{1,130}){0,2}".prop_map(String::into_bytes),
        1 => vec(1..=255u8, 1..300),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    let number = 0..=0o777_7777u32;
    prop_oneof![
        4 => Just(EntryKind::Regular),
        2 => Just(EntryKind::Directory),
        1 => name().prop_map(|target| EntryKind::Symlink { target }),
        1 => name().prop_map(|target| EntryKind::HardLink { target }),
        1 => (number.clone(), number.clone())
            .prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => (number.clone(), number)
            .prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
        1 => Just(EntryKind::Fifo),
    ]
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![0..2000u32, 2_097_150..2_097_155u32, u32::MAX - 3..u32::MAX]
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = prop_oneof![
        -3..3i64,
        1_600_000_000..1_800_000_000i64,
        (1 << 33) - 2..(1 << 33) + 2i64,
        // The parser takes a negative time apart as Go does, so its very first second is out.
        i64::MIN + 1..i64::MAX,
    ];
    (seconds, prop_oneof![Just(0), 0..1_000_000_000u32])
        .prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

fn xattrs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let key = vec(prop_oneof![1..b'=', b'=' + 1..=255u8], 1..20);
    btree_map(key, vec(any::<u8>(), 0..60), 0..3).prop_map(|map| map.into_iter().collect())
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let content = (0..3000usize, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]);
    let times = (time(), proptest::option::of(time()), proptest::option::of(time()));
    (name(), kind(), 0..=0o7777u32, (id(), id()), times, xattrs(), content).prop_map(
        |(name, kind, mode, (uid, gid), (mtime, atime, ctime), xattrs, content)| {
            let content = if kind == EntryKind::Regular { content } else { Vec::new() };
            let size = content.len() as u64;
            let entry = Entry { name, kind, mode, uid, gid, size, mtime, atime, ctime, xattrs };
            (entry, content)
        },
    )
}

/// Gives as many bytes at a time as a list says, again and again.
struct Uneven<'a> {
    stream: &'a [u8],
    counts: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Uneven<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(*self.counts.next().unwrap());
        self.stream.read(&mut out[..count])
    }
}

/// A stream in which a few bytes are others, with checksums made right again.
fn damaged(mut stream: Vec<u8>, damage: &[(usize, u8)]) -> Vec<u8> {
    for &(at, byte) in damage {
        let length = stream.len();
        stream[at % length] = byte;
    }
    for block in stream.as_chunks_mut::<512>().0 {
        if block[156] != 0 || block[257] == b'u' {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(entries in vec(entry(), 0..6)) {
        let tar = tar_of(&entries, exact());
        let apart = round_trip(&tar);
        let (written, contents): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        prop_assert_eq!(apart.entries, written);
        prop_assert_eq!(apart.contents, contents);
    }

    #[test]
    fn times_are_whole_seconds_unless_asked(entries in vec(entry(), 0..4)) {
        let apart = round_trip(&tar_of(&entries, WriterOptions::default()));
        for (read, (written, _)) in apart.entries.iter().zip(&entries) {
            let mtime = Time { nanoseconds: 0, ..written.mtime };
            let expected = Entry { mtime, atime: None, ctime: None, ..written.clone() };
            prop_assert_eq!(read, &expected);
        }
    }

    #[test]
    fn the_size_of_reads_does_not_matter(
        entries in vec(entry(), 0..5),
        counts in vec(1..2000usize, 1..5),
        keep in 0..2000usize,
    ) {
        let tar = tar_of(&entries, exact());
        let uneven = || Uneven { stream: &tar, counts: counts.iter().cycle() };
        let once = take_apart(&tar[..], Limits::default()).unwrap();
        prop_assert_eq!(&once, &take_apart(uneven(), Limits::default()).unwrap());

        // Nor does how much of each content is read.
        let tar_split = TarSplitWriter::new(Vec::new());
        let mut reader = TarReader::new(uneven(), Limits::default(), tar_split);
        let mut seen = 0;
        while let Some(entry) = reader.next_entry().unwrap() {
            prop_assert_eq!(&entry, &once.entries[seen]);
            let mut content = Vec::new();
            reader.content().take(keep as u64).read_to_end(&mut content).unwrap();
            let whole = &once.contents[seen];
            prop_assert_eq!(&content[..], &whole[..whole.len().min(keep)]);
            seen += 1;
        }
        let (_, tar_split) = reader.finish().unwrap();
        prop_assert_eq!(seen, once.entries.len());
        prop_assert!(tar_split.finish().unwrap() == once.tar_split);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..3000)) {
        if let Ok(apart) = take_apart(&bytes[..], Limits::default()) {
            prop_assert_eq!(apart.joined, bytes);
        }
    }

    #[test]
    fn any_damage_is_read_or_refused_alike(
        entries in vec(entry(), 1..4),
        damage in vec((any::<usize>(), any::<u8>()), 1..12),
    ) {
        let tar = damaged(tar_of(&entries, exact()), &damage);
        if take_apart(&tar[..], Limits::default()).is_ok() {
            // Then the tar-split has the same entries and gives the same stream.
            round_trip(&tar);
        }
    }

    #[test]
    fn any_tar_split_is_read_or_refused(
        entries in vec(entry(), 1..4),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(),
    ) {
        let mut split = take_apart(&tar_of(&entries, exact())[..], Limits::default())
            .unwrap().tar_split;
        for (at, byte) in damage {
            let length = split.len();
            split[at % length] = byte;
        }
        split.truncate(cut % (2 * split.len()));
        let limits = SplitLimits::default;
        let raw = TarSplitReader::new(&split[..], limits()).try_fold((), |(), item| item.map(drop));
        let parsed = TarSplitEntries::new(&split[..], limits(), Limits::default())
            .try_fold((), |(), item| item.map(drop));
        prop_assert!(raw.is_ok() || parsed.is_err());
    }
}

#[test]
fn a_stream_cut_anywhere_is_read_up_to_there_or_refused() {
    let content = vec![b'x'; 700];
    let entries = [
        (Entry { size: 700, ..file("file") }, content),
        (Entry { uid: u32::MAX - 1, ..file("pax") }, Vec::new()),
        (Entry { size: 3, ..file("last") }, b"abc".to_vec()),
    ];
    let tar = tar_of(&entries, exact());
    let whole = take_apart(&tar[..], Limits::default()).unwrap();
    // Where an entry, or its content, is complete; anything may be missing of the padding.
    let header = 512;
    let file = header + 700..=header + 1024;
    let pax = header + 1024 + 3 * header..=header + 1024 + 3 * header;
    let last = pax.end() + header + 3..=pax.end() + 2 * header;
    let one_zero_block = last.end() + header;
    assert_eq!(tar.len(), one_zero_block + header);
    for cut in 0..=tar.len() {
        let complete = match cut {
            0 => Some(0),
            cut if file.contains(&cut) => Some(1),
            cut if pax.contains(&cut) => Some(2),
            cut if last.contains(&cut) || cut == one_zero_block || cut == tar.len() => Some(3),
            _ => None,
        };
        let apart = take_apart(&tar[..cut], Limits::default());
        let entries = apart.as_ref().ok().map(|apart| apart.entries.len());
        assert_eq!(entries, complete, "cut at {cut}");
        if let Ok(apart) = apart {
            assert_eq!(apart.joined, &tar[..cut]);
            assert_eq!(apart.entries, whole.entries[..apart.entries.len()]);
            round_trip(&tar[..cut]);
        }
    }
}

#[test]
fn a_tar_split_cut_anywhere_never_has_an_entry_too_much() {
    let entries = [(Entry { size: 3, ..file("a") }, b"abc".to_vec()), (file("b"), Vec::new())];
    let whole = take_apart(&tar_of(&entries, exact())[..], Limits::default()).unwrap();
    for cut in 0..whole.tar_split.len() {
        let split = &whole.tar_split[..cut];
        let parts = TarSplitEntries::new(split, SplitLimits::default(), Limits::default());
        let names: Vec<_> = parts
            .filter_map(|part| match part {
                Ok(tarball::SplitPart::File { entry, .. }) => Some(entry),
                _ => None,
            })
            .collect();
        assert_eq!(names, whole.entries[..names.len()]);
    }
}
