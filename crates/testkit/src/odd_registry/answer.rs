//! What a registry says in each of its modes.

use super::documents::{INDEX, MANIFEST, index};
use super::{Mode, OTHER_NAME, State, Tokens};
use crate::digest::sha256;
use crate::http::{Answer, Request, Then};

/// Behind an address to which the second server has sent somebody.
pub(super) const BACK: &str = "?back";

/// The first half; the head keeps the length of all.
fn half(answer: Answer, then: Then) -> Answer {
    let length = answer.body.len().div_ceil(2);
    answer.cut(length, then)
}

/// What a good registry says to a request for a blob, or for a range or several of it.
pub(super) fn ranged(request: &Request, blob: &[u8]) -> Answer {
    match &request.ranges()[..] {
        [] => Answer::new(200, blob),
        [one] => range(blob, *one, *one),
        many => parts(blob, many),
    }
}

/// Bytes of one range, said to be those of another.
fn range(blob: &[u8], said: (usize, usize), sent: (usize, usize)) -> Answer {
    let last = |last: usize| last.min(blob.len() - 1);
    let body = &blob[sent.0.min(blob.len())..=last(sent.1)];
    let range = format!("bytes {}-{}/{}", said.0, last(said.1), blob.len());
    Answer::new(206, body).header("Content-Range", range)
}

fn parts(blob: &[u8], ranges: &[(usize, usize)]) -> Answer {
    let mut body = Vec::new();
    for (first, last) in ranges {
        let range = format!("bytes {first}-{last}/{}", blob.len());
        body.extend(format!("--edge\r\nContent-Range: {range}\r\n\r\n").into_bytes());
        body.extend(&blob[*first..=*last]);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    Answer::new(206, body).header("Content-Type", "multipart/byteranges; boundary=edge")
}

impl State {
    pub(super) fn manifest(&self, request: &Request) -> Answer {
        let answer = Answer::new(200, &self.manifest[..]);
        let typed = |kind: &str| Answer::new(200, &self.manifest[..]).header("Content-Type", kind);
        let by_digest = request.target.contains("sha256:");
        match self.mode {
            Mode::ManifestIsCalled(kind) => typed(kind),
            Mode::ManifestHasNoType => answer,
            Mode::ManifestOfOtherDigest if !by_digest => {
                let digest = format!("sha256:{}", sha256(b"another"));
                typed(MANIFEST).header("Docker-Content-Digest", digest)
            }
            Mode::IndexIsCalled(kind) if !by_digest => {
                Answer::new(200, index(&self.manifest, MANIFEST)).header("Content-Type", kind)
            }
            Mode::IndexCallsManifest(kind) if !by_digest => {
                Answer::new(200, index(&self.manifest, kind)).header("Content-Type", INDEX)
            }
            Mode::ManifestEndless => {
                Answer { length: None, then: Then::Endless, ..typed(MANIFEST) }
            }
            Mode::NoHttp => Answer { raw_head: Some(b"SSH-2.0-OpenSSH\r\n".into()), ..answer },
            _ => typed(MANIFEST),
        }
    }

    /// What this registry says instead of [`Answer::ranged`].
    pub(super) fn blob_answer(&self, request: &Request, blob: &[u8]) -> Answer {
        let (right, ranges) = (ranged(request, blob), request.ranges());
        let total = blob.len();
        match (self.mode, &ranges[..]) {
            (Mode::WholeForRange, _) => Answer::new(200, blob),
            (Mode::Shifted, &[(first, last)]) => {
                let shifted = (first.saturating_sub(3), last.saturating_sub(3));
                range(blob, shifted, shifted)
            }
            (Mode::ShiftedInSecret, &[(first, last)]) if first > 3 => {
                range(blob, (first, last), (first - 3, last - 3))
            }
            (Mode::Short, &[(first, last)]) => {
                let half = (first, first + (last.min(total - 1) - first) / 2);
                range(blob, half, half)
            }
            (Mode::NoContentRange, &[_]) => Answer { headers: Vec::new(), ..right },
            (Mode::OtherTotal, &[(first, last)]) => {
                let range = format!("bytes {first}-{}/{}", last.min(total - 1), total + 1);
                Answer { headers: Vec::new(), ..right }.header("Content-Range", range)
            }
            (Mode::Merged, &[(first, _), .., (_, last)]) => {
                range(blob, (first, last), (first, last))
            }
            (Mode::Reordered, many @ [_, _, ..]) => {
                parts(blob, &many.iter().rev().copied().collect::<Vec<_>>())
            }
            (Mode::FirstOnly | Mode::Tokens(Tokens::OfUses(_)), &[first, _, ..]) => {
                range(blob, first, first)
            }
            (Mode::StatusForRange(status), [_, ..]) => Answer::new(status, "no"),
            _ => self.odd_body(request, right),
        }
    }

    /// The modes that do not care for ranges.
    fn odd_body(&self, request: &Request, right: Answer) -> Answer {
        let length = right.body.len();
        match self.mode {
            Mode::Status(status) => Answer::new(status, "no"),
            Mode::StatusAtFirst(status) if self.is_first(request) => {
                Answer::new(status, "later").header("Retry-After", "0")
            }
            Mode::BusyForADay => Answer::new(429, "later").header("Retry-After", "86400"),
            Mode::Cut => half(right, Then::Close),
            Mode::NoAnswer => Answer { then: Then::Nothing, ..right },
            Mode::Stalls => Answer { body: Vec::new(), then: Then::Hang, ..right },
            Mode::StallsAtFirst if self.is_first(request) => half(right, Then::Hang),
            Mode::ExtraBytes => {
                let body = [&right.body[..], b"more than was asked for"].concat();
                Answer { length: Some(body.len()), body, ..right }
            }
            Mode::Endless => Answer { length: None, then: Then::Endless, ..right },
            Mode::LengthTooLarge => {
                Answer { length: Some(length + 1000), then: Then::Close, ..right }
            }
            Mode::LengthTooSmall => {
                Answer { length: Some(length.saturating_sub(5)), then: Then::Close, ..right }
            }
            Mode::NoLength => Answer { length: None, then: Then::Close, ..right },
            Mode::Flipped => {
                let mut right = right;
                right.body[length / 2] ^= 1;
                right
            }
            Mode::Encoded => right.header("Content-Encoding", "gzip"),
            Mode::BlobIsAPage => right.header("Content-Type", "text/html"),
            Mode::ManyHeaders => (0..100_000).fold(right, |answer, number| {
                answer.header(&format!("X-{number}"), "x".repeat(20))
            }),
            _ => self.redirect(request, right),
        }
    }

    fn redirect(&self, request: &Request, right: Answer) -> Answer {
        let by = |status: u16, place: &str| Answer::new(status, "").header("Location", place);
        let to = |place: &str| by(307, place);
        let elsewhere = format!("{}{}", self.places().elsewhere, request.target);
        match self.mode {
            Mode::RedirectElsewhere
            | Mode::RedirectProtected
            | Mode::RedirectUp
            | Mode::RedirectDown
            | Mode::RedirectToALogin
            | Mode::RedirectThereAndBack => to(&elsewhere),
            Mode::RedirectBy(status) => by(status, &elsewhere),
            Mode::RedirectToOtherName => {
                let here = self.places().registry.replace("127.0.0.1", OTHER_NAME);
                to(&format!("{here}{}", request.target))
            }
            Mode::RedirectInACircle => to(&request.target),
            Mode::RedirectTo(place) => to(place),
            Mode::RedirectToNowhere => Answer::new(307, ""),
            _ => right,
        }
    }
}
