//! Several ranges by one request, from registries that can, cannot, or pretend to.

mod odd;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transport::Options;

use self::odd::{Odd, odd_answers};
use crate::image::{Image, blob, options};
use crate::ranges::expect;
use testkit::http::{Answer, Request, Server, Then};

const SIZE: usize = 300_000;
const BOUNDARY: &str = "THE-BOUNDARY";

/// Forty ranges of 3000 bytes. With one worker, the first is asked for alone and all
/// others by one request.
fn forty() -> Vec<Range<u64>> {
    (0..40).map(|i| i * 7500..i * 7500 + 3000).collect()
}

fn one_worker() -> Options {
    let mut options = options();
    options.parallel = 1;
    options
}

fn part(blob: &[u8], (first, last): (usize, usize)) -> Vec<u8> {
    let head = format!(
        "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
        blob.len()
    );
    [head.as_bytes(), &blob[first..=last]].concat()
}

fn typed(parts: &[Vec<u8>]) -> Answer {
    let body = [&parts.concat()[..], format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    Answer::new(206, body)
        .header("Content-Type", format!("multipart/byteranges; boundary={BOUNDARY}"))
}

/// The right answer to a request for several ranges.
pub(crate) fn right(blob: &[u8], request: &Request) -> Answer {
    typed(&parts(blob, request))
}

fn parts(blob: &[u8], request: &Request) -> Vec<Vec<u8>> {
    request.ranges().into_iter().map(|range| part(blob, range)).collect()
}

/// Bytes up to the content of part `number`, counted from zero.
fn before(parts: &[Vec<u8>], number: usize) -> usize {
    parts[..number].iter().map(Vec::len).sum()
}

/// A registry that answers single ranges rightly and several by `several`.
fn serve(
    image: &Image,
    several: impl Fn(&Request, &[u8]) -> Answer + Send + Sync + 'static,
) -> Server {
    let whole = image.content().to_vec();
    image.serve_layer(move |request, answer| match request.ranges().len() {
        0 | 1 => answer,
        _ => several(request, &whole),
    })
}

/// The ranges of each request.
fn asked(server: &Server) -> Vec<Vec<Range<u64>>> {
    let range = |(first, last)| first as u64..last as u64 + 1;
    let requests = server.requests("/blobs/");
    requests.iter().map(|request| request.ranges().into_iter().map(range).collect()).collect()
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[test]
fn r21_where_several_ranges_are_answered_rightly_few_requests_are_made() {
    let image = Image::new(SIZE);
    let server = serve(&image, |request, blob| right(blob, request));
    let source = blob(&server, &image, &one_worker());
    assert_eq!(source.link().ranges_per_request, 1);
    expect(&image, &*source, &forty());
    assert_eq!(asked(&server), [&forty()[..1], &forty()[1..]]);
    assert!(source.link().ranges_per_request > 1, "it is proved");
    let headers = source.usage().bytes - length(&forty());
    assert!((39 * 80..39 * 140).contains(&headers), "{headers} bytes of headers");
    expect(&image, &*source, &forty()[..2]);
    assert_eq!(asked(&server)[2..], [&forty()[..2]], "two are enough now");
}

#[test]
fn r21_who_is_about_to_ask_for_many_learns_what_the_registry_can_by_one_request() {
    let image = Image::new(SIZE);
    let (able, merging) = (
        serve(&image, |request, blob| right(blob, request)),
        serve(&image, |_, blob| Answer::new(200, blob.to_vec())),
    );
    for (server, can) in [(able, true), (merging, false)] {
        let source = blob(&server, &image, &one_worker());
        expect(&image, &*source, &forty()[..1]);
        assert_eq!(source.link_for_many().ranges_per_request > 1, can);
        let several = asked(&server).iter().filter(|ranges| ranges.len() > 1).count();
        assert_eq!(several, 1, "{:?}", asked(&server));
        let requests = asked(&server).len();
        assert_eq!(source.link_for_many().ranges_per_request > 1, can);
        assert_eq!(asked(&server).len(), requests, "what is known is not asked again");
    }
}

#[test]
fn r21_several_workers_share_what_one_request_could_ask_for() {
    let image = Image::new(SIZE);
    let server = serve(&image, |request, blob| right(blob, request));
    let source = blob(&server, &image, &options());
    let ranges: Vec<_> = (0..500).map(|i| i * 600..i * 600 + 100).collect();
    expect(&image, &*source, &ranges);
    let asked = asked(&server);
    assert!(asked.iter().all(|ranges| ranges.len() <= 64));
    assert_eq!(asked.iter().map(Vec::len).sum::<usize>(), 500, "nothing twice");
    for request in server.requests("/blobs/") {
        assert!(request.header("range").unwrap().len() < 4096);
    }
}

#[test]
fn r21_where_it_makes_no_sense_no_several_ranges_are_asked_for() {
    let image = Image::new(SIZE);
    let server = serve(&image, |request, blob| right(blob, request));
    let source = blob(&server, &image, &one_worker());
    // Too few to try; adjacent; so close that a server may merge them; not ascending.
    for ranges in [
        forty()[..4].to_vec(),
        (0..9).map(|i| i * 10..i * 10 + 10).collect(),
        (0..9).map(|i| i * 100..i * 100 + 10).collect(),
        forty()[..9].iter().rev().cloned().collect(),
    ] {
        let before = asked(&server).len();
        expect(&image, &*source, &ranges);
        assert_eq!(asked(&server).len() - before, ranges.len());
    }
}

#[test]
fn r21_after_an_odd_answer_what_is_left_is_asked_for_range_by_range() {
    for Odd { name, answer, left } in odd_answers() {
        let image = Image::new(SIZE);
        let server = serve(&image, answer);
        let mut options = one_worker();
        options.stall = Duration::from_millis(300);
        let source = blob(&server, &image, &options);
        expect(&image, &*source, &forty());
        let singles = left.iter().map(|range| vec![range.clone()]);
        let first = [forty()[..1].to_vec(), forty()[1..].to_vec()];
        let expected: Vec<_> = first.into_iter().chain(singles).collect();
        assert_eq!(asked(&server), expected, "{name}");
        assert_eq!(source.usage().requests, expected.len() as u64, "{name}");
        assert_eq!(source.link().ranges_per_request, 1, "{name}");
        // A wrong body costs what was read of it by then, any other answer nothing.
        let wasted = source.usage().bytes - length(&forty());
        let is_read = ["another boundary", "all merged"].contains(&name) || left.len() < 39;
        assert!(wasted <= if is_read { 128 << 10 } else { 0 }, "{name}: {wasted}");
        expect(&image, &*source, &forty());
        assert_eq!(asked(&server).len(), expected.len() + 40, "{name}: it is remembered");
    }
}

#[test]
fn r21_side_by_side_an_odd_registry_is_tried_once() {
    for Odd { name, answer, .. } in odd_answers() {
        let image = Image::new(SIZE);
        let server = serve(&image, answer);
        let mut options = options();
        options.stall = Duration::from_millis(300);
        let source = blob(&server, &image, &options);
        expect(&image, &*source, &forty());
        let several = asked(&server).iter().filter(|ranges| ranges.len() > 1).count();
        assert!(several <= 1, "{name}");
    }
}

#[test]
fn r21_parts_in_any_order_and_with_boundaries_in_them_are_right() {
    let mut image = Image::new(SIZE);
    let layer = image.layer.to_string();
    for at in [7_600, 7500 + 2990, 15_000] {
        let text = format!("\r\n--{BOUNDARY}--\r\n--{BOUNDARY}\r\n");
        let content = image.blobs.get_mut(&layer).unwrap();
        content[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let server = serve(&image, |request, blob| {
        let mut parts = parts(blob, request);
        parts.reverse();
        let mut answer = typed(&parts);
        answer.body.extend_from_slice(b"what follows does not matter");
        answer.length = Some(answer.body.len());
        answer
    });
    let source = blob(&server, &image, &one_worker());
    expect(&image, &*source, &forty());
    assert_eq!(asked(&server).len(), 2);
    assert!(source.link().ranges_per_request > 1);
}

#[test]
fn r21_a_whole_blob_without_end_is_not_read() {
    let image = Image::new(SIZE);
    let server = serve(&image, |_, blob| {
        let mut answer = Answer::new(200, blob);
        (answer.length, answer.then) = (Some(SIZE), Then::Endless);
        answer.cut(1, Then::Endless)
    });
    let source = blob(&server, &image, &one_worker());
    expect(&image, &*source, &forty());
    assert_eq!(source.usage().bytes, length(&forty()));
    // Hangs if the connection stays open.
    server.closed.lock().unwrap().recv().unwrap();
}

#[test]
fn r21_a_proved_registry_may_break_off_and_goes_on_where_it_was() {
    let image = Image::new(SIZE);
    let times = AtomicUsize::new(0);
    let server = serve(&image, move |request, blob| {
        let answer = right(blob, request);
        match times.fetch_add(1, Ordering::SeqCst) {
            0 => answer,
            _ => answer.cut(10_000, Then::Close),
        }
    });
    let source = blob(&server, &image, &one_worker());
    expect(&image, &*source, &forty());
    expect(&image, &*source, &forty());
    let asked = &asked(&server)[2..];
    let several = asked.iter().take_while(|ranges| ranges.len() > 1).count();
    assert_eq!(several, 3, "then it counts as unable");
    assert!(asked[several..].iter().all(|ranges| ranges.len() == 1));
    assert_eq!(source.link().ranges_per_request, 1);
    // Headers beside, each byte came once.
    assert!(source.usage().bytes < 2 * length(&forty()) + 60 * 140);
}
