//! Numbers and times as headers write them. None of them wraps: `None` instead.

use storage_core::Time;

/// A numeric field: octal digits, or base 256 where the first bit is set.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes),
        _ => octal(bytes),
    }
}

/// Octal digits between spaces and zero bytes; nothing at all is zero.
pub(super) fn octal(bytes: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(first) = bytes.iter().position(|byte| !blank(byte)) else { return Some(0) };
    let last = bytes.iter().rposition(|byte| !blank(byte))?;
    let digits = super::block::before_zero(&bytes[first..=last]);
    digits.iter().try_fold(0i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// A big-endian two's complement number whose first bit only marks it as such.
fn base256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.first()? & 0x40 != 0;
    let invert = if negative { 0xff } else { 0 };
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate() {
        let byte = (byte ^ invert) & if index == 0 { 0x7f } else { 0xff };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// A decimal number of a PAX record.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with any number of decimals, as PAX writes times; those beyond
/// nanoseconds are cut off, towards zero.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..9).fold(0u32, |value, place| {
        value * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'))
    });
    if whole.starts_with(b"-") && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1)?;
        return Some(Time { seconds, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        for (bytes, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b" 644 \0 ", Some(0o644)),
            (b"\0\0 7\0\0\0", Some(7)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"", Some(0)),
            (b"       \0", Some(0)),
            (b"12\x0034", Some(0o12)),
            (b"8", None),
            (b"+7", None),
            (b"-7", None),
            (b"1 2", None),
        ] {
            assert_eq!(field(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn base_256_fields() {
        for (bytes, expected) in [
            (&b"\x80\0\0\0\0\0\0\0"[..], Some(0)),
            (b"\x80\0\0\0\0\x20\0\0", Some(2_097_152)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\x05", None),
        ] {
            assert_eq!(field(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn pax_times() {
        let of = |text: &str| time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.", Some((12, 0))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("-3", Some((-3, 0))),
            ("-9223372036854775808.1", None),
            ("9223372036854775807.9", Some((i64::MAX, 900_000_000))),
            (".5", None),
            ("", None),
            ("1.5e3", None),
            ("1 ", None),
            ("0x10", None),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
    }
}
