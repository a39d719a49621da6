//! Whether an answer is what was asked for.

use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use reqwest::{Response, StatusCode};

use super::content_range::ContentRange;
use super::error::RequestError;

/// What an answer holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The bytes from the first that was asked for, up to this offset.
    Part { end: u64 },
    /// The blob from its start.
    Whole,
}

/// Checks that an answer is what was asked for, or the whole blob.
pub(super) fn answer(
    response: &Response,
    at: u64,
    last: u64,
    size: u64,
) -> Result<Answer, RequestError> {
    check_encoding(response)?;
    if response.status() == StatusCode::OK {
        return match response.content_length() {
            Some(actual) if actual != size => Err(RequestError::Size { expected: size, actual }),
            _ => Ok(Answer::Whole),
        };
    }
    let odd = |answer: String| Err(RequestError::OddRange { first: at, last, answer });
    let content_type = header(response, CONTENT_TYPE);
    if content_type.to_ascii_lowercase().starts_with("multipart/") {
        return odd("has several parts".into());
    }
    let text = header(response, CONTENT_RANGE);
    match ContentRange::parse(text) {
        Some(ContentRange { size: Some(actual), .. }) if actual != size => {
            Err(RequestError::Size { expected: size, actual })
        }
        Some(range) if range.first == at && range.last <= last => {
            Ok(Answer::Part { end: range.last + 1 })
        }
        _ => odd(format!("has content range {text:?}")),
    }
}

/// Checks that bytes come as they are.
pub(super) fn check_encoding(response: &Response) -> Result<(), RequestError> {
    let encoding = header(response, CONTENT_ENCODING);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    Err(RequestError::Encoding(encoding.into()))
}

/// A header as text; empty if there is none.
pub(super) fn header(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
