//! The `Content-Range` header of a partial answer.

/// `bytes first-last/size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Of the whole, where the server tells it.
    pub(super) size: Option<u64>,
}

impl ContentRange {
    /// Parses a header; none if it is not of this form, or not of a possible range.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (unit, rest) = header.trim().split_once(' ')?;
        let (range, size) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let size = if size == "*" { None } else { Some(number(size)?) };
        let possible = first <= last && size.is_none_or(|size| last < size);
        (unit.eq_ignore_ascii_case("bytes") && possible).then_some(Self { first, last, size })
    }
}

/// Digits only: the parser of the standard library takes a plus sign, too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_possible_ranges_parse() {
        let range = |first, last, size| Some(ContentRange { first, last, size });
        for (header, expected) in [
            ("bytes 0-0/1", range(0, 0, Some(1))),
            ("Bytes 5-9/*", range(5, 9, None)),
            ("bytes 0-18446744073709551614/18446744073709551615", {
                range(0, u64::MAX - 1, Some(u64::MAX))
            }),
            ("bytes 0-1/1", None),
            ("bytes 2-1/9", None),
            ("bytes */9", None),
            ("bytes 0-/9", None),
            ("bytes -5/9", None),
            ("bytes +0-1/9", None),
            ("bytes 0-18446744073709551616/*", None),
            ("items 0-0/1", None),
            ("bytes=0-0/1", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(header), expected, "{header}");
        }
    }
}
