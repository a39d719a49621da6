//! Lines for people, in which nothing speaks to the terminal.
//!
//! Names, notes and error texts come from images and registries. A terminal would obey the
//! escapes in them, and a newline would let an image write lines of ours. So every line
//! goes through [`printable`]: on standard output by [`say!`], in the log by [`Lines`], and
//! of errors in `report::failure`. JSON is not for people, and stays as it is.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

/// A text with its control characters as visible escapes, such as `\n` or `\u{1b}`.
///
/// Bytes that are no UTF-8 become U+FFFD: a lone 0x9b is a control character to some
/// terminals.
pub(crate) fn printable<T: AsRef<[u8]> + ?Sized>(text: &T) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text.as_ref());
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Prints one line, with arguments as for `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::printable::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// What [`say!`] becomes.
#[expect(clippy::print_stdout, reason = "a command talks")]
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    println!("{}", printable(&text.to_string()));
}

/// A writer for logs, to which each write is one line.
///
/// The log's formatter, which writes an event at once, escapes some characters of messages
/// but none of the other fields.
pub(crate) struct Lines<W>(pub(crate) W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (text, end) = match line.split_last() {
            Some((b'\n', text)) => (text, "\n"),
            _ => (line, ""),
        };
        let shown = format!("{}{end}", printable(text));
        self.0.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_visible() {
        for (text, shown) in [
            ("a\n\x1b[31m", "a\\n\\u{1b}[31m"),
            ("\r\t\0\x07\x08", "\\r\\t\\u{0}\\u{7}\\u{8}"),
            ("\x7f\u{80}\u{9b}2J\u{9f}", "\\u{7f}\\u{80}\\u{9b}2J\\u{9f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable(b"a\x9b2J"), "a\u{fffd}2J");
    }

    #[test]
    fn all_else_is_as_it_was() {
        for text in ["", "ä b", "a\\nb \"c\" 'd'", "\u{a0}\u{200d}🦀"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_the_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = file.reopen().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_writer(move || Lines(log.try_clone().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(path = %"a\n\x1b[2J\u{9b}", "first\nline");
            tracing::warn!("second");
        });
        let expected = " WARN reflayer::printable::tests: first\\nline path=a\\n\\u{1b}[2J\\u{9b}\n \
                        WARN reflayer::printable::tests: second\n";
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    }
}
