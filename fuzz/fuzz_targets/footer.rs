//! A blob that nothing is known of: its footer, its TOC, and what it consists of.
#![no_main]

use chunked::{Limits, Span, Toc, TocLocation, frames};
use laws::bounded;
use libfuzzer_sys::fuzz_target;
use storage_core::{BytesSource, Digest};

fuzz_target!(|blob: &[u8]| {
    let source = BytesSource::new(blob.to_vec());
    let found = bounded(1 << 20, || TocLocation::from_footer(&source));
    let Ok(Some(location)) = found else { return };
    let toc = inside(blob, location.toc);
    assert_eq!(*location.toc_digest.digest(), Digest::of(toc));
    if let Some(span) = location.tar_split {
        inside(blob, span);
    }
    let mut limits = Limits::default();
    (limits.toc, limits.entries) = (1 << 20, 1000);
    // What is decoded has an entry per 25 bytes, of 250 bytes each, in growing tables.
    let Ok(toc) = bounded(64 << 20, || Toc::fetch(&source, &location, &limits)) else { return };
    let mut at = 0;
    for frame in frames(&toc, &location, blob.len() as u64) {
        assert_eq!(frame.offset, at, "a gap");
        assert!(frame.length > 0);
        at += frame.length;
    }
    assert_eq!(at, blob.len() as u64, "the blob has more");
});

/// The bytes of a span, which ends before the footer.
fn inside(blob: &[u8], span: Span) -> &[u8] {
    let end = span.offset.checked_add(span.length).expect("checked by the reader");
    assert!(span.length > 0 && end <= blob.len() as u64 - 72);
    let at = |place: u64| usize::try_from(place).expect("inside the blob");
    &blob[at(span.offset)..at(end)]
}
