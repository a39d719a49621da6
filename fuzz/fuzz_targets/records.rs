//! The records of a store: what was read is written so that it reads the same.
#![no_main]

use laws::bounded;
use libfuzzer_sys::fuzz_target;
use storage_core::fuzzing::{RecordKind, rewrite};

fuzz_target!(|json: &[u8]| {
    for kind in [RecordKind::Layer, RecordKind::Image, RecordKind::Container, RecordKind::Mount] {
        let written = bounded((256 << 10) + 100 * json.len(), || rewrite(kind, json));
        if let Ok(written) = written {
            let again = rewrite(kind, written.as_bytes()).expect("we read what we write");
            assert_eq!(written, again);
        }
    }
});
