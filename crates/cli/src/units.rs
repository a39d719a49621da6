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

/// The first twelve digits of an id, as other tools show it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

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
