//! Ranges of a blob, from registries good and odd.

#![expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use storage_core::{RangeSource, Usage};

use crate::image::{Image, blob, open, options, ranged, resolve};
use crate::several;
use testkit::causes::chain;
use testkit::http::{Answer, Request, Server, Then};

const SIZE: usize = 300_000;

/// The pieces of each range put together, checked to be in order.
fn read(
    source: &dyn RangeSource,
    ranges: &[Range<u64>],
) -> Result<Vec<Vec<u8>>, storage_core::SourceError> {
    let mut got = vec![Vec::new(); ranges.len()];
    for piece in source.fetch(ranges.to_vec()) {
        let piece = piece?;
        assert!(!piece.bytes.is_empty());
        assert_eq!(piece.offset, ranges[piece.range].start + got[piece.range].len() as u64);
        got[piece.range].extend_from_slice(&piece.bytes);
    }
    Ok(got)
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Fetches ranges and compares them.
pub(crate) fn expect(image: &Image, source: &dyn RangeSource, ranges: &[Range<u64>]) {
    let got = read(source, ranges).unwrap_or_else(|error| panic!("{}", chain(&error)));
    for (range, got) in ranges.iter().zip(got) {
        assert!(got == image.content()[at(range.start)..at(range.end)], "{range:?}");
    }
}

fn some_ranges() -> Vec<Range<u64>> {
    let size = SIZE as u64;
    vec![0..1, 10..20, 1000..150_000, 150_000..150_001, 200_000..250_000, size - 1..size]
}

fn failure(source: &dyn RangeSource, range: Range<u64>) -> String {
    chain(&read(source, &[range]).expect_err("a failure"))
}

#[test]
fn r21_each_range_is_one_request_and_each_byte_is_counted() {
    let image = Image::new(SIZE);
    let server = image.serve_layer(|_, answer| answer);
    let source = blob(&server, &image, &options());
    assert_eq!(source.usage(), Usage::default());
    expect(&image, &*source, &some_ranges());
    let bytes = some_ranges().iter().map(|range| range.end - range.start).sum();
    assert_eq!(source.usage(), Usage { requests: 6, bytes });
    assert_eq!(server.requests("/blobs/").len(), 6);
    assert_eq!(source.link().parallel, 4);
    expect(&image, &*source, &[]);
    expect(&image, &*source, &[7..7]);
    assert_eq!(source.usage().requests, 6);
}

#[test]
fn r21_the_whole_blob_is_asked_for_without_a_range_and_resumed_with_one() {
    let image = Image::new(SIZE);
    let times = AtomicUsize::new(0);
    let server = image.serve_layer(move |_, answer| match times.fetch_add(1, Ordering::SeqCst) {
        0 => answer.cut(1234, Then::Close),
        _ => answer,
    });
    let source = blob(&server, &image, &options());
    expect(&image, &*source, &[0..SIZE as u64]);
    let requests = server.requests("/blobs/");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("range"), None);
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert_eq!(requests[1].range(), Some((1234, SIZE - 1)));
    assert_eq!(source.usage(), Usage { requests: 2, bytes: SIZE as u64 });
}

#[test]
fn r21_where_ranges_are_ignored_one_stream_serves_them_all() {
    let image = Image::new(SIZE);
    let whole = image.content().to_vec();
    let server = image.serve_layer(move |_, _| Answer::new(200, whole.clone()));
    let source = blob(&server, &image, &options());
    expect(&image, &*source, &some_ranges());
    assert_eq!(server.requests("/blobs/").len(), 1, "the first answer is used");
    expect(&image, &*source, &some_ranges());
    let requests = server.requests("/blobs/");
    assert_eq!(requests.len(), 2, "the second fetch knows");
    assert_eq!(source.link().parallel, 1);
    assert_eq!(requests[1].header("range"), None);
}

#[test]
fn r21_a_whole_stream_that_breaks_is_begun_again() {
    let image = Image::new(SIZE);
    let (whole, times) = (image.content().to_vec(), AtomicUsize::new(0));
    let server = image.serve_layer(move |_, _| {
        let far = 120_000 * (1 + times.fetch_add(1, Ordering::SeqCst));
        Answer::new(200, whole.clone()).cut(far, Then::Close)
    });
    let source = blob(&server, &image, &options());
    expect(&image, &*source, &some_ranges());
    assert_eq!(server.requests("/blobs/").len(), 3);
}

#[test]
fn r21_short_bodies_are_resumed_where_they_ended() {
    let image = Image::new(SIZE);
    let server = image.serve_layer(|_, answer| answer.cut(20_000, Then::Close));
    let source = blob(&server, &image, &options());
    expect(&image, &*source, &some_ranges());
    assert_eq!(source.usage().bytes, 149_000 + 1 + 1 + 10 + 50_000 + 1, "nothing twice");
    assert!(server.requests("/blobs/").len() >= 14);
}

#[test]
fn r21_a_server_may_give_less_than_was_asked_for() {
    let image = Image::new(SIZE);
    let whole = image.content().to_vec();
    let server = image.serve_layer(move |request, _| {
        let (first, last) = request.range().unwrap();
        let last = last.min(first + 49_999);
        Answer::new(206, &whole[first..=last])
            .header("Content-Range", format!("bytes {first}-{last}/*"))
    });
    expect(&image, &*blob(&server, &image, &options()), &[5..200_005]);
    assert_eq!(server.requests("/blobs/").len(), 4);
}

/// Answers to a range, none of which is one, while the whole blob can be had.
type Odd = fn(&Request, &[u8]) -> Answer;

#[test]
fn r21_odd_answers_to_ranges_lead_to_the_whole_blob() {
    let odd: [(&str, Odd); 7] = [
        ("shifted", |_, blob| {
            Answer::new(206, &blob[3..9]).header("Content-Range", format!("bytes 3-8/{SIZE}"))
        }),
        ("longer than asked for", |request, blob| {
            let (first, _) = request.range().unwrap();
            let last = SIZE - 1;
            Answer::new(206, &blob[first..])
                .header("Content-Range", format!("bytes {first}-{last}/{SIZE}"))
                .cut(10, Then::Close)
        }),
        ("no content range", |_, blob| Answer::new(206, &blob[..10])),
        ("multipart", |_, _| {
            Answer::new(206, "--x\r\nContent-Range: bytes 10-19/300000\r\n\r\n0123456789--x--")
                .header("Content-Type", "multipart/byteranges; boundary=x")
        }),
        ("416", |_, _| Answer::new(416, "")),
        ("400", |_, _| Answer::new(400, "")),
        ("501", |_, _| Answer::new(501, "")),
    ];
    for (name, odd) in odd {
        let image = Image::new(SIZE);
        let whole = image.content().to_vec();
        let server = image.serve_layer(move |request, answer| match request.range() {
            Some(_) => odd(request, &whole),
            None => answer,
        });
        let source = blob(&server, &image, &options());
        let ranges = [10..1000, 1000..150_000, 299_000..300_000];
        let got = read(&*source, &ranges).unwrap_or_else(|e| panic!("{name}: {}", chain(&e)));
        for (range, got) in ranges.iter().zip(got) {
            assert!(got == image.content()[at(range.start)..at(range.end)], "{name}: {range:?}");
        }
    }
}

#[test]
fn r21_bodies_without_end_are_cut_where_the_range_ends() {
    for length in [None, Some(usize::MAX / 2)] {
        let image = Image::new(SIZE);
        let server = image.serve_layer(move |_, mut answer| {
            (answer.length, answer.then) = (length, Then::Endless);
            answer
        });
        expect(&image, &*blob(&server, &image, &options()), &[3..10, 20..40_000]);
    }
}

#[test]
fn r21_dropping_the_pieces_closes_the_connections() {
    let image = Image::new(SIZE);
    let server = image.serve_layer(|_, mut answer| {
        answer.then = Then::Endless;
        answer.length = Some(usize::MAX / 2);
        answer.cut(1, Then::Endless)
    });
    let source = blob(&server, &image, &options());
    let mut pieces = source.fetch(vec![0..200_000, 200_000..299_000]);
    assert!(pieces.next().unwrap().is_ok());
    drop(pieces);
    // Hangs if the connection stays open.
    server.closed.lock().unwrap().recv().unwrap();
}

#[test]
fn r21_a_stalled_answer_is_given_up_and_resumed() {
    let image = Image::new(SIZE);
    let times = AtomicUsize::new(0);
    let server = image.serve_layer(move |_, answer| match times.fetch_add(1, Ordering::SeqCst) {
        0 => answer.cut(5_000, Then::Hang),
        _ => answer,
    });
    let mut options = options();
    options.stall = Duration::from_millis(300);
    let source = blob(&server, &image, &options);
    expect(&image, &*source, &[0..100_000]);
    assert_eq!(server.requests("/blobs/")[1].range(), Some((5_000, 99_999)));
}

#[test]
fn r21_a_server_that_only_stalls_is_an_error_in_the_end() {
    let image = Image::new(SIZE);
    let server = image.serve_layer(|_, answer| answer.cut(0, Then::Hang));
    let mut options = options();
    options.stall = Duration::from_millis(400);
    let error = failure(&*blob(&server, &image, &options), 0..100_000);
    assert!(error.contains("bytes 0-99999") && error.contains("nothing came for 0.4 s"), "{error}");
    assert_eq!(server.requests("/blobs/").len(), 5);
}

#[test]
fn r21_a_busy_server_is_asked_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let image = Image::new(SIZE);
        let times = AtomicUsize::new(0);
        let server =
            image.serve_layer(move |_, answer| match times.fetch_add(1, Ordering::SeqCst) {
                0..3 => Answer::new(status, "wait").header("Retry-After", "0"),
                _ => answer,
            });
        expect(&image, &*blob(&server, &image, &options()), &[5..100_000]);
        assert_eq!(server.requests("/blobs/").len(), 4);
    }
}

#[test]
fn r21_failures_that_stay_are_told_with_what_the_server_says() {
    let cases: [(u16, &str, &str); 5] = [
        (404, "gone", "not found: gone"),
        (403, "not\x1b[2Jyou", "access denied (status 403): not [2Jyou"),
        (503, "", "status 503"),
        (418, "", "status 418"),
        (
            500,
            r#"{"errors":[{"code":"UNKNOWN","message":"broken disk"}]}"#,
            "status 500: UNKNOWN broken disk",
        ),
    ];
    for (status, body, expected) in cases {
        let image = Image::new(SIZE);
        let server = image.serve_layer(move |_, _| Answer::new(status, body));
        let error = failure(&*blob(&server, &image, &options()), 5..100_000);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&image.layer.to_string()), "{error}");
    }
}

#[test]
fn r21_a_server_that_asks_for_too_long_a_pause_is_an_error() {
    let image = Image::new(SIZE);
    let server = image.serve_layer(|_, _| Answer::new(429, "").header("Retry-After", "86400"));
    let error = failure(&*blob(&server, &image, &options()), 5..100_000);
    assert!(error.contains("wait for 86400 s"), "{error}");
    assert_eq!(server.requests("/blobs/").len(), 1);
}

#[test]
fn r21_a_blob_of_another_size_or_encoding_is_an_error() {
    let image = Image::new(SIZE);
    let other =
        |answer: fn(&Request) -> Answer| image.serve_layer(move |request, _| answer(request));
    let cases: [(Server, &str); 3] = [
        (other(|_| Answer::new(200, vec![0; 1000])), "it has 1000 bytes, expected 300000"),
        (
            other(|_| Answer::new(206, [0; 10]).header("Content-Range", "bytes 5-14/99")),
            "it has 99 bytes, expected 300000",
        ),
        (
            other(|_| Answer::new(200, vec![0; SIZE]).header("Content-Encoding", "gzip")),
            "content encoding \"gzip\"",
        ),
    ];
    for (server, expected) in cases {
        let error = failure(&*blob(&server, &image, &options()), 5..15);
        assert!(error.contains(expected), "{error}");
    }
    let server = image.serve_layer(|_, answer| answer);
    let error = failure(&*blob(&server, &image, &options()), 5..SIZE as u64 + 1);
    assert!(error.contains("it has 300000 bytes, expected 300001"), "{error}");
    assert_eq!(server.requests("/blobs/").len(), 0);
}

#[test]
fn r21_the_storage_behind_a_registry_is_asked_directly_until_it_refuses() {
    let image = Image::new(SIZE);
    let (whole, times) = (image.content().to_vec(), AtomicUsize::new(0));
    let storage = Server::start(move |request| match times.fetch_add(1, Ordering::SeqCst) {
        3 => Answer::new(403, "the address has ended"),
        _ => ranged(&whole, request),
    });
    let there = format!("http://{}/storage?signature=secret", storage.host());
    let server =
        image.serve_layer(move |_, _| Answer::new(307, "over there").header("Location", &there));
    let source = blob(&server, &image, &options());
    for start in 0..5 {
        expect(&image, &*source, &[start..start + 1000]);
    }
    assert_eq!(storage.requests("/storage?signature=secret").len(), 6);
    assert_eq!(server.requests("/blobs/").len(), 2);
    let body = "over there".len() as u64 * 2 + "the address has ended".len() as u64;
    assert_eq!(source.usage(), Usage { requests: 8, bytes: 5000 + body });
}

#[test]
fn r21_the_next_mirror_goes_on_where_the_first_gave_up() {
    let image = Image::new(SIZE);
    let times = AtomicUsize::new(0);
    let bad = image.serve_layer(move |_, answer| match times.fetch_add(1, Ordering::SeqCst) {
        0 => answer.cut(30_000, Then::Close),
        _ => Answer::new(404, ""),
    });
    let good = image.serve_layer(|_, answer| answer);
    let mut options = options();
    for server in [&bad, &good] {
        let location = format!("{}/app", server.host());
        options.endpoints.push(transport::Endpoint::new(location, false));
    }
    let registry = open(&bad, &options);
    resolve(&registry).unwrap();
    let source = transport::ImageSource::blob(&registry, &image.layer, image.size).unwrap();
    expect(&image, &*source, &[1..100_000]);
    assert_eq!(good.requests("/blobs/")[0].range(), Some((30_001, 99_999)));
    let error = {
        let bad = image.serve_layer(|_, _| Answer::new(404, ""));
        for (endpoint, server) in options.endpoints.iter_mut().zip([&bad, &bad]) {
            endpoint.location = format!("{}/app", server.host());
        }
        failure(&*blob(&bad, &image, &options), 1..9)
    };
    assert!(
        error.contains("no place has it") && error.matches("not found").count() == 2,
        "{error}"
    );
}

#[test]
fn r21_a_server_that_is_not_there_is_an_error_with_its_address() {
    let image = Image::new(SIZE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let reference = format!("{host}/app:v1").parse().unwrap();
    let registry = transport::Registry::new(&reference, &options()).unwrap();
    let source = transport::ImageSource::blob(&registry, &image.layer, image.size).unwrap();
    let error = failure(&*source, 5..100);
    assert!(error.contains(&host) && error.contains("refused"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a server does with each request, the bytes are right.
    #[test]
    fn any_mix_of_answers_gives_the_right_bytes(
        // Never from byte 0, where the odd answer would be a lie that nobody can tell.
        lengths in proptest::collection::vec(
            (1u64..5_000, prop_oneof![0u64..30_000, 0u64..3_000]), 1..15,
        ),
        moods in proptest::collection::vec(0usize..9, 1..12),
        parallel in 1usize..5,
    ) {
        let image = Image::new(SIZE);
        let (whole, times) = (image.content().to_vec(), AtomicUsize::new(0));
        let server = image.serve_layer(move |request, answer| {
            let time = times.fetch_add(1, Ordering::SeqCst);
            let several = request.ranges().len() > 1;
            let answer = if several { several::right(&whole, request) } else { answer };
            match moods.get(time) {
                Some(0) => answer.cut(700, Then::Close),
                Some(1) => Answer::new(503, ""),
                Some(2) => Answer::new(206, "odd").header("Content-Range", "bytes 0-2/300000"),
                Some(3) => Answer::new(200, whole.clone()).cut(17_000, Then::Close),
                _ => answer,
            }
        });
        let mut at = 0;
        let ranges: Vec<_> = lengths.iter().map(|(gap, length)| {
            let start = at + gap;
            at = start + length;
            start..at
        }).collect();
        let mut options = options();
        options.parallel = parallel;
        options.retry.attempts = 20;
        expect(&image, &*blob(&server, &image, &options), &ranges);
    }
}
