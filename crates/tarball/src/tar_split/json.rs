//! Strings as Go's `encoding/json` writes them.

/// Appends a quoted string.
///
/// Go escapes `<`, `>`, `&` and the two line separators of Unicode besides what
/// must be escaped, and since 1.22 it has short forms for `\b` and `\f`.
pub(super) fn put_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.22 and later print.
    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = Vec::new();
        put_string("a\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}<>&'é\u{2028}\u{2029}🦀", &mut out);
        let expected = "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}\
            \\u003c\\u003e\\u0026'é\\u2028\\u2029🦀\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
