//! The JSON of one segment: read, and strings as Go's `encoding/json` writes them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A line as it is written; absent fields and `null` are empty.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Line<'a> {
    pub(super) r#type: u64,
    #[serde(borrow, default)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) name_raw: Text<'a>,
    #[serde(default)]
    pub(super) size: i64,
    #[serde(borrow, default)]
    pub(super) payload: Text<'a>,
    pub(super) position: u64,
}

/// A string that is borrowed from the line unless it has escapes.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or null")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(Borrowing)
    }
}

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
