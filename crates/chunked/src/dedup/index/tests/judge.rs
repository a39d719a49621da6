//! The format, read by a parser of the test's own.

use super::super::IndexBuilder;
use super::*;
use crate::write::ContentDigests;

/// A tag with what it points to: digest, name, offset, length.
type Found = (Vec<u8>, String, u64, u64);

fn parse(bytes: &[u8]) -> Vec<Found> {
    let number = |at: usize| {
        usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
    };
    assert_eq!([number(0), number(8), number(16)], [3, 55, 39]);
    let words = number(24);
    assert_eq!(bytes[32..36], [3, 0, 0, 0]);
    let lengths = 36 + 8 * words;
    let [tags, vdata, names] = [0, 8, 16].map(|skip| number(lengths + skip));
    let (tags_at, vdata_at) = (lengths + 24, lengths + 24 + tags);
    let names_at = vdata_at + vdata;
    assert_eq!(bytes.len(), names_at + names);
    assert_eq!(words, (10 * tags / 55).div_ceil(64).max(1));
    let tags: Vec<&[u8]> = bytes[tags_at..vdata_at].chunks(55).collect();
    assert!(tags.is_sorted());
    let found = tags.iter().map(|tag| {
        let at = usize::try_from(u64::from_le_bytes(tag[39..47].try_into().unwrap())).unwrap();
        let length = usize::try_from(u64::from_le_bytes(tag[47..].try_into().unwrap())).unwrap();
        let mut item = bytes[vdata_at + at..][..length].iter();
        let mut next = || {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = *item.next().unwrap();
                value += u64::from(byte % 128) << shift;
                shift += 7;
                if byte < 128 {
                    return value;
                }
            }
        };
        let (name, offset, length) = (next(), next(), next());
        let name = names_at + usize::try_from(name).unwrap();
        let name_length = u32::from_le_bytes(bytes[name..name + 4].try_into().unwrap()) as usize;
        let name = String::from_utf8(bytes[name + 4..][..name_length].to_vec()).unwrap();
        // The filter has it: three bits, of hashes in the words of the format.
        for i in 0..3 {
            let crc = |bytes: &[u8]| {
                bytes.iter().fold(!0_u32, |crc, byte| {
                    (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                        (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
                    })
                }) ^ !0
            };
            let (head, tail) = tag[..39].split_at(i);
            let bit = usize::try_from(crc(head) ^ crc(tail)).unwrap() % (64 * words);
            assert!(number(36 + bit / 64 * 8) >> (bit % 64) & 1 == 1, "hash {i}");
        }
        (tag[..39].to_vec(), name, offset, length)
    });
    found.collect()
}

fn tag(digest: Digest, name: &str, offset: u64, length: u64) -> Found {
    ([b"sha256:", &digest.as_bytes()[..]].concat(), name.into(), offset, length)
}

fn fingerprint(digest: Digest) -> Digest {
    Digest::of(format!("{digest}0:0:644").as_bytes())
}

#[test]
fn tags_are_those_of_the_format() {
    let (one, many) = (recipe("a/one", &[5]), recipe("./many", &[7, 0, 7, 5]));
    let again = recipe("x", &[7, 5]);
    let mut expected = Vec::new();
    for file in [&one, &many, &again] {
        for digest in [file.digest(), fingerprint(file.digest())] {
            expected.push(tag(digest, &file.name, 0, file.size()));
        }
    }
    let lengths = [7, 0, 7].map(Recipe::length_of);
    let chunk = |content, name: &str, offset| {
        tag(Recipe::digest_of(content), name, offset, Recipe::length_of(content))
    };
    expected.push(chunk(7, "./many", 0));
    expected.push(chunk(0, "./many", lengths[0]));
    expected.push(chunk(7, "./many", lengths[0] + lengths[1]));
    expected.push(chunk(5, "./many", lengths.iter().sum()));
    expected.push(chunk(7, "x", 0));
    let mut found = parse(&index(&[one, many, again]));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn built(entries: &[(&str, storage_core::EntryKind, &[u8])]) -> Option<Vec<Found>> {
    let mut builder = IndexBuilder::new();
    for (name, kind, content) in entries {
        let entry = storage_core::Entry {
            name: name.as_bytes().into(),
            kind: kind.clone(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: content.len() as u64,
            mtime: storage_core::Time::EPOCH,
            atime: None,
            ctime: None,
            xattrs: vec![],
        };
        let mut digests = ContentDigests::new(entry.size);
        content.chunks(1000).for_each(|piece| digests.update(piece));
        builder.add(&entry, (!content.is_empty()).then_some(digests));
    }
    let mut bytes = Vec::new();
    builder.finish()?.write(&mut bytes).unwrap();
    Some(parse(&bytes))
}

#[test]
fn a_layer_without_a_toc_has_the_same_index() {
    use storage_core::EntryKind::{Directory, Regular};
    // A hole in the middle, so that there are chunks whose bounds are known.
    let mut large = vec![b'x'; 70_000];
    large[10_000..20_000].fill(0);
    let found = built(&[
        ("d/", Directory, b""),
        ("d/small", Regular, b"hello"),
        ("d/empty", Regular, b""),
        ("large", Regular, &large),
    ])
    .unwrap();
    let mut expected = Vec::new();
    for (name, content) in [("d/small", &b"hello"[..]), ("large", &large)] {
        for digest in [Digest::of(content), fingerprint(Digest::of(content))] {
            expected.push(tag(digest, name, 0, content.len() as u64));
        }
    }
    for (offset, length) in [(0, 10_000), (20_000, 50_000)] {
        let digest = Digest::of(&large[offset..offset + length]);
        expected.push(tag(digest, "large", offset as u64, length as u64));
    }
    expected.sort();
    let mut found = found;
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_layer_that_names_something_twice_has_none() {
    use storage_core::EntryKind::{Directory, Regular, Symlink};
    let link = || Symlink { target: b"d".into() };
    let tangled: &[&[(&str, storage_core::EntryKind, &[u8])]] = &[
        &[("a", Regular, b"1"), ("./a", Regular, b"2")],
        &[("a", Regular, b"1"), ("a", link(), b"")],
        &[("l", link(), b""), ("l/a", Regular, b"1")],
        &[("l/a", Regular, b"1"), ("l", link(), b"")],
        &[("l", link(), b""), ("l/x/a", Regular, b"1")],
        &[("a", Regular, b"1"), (".wh.a", Regular, b"")],
        &[("d/a", Regular, b"1"), (".wh.d", Regular, b"")],
        &[("../a", Regular, b"1")],
    ];
    for entries in tangled {
        assert_eq!(built(entries), None, "{entries:?}");
    }
    let plain: &[(&str, _, &[u8])] = &[
        ("./", Directory, b""),
        ("d/", Directory, b""),
        ("d", Directory, b""),
        ("d/.wh..wh..opq", Regular, b""),
        ("d/a", Regular, b"1"),
        ("d/.wh.b", Regular, b""),
        ("e/f/a", Regular, b"1"),
        ("e/", Directory, b""),
        ("e/f/b", Regular, b"2"),
    ];
    assert_eq!(built(plain).unwrap().len(), 6);
}
