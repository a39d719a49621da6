use proptest::prelude::*;

use super::*;

/// Offset and content of each part, and whether the end came.
type Parsed = (Vec<(u64, Vec<u8>)>, bool);

/// Parts with their contents, and whether the end came, from a body that is given in
/// reads of these lengths, over and over.
fn parse(body: &[u8], reads: &[usize]) -> Result<Parsed, MultipartError> {
    let (mut parser, mut parts, mut ended) = (Multipart::new("x-X"), Vec::new(), false);
    let (mut body, mut reads) = (Bytes::copy_from_slice(body), reads.iter().cycle());
    loop {
        match parser.next()? {
            Some(Event::Part(range)) => parts.push((range.first, Vec::new())),
            Some(Event::Content(bytes)) => {
                assert!(!bytes.is_empty());
                parts.last_mut().expect("a part first").1.extend_from_slice(&bytes);
            }
            Some(Event::End) => ended = true,
            None if body.is_empty() => return Ok((parts, ended)),
            None => {
                let read = reads.next().copied().unwrap_or(1).clamp(1, body.len());
                parser.push(body.split_to(read));
            }
        }
        assert!(parser.line.len() <= LONGEST_LINE);
    }
}

fn part(first: u64, content: &[u8]) -> Vec<u8> {
    let last = first + content.len() as u64 - 1;
    let head =
        format!("--x-X\r\nContent-Type: a/b\r\nContent-Range: bytes {first}-{last}/*\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

prop_compose! {
    fn contents()(contents in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..60),
            // What looks like the end of a part is content, if it stands in one.
            Just(b"\r\n--x-X--\r\n".to_vec()),
            Just(b"\r\n--x-X\r\nContent-Range: bytes 0-1/2\r\n\r\n".to_vec()),
        ],
        1..6,
    )) -> Vec<Vec<u8>> {
        contents
    }
}

proptest! {
    #[test]
    fn however_a_body_is_cut_into_reads_its_parts_are_the_same(
        contents in contents(),
        reads in proptest::collection::vec(1..40_usize, 1..12),
        line_before in any::<bool>(),
        tail in prop_oneof![Just(""), Just("\r\n"), Just("\r\nmore of it")],
    ) {
        let mut body = if line_before { b"\r\n".to_vec() } else { Vec::new() };
        let mut expected = Vec::new();
        for (number, content) in (0..).zip(contents) {
            body.extend(part(number * 100, &content));
            expected.push((number * 100, content));
        }
        body.extend_from_slice(b"--x-X--");
        body.extend_from_slice(tail.as_bytes());
        prop_assert_eq!(parse(&body, &[usize::MAX]), Ok((expected.clone(), true)));
        prop_assert_eq!(parse(&body, &reads), Ok((expected, true)));
    }

    #[test]
    fn any_bytes_at_all_give_the_same_however_they_are_cut(
        contents in contents(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        reads in proptest::collection::vec(1..40_usize, 1..12),
    ) {
        let mut body: Vec<u8> = contents.iter().flat_map(|content| part(7, content)).collect();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        prop_assert_eq!(parse(&body, &[usize::MAX]), parse(&body, &reads));
    }

    #[test]
    fn a_body_that_ends_early_has_no_end(contents in contents(), cut in any::<prop::sample::Index>()) {
        let mut body: Vec<u8> = contents.iter().flat_map(|content| part(7, content)).collect();
        body.extend_from_slice(b"--x-X--");
        let (parts, ended) = parse(&body[..cut.index(body.len())], &[9]).unwrap();
        prop_assert!(!ended);
        for ((_, got), content) in parts.iter().zip(&contents) {
            prop_assert!(content.starts_with(got));
        }
    }
}

#[test]
fn what_is_not_multipart_is_an_error() {
    use MultipartError::{LineEnd, LongLine, ManyLines, NoBoundary, NoRange};
    let long = format!("--x-X\r\nA: {}", "b".repeat(LONGEST_LINE));
    let many = format!("--x-X\r\n{}", "a: b\r\n".repeat(33));
    for (body, error) in [
        ("\r\n\r\n--x-X\r\n", NoBoundary),
        ("hello\r\n--x-X\r\n", NoBoundary),
        ("--y\r\n", NoBoundary),
        ("--x-Xy\r\n", NoBoundary),
        ("--x-X\n", LineEnd),
        ("--x-X\r\n\r\nhello", NoRange),
        ("--x-X\r\nContent-Range: bytes 9-8/10\r\n\r\n", NoRange),
        ("--x-X\r\nContent-Range: bytes 1-2/9\r\ncontent-range: bytes 1-2/9\r\n\r\n", NoRange),
        ("--x-X\r\nContent-Range: bytes 1-2/9\r\n\r\nabc\r\n--x-X\r\n", NoBoundary),
        ("--x-X\r\nContent-Range: bytes 1-2/9\r\n\r\nab--x-X\r\n", NoBoundary),
        ("--x-X\r\nContent-Range: bytes 1-2/9\r\n\r\nab\r\n\r\n", NoBoundary),
        ("--x-X\r\nContent-Range: bytes 1-2/9\r\n\r\nab--x-X--", NoBoundary),
        (&long, LongLine),
        (&many, ManyLines),
    ] {
        assert_eq!(parse(body.as_bytes(), &[1]), Err(error), "{body:?}");
    }
    let endless = "--x-X\r\nContent-Range: bytes 0-18446744073709551615/*\r\n\r\nab";
    assert_eq!(parse(endless.as_bytes(), &[1]), Ok((vec![(0, b"ab".to_vec())], false)));
}

#[test]
fn only_a_plain_boundary_of_byteranges_counts() {
    for (content_type, expected) in [
        ("multipart/byteranges; boundary=3d6b6a416f9b5", Some("3d6b6a416f9b5")),
        ("Multipart/ByteRanges;charset=x; BOUNDARY=\"a b=c\"", Some("a b=c")),
        ("multipart/byteranges", None),
        ("multipart/byteranges; boundary=", None),
        ("multipart/byteranges; boundary=\"", None),
        ("multipart/byteranges; boundary=\"a\\\"b\"", None),
        ("multipart/byteranges; boundary=\"a \"", None),
        ("multipart/mixed; boundary=a", None),
        ("application/octet-stream", None),
        ("", None),
    ] {
        assert_eq!(boundary(content_type), expected, "{content_type}");
    }
    assert_eq!(boundary(&format!("multipart/byteranges; boundary={}", "a".repeat(71))), None);
}
