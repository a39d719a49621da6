//! Numbers as people read them.

/// Bytes with three digits and a decimal unit: `1.23 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return format_value(value, unit);
        }
        value /= 1000.0;
    }
    format_value(value, "TB")
}

fn format_value(value: f64, unit: &str) -> String {
    match value {
        _ if unit == "B" => format!("{value:.0} B"),
        v if v < 9.995 => format!("{v:.2} {unit}"),
        v if v < 99.95 => format!("{v:.1} {unit}"),
        v => format!("{v:.0} {unit}"),
    }
}

/// Reads a number of bytes, as it is or with a unit: `72MiB`, `200 MB`, `1G`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().trim_end_matches(['b', 'B']).to_ascii_lowercase();
    let (base, power) = match unit.strip_suffix('i') {
        Some(unit) => (1024_u64, unit.to_owned()),
        None => (1000, unit),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == power);
    let factor = power.and_then(|power| base.checked_pow(u32::try_from(power).ok()?));
    let number: Option<u64> = number.parse().ok();
    let size = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    size.ok_or_else(|| "a size is a number and, after it, B, kB, MB, GB, KiB, MiB or GiB".into())
}

/// The first twelve digits of an id, as other tools show it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("7", 7),
            ("7B", 7),
            ("72MiB", 72 << 20),
            ("200 MB", 200_000_000),
            ("1g", 1_000_000_000),
            ("3Ki", 3 << 10),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "MB", "-1", "1.5G", "1XB", "99999999TiB", "1 M B"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn three_digits_are_shown() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_100_000_000, "1.10 GB"),
            (9_999_999, "10.0 MB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
