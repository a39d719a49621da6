//! What is asked for follows what is learned of the line, in the middle of a layer.

mod common;

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use chunked::Reuse;
use common::blob::{Recipe, file, rooted};
use common::tree::{assert_same, list_by_gnu_tar};
use common::{Stage, random};
use storage_core::{BytesSource, Link, Pieces, RangeSource, Usage};

/// Bytes of each file; every second one has to be fetched.
const FILE: usize = 100_000;
const FILES: u64 = 400;

/// A source that seems to be near until it was asked for content, and then far.
struct Changing {
    inner: BytesSource,
    links: [Link; 2],
    /// What was asked for of the content.
    asked: Mutex<Vec<Vec<Range<u64>>>>,
}

impl RangeSource for Changing {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn link(&self) -> Link {
        self.links[usize::from(!self.asked.lock().unwrap().is_empty())]
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        // TOC and tar-split come after it.
        if ranges.iter().all(|range| range.start < FILES * FILE as u64) {
            self.asked.lock().unwrap().push(ranges.clone());
        }
        self.inner.fetch(ranges)
    }
}

#[test]
fn a_line_that_turns_out_to_be_another_is_asked_otherwise() {
    let files: Vec<_> =
        (0..FILES).map(|seed| file(&format!("f{seed:03}"), random(FILE, seed + 1))).collect();
    let known: Vec<_> = files.iter().step_by(2).cloned().collect();
    let base = Stage::new();
    base.unpack(&Recipe::default().build(rooted(&known))).unwrap();
    let built = Recipe::default().build(rooted(&files));
    let exact = Link {
        round_trip: Duration::from_millis(1),
        bytes_per_second: 1e5,
        parallel: 1,
        ranges_per_request: 1,
    };
    let far = Link { round_trip: Duration::from_millis(500), bytes_per_second: 1e6, ..exact };
    for links in [[exact, far], [far, exact], [exact, exact]] {
        let inner = built.source();
        let source = Changing { inner, links, asked: Mutex::default() };
        let stage = Stage::new();
        let proved = stage.unpack_from(&source, &built, Reuse::default(), &[&base]).unwrap();
        assert_same(&list_by_gnu_tar(&built.tar), &stage.list());

        let asked = source.asked.into_inner().unwrap();
        let least = |ranges: &[Range<u64>]| ranges.iter().map(|r| r.end - r.start).min().unwrap();
        let file = FILE as u64;
        let is_exact = |ranges: &Vec<Range<u64>>| {
            ranges.len() > 20 && least(ranges) < file + 100 && ranges.len() < 180
        };
        let is_stream = |ranges: &Vec<Range<u64>>| least(ranges) > 20 * file;
        assert!(asked.len() > 1);
        let kinds = |link| if link == exact { is_exact(&asked[0]) } else { is_stream(&asked[0]) };
        assert!(kinds(links[0]), "{:?}", asked[0]);
        for later in &asked[1..] {
            let right = if links[1] == exact { is_exact(later) } else { is_stream(later) };
            assert!(right, "{later:?}");
        }
        let reason = proved.choices[0].to_string();
        assert_eq!(reason.ends_with("exact"), links == [exact, exact], "{reason}");
        assert_eq!(proved.choices.len(), 1);
    }
}
