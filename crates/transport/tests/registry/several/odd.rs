//! Answers to several ranges that are not right.

use std::ops::Range;

use super::{SIZE, before, forty, part, parts, right, typed};
use testkit::http::{Answer, Request, Then};

/// An answer that is not right, and what is asked for range by range after it.
pub(super) struct Odd {
    pub(super) name: &'static str,
    pub(super) answer: fn(&Request, &[u8]) -> Answer,
    pub(super) left: Vec<Range<u64>>,
}

/// All ranges from this one on, of which so many bytes have come.
fn from(number: usize, came: u64) -> Vec<Range<u64>> {
    let mut left = forty()[number..].to_vec();
    if let Some(first) = left.first_mut() {
        first.start += came;
    }
    left
}

/// All that there are.
pub(super) fn odd_answers() -> Vec<Odd> {
    [no_parts(), wrong_boundaries(), wrong_parts(), unfinished()].into_iter().flatten().collect()
}

fn odd(name: &'static str, answer: fn(&Request, &[u8]) -> Answer, left: Vec<Range<u64>>) -> Odd {
    Odd { name, answer, left }
}

fn nothing_came() -> Vec<Range<u64>> {
    from(1, 0)
}

fn no_parts() -> Vec<Odd> {
    vec![
        odd("whole blob", |_, blob| Answer::new(200, blob), nothing_came()),
        odd("416", |_, _| Answer::new(416, ""), nothing_came()),
        odd("400", |_, _| Answer::new(400, ""), nothing_came()),
        odd("403 of a guard", |_, _| Answer::new(403, ""), nothing_came()),
        odd("501", |_, _| Answer::new(501, ""), nothing_came()),
        odd("503", |_, _| Answer::new(503, ""), nothing_came()),
        odd(
            "only the first range",
            |request, blob| {
                let (first, last) = request.ranges()[0];
                Answer::new(206, &blob[first..=last])
                    .header("Content-Range", format!("bytes {first}-{last}/{SIZE}"))
            },
            nothing_came(),
        ),
    ]
}

fn wrong_boundaries() -> Vec<Odd> {
    vec![
        odd(
            "no boundary named",
            |request, blob| {
                let mut answer = right(blob, request);
                answer.headers = vec![("Content-Type".into(), "multipart/byteranges".into())];
                answer
            },
            nothing_came(),
        ),
        odd(
            "another boundary",
            |request, blob| {
                let mut answer = right(blob, request);
                answer.headers[0].1 = "multipart/byteranges; boundary=ANOTHER".into();
                answer
            },
            nothing_came(),
        ),
    ]
}

fn wrong_parts() -> Vec<Odd> {
    vec![
        odd(
            "all merged",
            |request, blob| {
                let ranges = request.ranges();
                typed(&[part(blob, (ranges[0].0, ranges[38].1))])
            },
            nothing_came(),
        ),
        odd(
            "two merged",
            |request, blob| {
                let (ranges, mut parts) = (request.ranges(), parts(blob, request));
                parts[4] = part(blob, (ranges[4].0, ranges[5].1));
                parts.remove(5);
                typed(&parts)
            },
            from(5, 0),
        ),
        odd(
            "one missing",
            |request, blob| {
                let mut parts = parts(blob, request);
                parts.remove(6);
                typed(&parts)
            },
            forty()[7..8].to_vec(),
        ),
        odd(
            "one twice",
            |request, blob| {
                let mut parts = parts(blob, request);
                parts.swap_remove(9);
                parts.insert(9, part(blob, request.ranges()[8]));
                typed(&parts)
            },
            from(10, 0),
        ),
        odd(
            "shifted",
            |request, blob| {
                let (first, last) = request.ranges()[3];
                let mut parts = parts(blob, request);
                parts[3] = part(blob, (first + 1, last + 1));
                typed(&parts)
            },
            from(4, 0),
        ),
        odd(
            "of another blob",
            |request, blob| {
                let mut parts = parts(blob, request);
                parts[3] = part(&[blob, b"more"].concat(), request.ranges()[3]);
                typed(&parts)
            },
            from(4, 0),
        ),
        odd(
            "longer than its range",
            |request, blob| {
                let mut parts = parts(blob, request);
                parts[2].push(b'x');
                typed(&parts)
            },
            from(4, 0),
        ),
        odd(
            "ended in a part",
            |request, blob| {
                let parts = parts(blob, request);
                let mut answer = typed(&parts);
                answer.body.truncate(before(&parts, 3) - 1000);
                answer.length = Some(answer.body.len());
                answer
            },
            from(3, 2000),
        ),
    ]
}

fn unfinished() -> Vec<Odd> {
    vec![
        odd(
            "cut in a part",
            |request, blob| {
                let parts = parts(blob, request);
                let end = before(&parts, 6) - 1234;
                typed(&parts).cut(end, Then::Close)
            },
            from(6, 3000 - 1234),
        ),
        odd(
            "cut in a header",
            |request, blob| {
                let parts = parts(blob, request);
                let end = before(&parts, 6) + 20;
                typed(&parts).cut(end, Then::Close)
            },
            from(7, 0),
        ),
        odd(
            "stalled in a part",
            |request, blob| {
                let parts = parts(blob, request);
                let end = before(&parts, 6) - 1;
                typed(&parts).cut(end, Then::Hang)
            },
            from(6, 2999),
        ),
        odd(
            "one more than asked for",
            |request, blob| {
                let mut parts = parts(blob, request);
                parts.push(part(blob, (0, 9)));
                typed(&parts)
            },
            from(40, 0),
        ),
        odd(
            "no end",
            |request, blob| {
                let parts = parts(blob, request);
                let length = before(&parts, 39);
                let mut answer = typed(&parts);
                answer.body.truncate(length);
                answer.length = Some(length);
                answer
            },
            from(40, 0),
        ),
    ]
}
