//! Odd headers, one by one: what is read, what is refused, and how it is called.

mod common;

use common::{Apart, exact, file, round_trip, take_apart, tar_of};
use storage_core::{Entry, EntryKind, Time};
use tarball::{Limits, TarError};

/// A header block, written field by field.
#[derive(Clone)]
struct Block([u8; 512]);

impl Block {
    fn v7(name: &str, flag: u8) -> Self {
        let block = Self([0; 512]).put(0, name.as_bytes()).put(156, &[flag]);
        block.put(100, b"0000644\0").put(124, b"00000000000\0").put(136, b"00000000000\0")
    }

    fn ustar(name: &str, flag: u8) -> Self {
        Self::v7(name, flag).put(257, b"ustar\x0000")
    }

    fn gnu(name: &str, flag: u8) -> Self {
        Self::v7(name, flag).put(257, b"ustar  \0")
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn size(self, size: usize) -> Self {
        self.put(124, format!("{size:011o}").as_bytes())
    }

    fn checksum(self, of: impl Fn(u8) -> i32) -> Vec<u8> {
        let block = self.put(148, b"        ");
        let sum: i32 = block.0.iter().map(|&byte| of(byte)).sum();
        block.put(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
    }

    fn bytes(self) -> Vec<u8> {
        self.checksum(i32::from)
    }
}

/// A header with content, up to a whole block.
fn with(block: Block, content: &[u8]) -> Vec<u8> {
    let mut bytes = block.size(content.len()).bytes();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// The only entry of a stream.
fn only(headers: &[Vec<u8>]) -> Entry {
    let mut apart = all(headers);
    assert_eq!(apart.entries.len(), 1);
    apart.entries.remove(0)
}

fn all(headers: &[Vec<u8>]) -> Apart {
    round_trip(&[headers.concat(), vec![0; 1024]].concat())
}

fn refused(headers: &[Vec<u8>]) -> TarError {
    take_apart(&[headers.concat(), vec![0; 1024]].concat()[..], Limits::default()).unwrap_err()
}

fn name(entry: &Entry) -> &str {
    std::str::from_utf8(&entry.name).unwrap()
}

#[test]
fn archives_older_than_ustar() {
    let apart = all(&[
        with(Block::v7("file", 0), b"content"),
        Block::v7("dir/", 0).bytes(),
        // Size and all, a directory has no content.
        Block::v7("dir/sub/", 0).size(1000).bytes(),
        // Only the old type makes directories of names.
        Block::v7("file/", b'0').bytes(),
    ]);
    let kinds: Vec<_> = apart.entries.iter().map(|entry| (&entry.kind, entry.size)).collect();
    let (file, directory) = (&EntryKind::Regular, &EntryKind::Directory);
    assert_eq!(kinds, [(file, 7), (directory, 0), (directory, 0), (file, 0)]);
}

#[test]
fn what_has_no_content_has_none_whatever_its_size_says() {
    for flag in b'1'..=b'6' {
        let entry = only(&[Block::ustar("x", flag).put(157, b"target").size(4096).bytes()]);
        assert_eq!(entry.size, 0);
    }
    let apart = all(&[with(Block::ustar("contiguous", b'7'), b"content")]);
    assert_eq!(apart.contents, [b"content"]);
}

#[test]
fn names_of_each_format() {
    let prefix = |block: Block| block.put(345, b"prefix").bytes();
    let named = |bytes: Vec<u8>| String::from_utf8(only(&[bytes]).name).unwrap();
    assert_eq!(named(prefix(Block::ustar("name", b'0'))), "prefix/name");
    assert_eq!(named(prefix(Block::ustar("name", b'0').put(263, b"  "))), "prefix/name");
    assert_eq!(named(prefix(Block::v7("name", b'0'))), "name");
    // Where GNU tar has times, Go once wrote prefixes.
    assert_eq!(named(prefix(Block::gnu("name", b'0'))), "prefix/name");

    let star = Block::ustar("name", b'0').put(508, b"tar\0").put(345, &[b'p'; 131]);
    let star = star.put(476, b"00000000012\0").put(488, b"00000000013\0");
    let entry = only(&[star.bytes()]);
    assert_eq!(entry.name, [&[b'p'; 131][..], b"/name"].concat());
    assert_eq!(entry.atime, Some(Time { seconds: 0o12, nanoseconds: 0 }));
    assert_eq!(entry.ctime, Some(Time { seconds: 0o13, nanoseconds: 0 }));

    let long = only(&[Block::ustar(&"n".repeat(100), b'0').put(345, &[b'p'; 155]).bytes()]);
    assert_eq!(long.name.len(), 256);
}

#[test]
fn times_in_gnu_headers() {
    let entry = only(&[Block::gnu("f", b'0').put(345, b"00000000012\0").bytes()]);
    assert_eq!(entry.atime, Some(Time { seconds: 0o12, nanoseconds: 0 }));
    assert_eq!(entry.ctime, None);
    let entry = only(&[Block::gnu("f", b'0').put(136, &[0xff; 12]).bytes()]);
    assert_eq!(entry.mtime, Time { seconds: -1, nanoseconds: 0 });
}

#[test]
fn extensions_of_both_kinds() {
    let long = |flag, name: &[u8]| with(Block::gnu("././@LongLink", flag), name);
    let pax = |records: &[u8]| with(Block::ustar("PaxHeaders/x", b'x'), records);
    let link = Block::gnu("short", b'2').put(157, b"short");

    let entry = only(&[long(b'L', b"long\0"), long(b'K', b"far\0"), link.clone().bytes()]);
    assert_eq!(name(&entry), "long");
    assert_eq!(entry.kind, EntryKind::Symlink { target: b"far".to_vec() });
    // As in Go: GNU's name goes before that of PAX, and the last of a kind counts.
    let entry = only(&[long(b'L', b"1\0"), pax(b"9 path=p\n"), long(b'L', b"2"), link.bytes()]);
    assert_eq!(name(&entry), "2");
    let entry =
        only(&[pax(b"9 path=p\n9 uid=77\n"), pax(b"9 path=q\n"), Block::ustar("f", b'0').bytes()]);
    assert_eq!((name(&entry), entry.uid), ("q", 0));
    // Extensions speak of the next entry only.
    let apart = all(&[
        pax(b"9 path=p\n"),
        Block::ustar("f", b'0').bytes(),
        Block::ustar("g", b'0').bytes(),
    ]);
    assert_eq!(apart.entries.iter().map(name).collect::<Vec<_>>(), ["p", "g"]);
    // A size from there, too.
    let apart = all(&[
        pax(b"9 size=5\n"),
        Block::ustar("f", b'0').bytes(),
        [&b"12345"[..], &[0; 507]].concat(),
    ]);
    assert_eq!(apart.contents, [b"12345"]);
}

#[test]
fn global_headers_change_nothing() {
    let global = with(Block::ustar("pax_global_header", b'g'), b"9 path=p\n9 uid=77\n");
    let apart = all(&[global, Block::ustar("f", b'0').bytes()]);
    assert_eq!((name(&apart.entries[0]), apart.entries[0].uid), ("f", 0));
    assert_eq!(apart.globals, [b"pax_global_header"]);
}

#[test]
fn checksums_of_signed_bytes_are_good() {
    let block = Block::v7("f\u{e9}", b'0');
    let signed = |byte: u8| i32::from(byte.cast_signed());
    assert_eq!(name(&only(&[block.clone().checksum(signed)])), "f\u{e9}");
    let off_by_one = |byte| i32::from(byte) + i32::from(byte == b'f');
    assert!(matches!(refused(&[block.checksum(off_by_one)]), TarError::Checksum { offset: 0 }));
}

/// Longest piece of a trailer.
const PIECE: usize = 1 << 20;

#[test]
fn trailers() {
    let tar = tar_of(&[(file("f"), Vec::new())], exact());
    let raw = |rest: &[u8]| {
        let apart = round_trip(&[&tar[..], rest].concat());
        assert_eq!(apart.entries.len(), 1);
        apart.raw.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(raw(b""), [512, 1024]);
    // Apart, as Go has it, as long as Go can read a segment of what follows.
    assert_eq!(raw(&[0; 512]), [512, 1024, 512]);
    assert_eq!(raw(&[0; 5000]), [512, 1024, 5000]);
    assert_eq!(raw(&[0; 700]), [512, 1724]);
    assert_eq!(raw(&[0; 100]), [512, 1124]);
    assert_eq!(raw(b"anything, even \x00"), [512, 1024 + 16]);
    assert_eq!(raw(&tar), [512, 1024 + 1536]);
    let many = vec![0; 3 * PIECE];
    assert_eq!(raw(&many), [512, 1024, PIECE, PIECE, PIECE]);
    assert_eq!(raw(&many[..PIECE + 1023]), [512, 1024, PIECE + 1023]);
    assert_eq!(raw(&many[..PIECE + 1024]), [512, 1024, PIECE, 1024]);
}

/// Asserts that a stream of these headers is refused, and how.
macro_rules! assert_refused {
    ($headers:expr, $pattern:pat) => {
        let error = refused(&$headers);
        assert!(matches!(error, $pattern), "{error:?}");
    };
}

fn good() -> Block {
    Block::ustar("f", b'0')
}

fn pax(records: &[u8]) -> Vec<Vec<u8>> {
    vec![with(Block::ustar("x", b'x'), records), good().bytes()]
}

#[test]
fn numbers_that_are_none_are_refused() {
    use TarError::Number;
    assert_refused!([good().put(108, b"xyz").bytes()], Number { field: "uid", offset: 0 });
    assert_refused!([good().put(100, b"8").bytes()], Number { field: "mode", .. });
    assert_refused!([good().put(136, b"-5").bytes()], Number { field: "mtime", .. });
    // Even where nobody needs them: what is garbage is no header.
    assert_refused!([good().put(329, b"x").bytes()], Number { field: "device", .. });
    let header = good().put(136, b"-5").bytes();
    assert_refused!([pax(b"11 mtime=5\n").remove(0), header], Number { field: "mtime", .. });
    let overflow = b"\x80\x01\0\0\0\0\0\0\0\0\0\0";
    assert_refused!([good().put(136, overflow).bytes()], Number { field: "mtime", .. });
    assert_refused!(pax(b"29 size=18446744073709551615\n"), Number { field: "size", .. });
    assert_refused!(pax(b"13 mtime=1e9\n"), Number { field: "mtime", .. });
    assert_refused!(pax(b"11 atime=x\n"), Number { field: "atime", .. });
    let star = good().put(508, b"tar\0").put(476, b"x");
    assert_refused!([star.bytes()], Number { field: "atime", .. });
}

#[test]
fn numbers_out_of_range_are_refused() {
    use TarError::OutOfRange;
    let minus_one = [0xff; 12];
    let no_owner = b"\x80\0\0\0\xff\xff\xff\xff";
    let wraps_to_root = b"\x80\0\0\x01\0\0\0\0";
    assert_refused!([good().put(108, no_owner).bytes()], OutOfRange { field: "uid", .. });
    assert_refused!([good().put(116, wraps_to_root).bytes()], OutOfRange { field: "gid", .. });
    assert_refused!(pax(b"9 gid=-1\n"), OutOfRange { field: "gid", value: -1, .. });
    assert_refused!(pax(b"11 size=-1\n"), OutOfRange { field: "size", .. });
    assert_refused!([good().put(124, &minus_one).bytes()], OutOfRange { field: "size", .. });
    let extension = Block::ustar("x", b'x').put(124, &minus_one);
    assert_refused!([extension.bytes()], OutOfRange { field: "size", .. });
    let device = Block::gnu("n", b'3').put(329, wraps_to_root);
    assert_refused!([device.bytes()], OutOfRange { field: "device", .. });
}

#[test]
fn broken_extensions_are_refused() {
    use TarError::{BadRecord, Orphan};
    assert_refused!(pax(b"99 path=a\n"), BadRecord { .. });
    assert_refused!(pax(b"9 path=a\n\0\0"), BadRecord { .. });
    assert_refused!(pax(b"11 path=a\0b\n"), BadRecord { .. });
    assert_refused!([with(Block::ustar("g", b'g'), b"what")], BadRecord { .. });
    assert_refused!([with(Block::ustar("x", b'x'), b"9 path=a\n")], Orphan { offset: 1024 });
    let (long, global) = (Block::gnu("l", b'L'), Block::ustar("g", b'g'));
    assert_refused!([with(long, b"n\0"), with(global, b"9 path=a\n")], Orphan { .. });
}

#[test]
fn what_is_no_entry_of_a_layer_is_refused() {
    assert_refused!([vec![0; 512], good().bytes()], TarError::LoneZeroBlock { offset: 0 });
    assert_refused!([Block::ustar("", b'0').bytes()], TarError::EmptyName { offset: 0 });
    assert_refused!([Block::ustar("l", b'2').bytes()], TarError::EmptyTarget { .. });
    let volume = Block::gnu("v", b'V').bytes();
    assert_refused!([volume], TarError::UnsupportedType { flag: b'V', .. });
    assert_refused!([Block::gnu("s", b'S').bytes()], TarError::Sparse { .. });
    assert_refused!(pax(b"22 GNU.sparse.major=1\n"), TarError::Sparse { .. });
    let text = b"no tar at all ".repeat(50)[..512].to_vec();
    assert_refused!([text], TarError::Checksum { offset: 0 });
    assert_refused!([good().bytes(), vec![1; 512]], TarError::Checksum { offset: 512 });
}

#[test]
fn extension_headers_are_bounded() {
    let mut limits = Limits::default();
    limits.extension_bytes = 2048;
    let stream = |length: usize| {
        let name = [vec![b'n'; length - 1], vec![0]].concat();
        let headers = [with(Block::gnu("l", b'L'), &name), Block::gnu("f", b'0').bytes()].concat();
        [headers, vec![0; 1024]].concat()
    };
    assert!(take_apart(&stream(1536)[..], limits.clone()).is_ok());
    let error = take_apart(&stream(1537)[..], limits.clone()).unwrap_err();
    assert!(matches!(error, TarError::TooLong { offset: 0, limit: 2048 }), "{error:?}");
    // However many there are, and though each is empty.
    let empty = Block::ustar("x", b'x').bytes();
    let many = take_apart(&empty.repeat(5)[..], limits).unwrap_err();
    assert!(matches!(many, TarError::TooLong { offset: 2048, .. }), "{many:?}");
}

#[test]
fn entries_are_bounded() {
    let mut limits = Limits::default();
    limits.entries = 2;
    let entry = Block::ustar("f", b'0').bytes();
    assert!(take_apart(&entry.repeat(2)[..], limits.clone()).is_ok());
    let error = take_apart(&entry.repeat(3)[..], limits).unwrap_err();
    assert!(matches!(error, TarError::TooManyEntries { limit: 2 }));
}
