//! What a registry says in each of its modes.

use super::server::Request;
use super::{Mode, State};
use crate::digest::sha256;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What happens behind a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next request.
    Go,
    /// The connection is closed.
    Close,
    /// Not even this answer is given.
    Nothing,
    /// Silence.
    Hang,
    /// Bytes for ever.
    Endless,
}

#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) then: Then,
    length: Option<usize>,
    /// In the place of everything that HTTP wants.
    raw: Option<Vec<u8>>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = Some(body.len());
        Self { status, headers: Vec::new(), body, then: Then::Go, length, raw: None }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    /// The first half; the head keeps the length of all.
    fn cut(mut self) -> Self {
        self.body.truncate(self.body.len().div_ceil(2));
        self
    }

    /// What a good registry says to a request for a blob, or for a range or several of it.
    pub(super) fn ranged(request: &Request, blob: &[u8]) -> Self {
        match &request.ranges()[..] {
            [] => Self::new(200, blob),
            [one] => Self::range(blob, *one, *one),
            many => Self::parts(blob, many),
        }
    }

    /// Bytes of one range, said to be those of another.
    fn range(blob: &[u8], said: (usize, usize), sent: (usize, usize)) -> Self {
        let last = |last: usize| last.min(blob.len() - 1);
        let body = &blob[sent.0.min(blob.len())..=last(sent.1)];
        let range = format!("bytes {}-{}/{}", said.0, last(said.1), blob.len());
        Self::new(206, body).header("Content-Range", range)
    }

    fn parts(blob: &[u8], ranges: &[(usize, usize)]) -> Self {
        let mut body = Vec::new();
        for (first, last) in ranges {
            let range = format!("bytes {first}-{last}/{}", blob.len());
            body.extend(format!("--edge\r\nContent-Range: {range}\r\n\r\n").into_bytes());
            body.extend(&blob[*first..=*last]);
            body.extend(b"\r\n");
        }
        body.extend(b"--edge--\r\n");
        Self::new(206, body).header("Content-Type", "multipart/byteranges; boundary=edge")
    }

    pub(super) fn head(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        match self.length {
            Some(length) => head.extend(["Content-Length: ", &length.to_string(), "\r\n\r\n"]),
            None => head.push_str("Connection: close\r\n\r\n"),
        }
        head.into()
    }
}

impl State {
    pub(super) fn manifest(&self, request: &Request) -> Answer {
        let answer = Answer::new(200, &self.manifest[..]);
        let typed = |kind: &str| Answer::new(200, &self.manifest[..]).header("Content-Type", kind);
        let by_digest = request.target.contains("sha256:");
        match self.mode {
            Mode::ManifestIsAPage => typed("text/html"),
            Mode::ManifestHasNoType => answer,
            Mode::ManifestOfOtherDigest if !by_digest => {
                let digest = format!("sha256:{}", sha256(b"another"));
                typed(MANIFEST).header("Docker-Content-Digest", digest)
            }
            Mode::ManifestEndless => Answer { length: None, ..typed(MANIFEST) }.then(Then::Endless),
            Mode::NoHttp => Answer { raw: Some(b"SSH-2.0-OpenSSH\r\n".into()), ..answer },
            _ => typed(MANIFEST),
        }
    }

    /// What this registry says instead of [`Answer::ranged`].
    pub(super) fn blob_answer(&self, request: &Request, blob: &[u8]) -> Answer {
        let (right, ranges) = (Answer::ranged(request, blob), request.ranges());
        let total = blob.len();
        match (self.mode, &ranges[..]) {
            (Mode::WholeForRange, _) => Answer::new(200, blob),
            (Mode::Shifted, &[(first, last)]) => {
                let shifted = (first.saturating_sub(3), last.saturating_sub(3));
                Answer::range(blob, shifted, shifted)
            }
            (Mode::ShiftedInSecret, &[(first, last)]) if first > 3 => {
                Answer::range(blob, (first, last), (first - 3, last - 3))
            }
            (Mode::Short, &[(first, last)]) => {
                let half = (first, first + (last.min(total - 1) - first) / 2);
                Answer::range(blob, half, half)
            }
            (Mode::NoContentRange, &[_]) => Answer { headers: Vec::new(), ..right },
            (Mode::OtherTotal, &[(first, last)]) => {
                let range = format!("bytes {first}-{}/{}", last.min(total - 1), total + 1);
                Answer { headers: Vec::new(), ..right }.header("Content-Range", range)
            }
            (Mode::Merged, &[(first, _), .., (_, last)]) => {
                Answer::range(blob, (first, last), (first, last))
            }
            (Mode::Reordered, many @ [_, _, ..]) => {
                Answer::parts(blob, &many.iter().rev().copied().collect::<Vec<_>>())
            }
            (Mode::FirstOnly, &[first, _, ..]) => Answer::range(blob, first, first),
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
            Mode::Cut => right.cut().then(Then::Close),
            Mode::NoAnswer => right.then(Then::Nothing),
            Mode::Stalls => Answer { body: Vec::new(), ..right }.then(Then::Hang),
            Mode::StallsAtFirst if self.is_first(request) => right.cut().then(Then::Hang),
            Mode::ExtraBytes => {
                let body = [&right.body[..], b"more than was asked for"].concat();
                Answer { length: Some(body.len()), body, ..right }
            }
            Mode::Endless => Answer { length: None, ..right }.then(Then::Endless),
            Mode::LengthTooLarge => {
                Answer { length: Some(length + 1000), ..right }.then(Then::Close)
            }
            Mode::LengthTooSmall => {
                Answer { length: Some(length.saturating_sub(5)), ..right }.then(Then::Close)
            }
            Mode::NoLength => Answer { length: None, ..right }.then(Then::Close),
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
        let to = |place: &str| Answer::new(307, "").header("Location", place);
        match self.mode {
            Mode::RedirectElsewhere | Mode::RedirectToALogin => {
                to(&format!("http://{}{}", self.elsewhere(), request.target))
            }
            Mode::RedirectInACircle => to(&request.target),
            Mode::RedirectTo(place) => to(place),
            Mode::RedirectToNowhere => Answer::new(307, ""),
            _ => right,
        }
    }
}
