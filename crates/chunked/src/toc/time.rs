//! Times as a TOC writes them: RFC 3339 with up to nine digits of a second.

use storage_core::Time;

/// Seconds of 0001-01-01T00:00:00Z, which Go takes for "no time".
const GO_ZERO: i64 = -62_135_596_800;

/// Reads a time; text that is none gives `None`.
///
/// Go's zero time reads as the epoch, which stands for "unknown" as well.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    // The library reads several more forms, which no other reader would take.
    let form = bytes.len() >= 20
        && bytes.len() <= 35
        && bytes[0].is_ascii_digit()
        && matches!(bytes[10], b'T' | b't')
        && bytes.iter().all(|b| b.is_ascii_digit() || b"-+:.TtZz".contains(b));
    if !form {
        return None;
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    let nanoseconds = timestamp.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let nanoseconds = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    if seconds == GO_ZERO && nanoseconds == 0 {
        return Some(Time::EPOCH);
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_in_any_zone() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2024-02-29T12:00:00Z", 1_709_208_000, 0),
            ("2024-02-29T17:30:00+05:30", 1_709_208_000, 0),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000, 500_000_000),
            ("2024-02-29T12:00:00.000000001Z", 1_709_208_000, 1),
            ("1969-12-31T23:59:59.25Z", -1, 250_000_000),
            ("0001-01-01T00:00:00Z", 0, 0),
        ] {
            assert_eq!(parse(text), Some(Time { seconds, nanoseconds }), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2024-02-29",
            "2024-02-29 12:00:00Z",
            "2024-02-29T12:00:00",
            "2024-02-30T12:00:00Z",
            "2024-02-29T25:00:00Z",
            "+002024-02-29T12:00:00Z",
            "2024-02-29T12:00:00+00:00[UTC]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
