//! Headers of registries, and bodies with several ranges: a line of header, then a body.
#![no_main]

use laws::bounded;
use libfuzzer_sys::fuzz_target;
use transport::fuzzing::{Range, boundary, challenges, content_range, multipart};

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let Ok(line) = std::str::from_utf8(line) else { return };
    assert!(challenges(line) <= line.len(), "more than one for each letter");
    if let Some(range) = content_range(line) {
        possible(range);
        assert_eq!(content_range(&written(range)), Some(range));
    }
    let Some(boundary) = boundary(line) else { return };
    let whole = bounded((64 << 10) + 8 * input.len(), || multipart(boundary, body, body.len()));
    for step in [1, 3, 64] {
        assert_eq!(multipart(boundary, body, step), whole, "it depends on how it arrives");
    }
    let Some(parts) = whole else { return };
    let Some((last, before)) = parts.split_last() else { return };
    for (range, content) in before {
        possible(*range);
        assert_eq!(content.len() as u64, range.last - range.first + 1);
    }
    possible(last.0);
    assert!(last.1.is_empty() || last.1.len() as u64 - 1 <= last.0.last - last.0.first);
    assert_eq!(multipart(boundary, &compose(boundary, &parts), 7), Some(parts));
});

fn possible(range: Range) {
    assert!(range.first <= range.last && range.size.is_none_or(|size| range.last < size));
}

fn written(Range { first, last, size }: Range) -> String {
    let size = size.map_or("*".into(), |size| size.to_string());
    format!("bytes {first}-{last}/{size}")
}

/// The body, as a server would write it; the last part may be cut.
fn compose(boundary: &str, parts: &[(Range, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (range, content) in parts {
        let head = format!("\r\n--{boundary}\r\nContent-Range: {}\r\n\r\n", written(*range));
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
    }
    body
}
