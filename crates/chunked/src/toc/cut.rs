//! Cuts the JSON of a TOC into its entries while it streams by.
//!
//! Only the outermost object and the array of entries are taken apart here, so
//! no more than one entry is in memory. Each piece is a whole JSON value for a
//! real parser, which judges what is inside.

use std::io::{self, BufRead};

/// Longest value that is looked at: an entry with all the xattrs that Linux allows.
const LONGEST: usize = 4 << 20;

/// One value of a TOC, still as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// One element of `entries`.
    Entry(&'a [u8]),
    /// A field of the outermost object other than `entries`: its name, in lower case, and value.
    Field(&'a str, &'a [u8]),
}

/// Why a stream could not be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    /// From the stream itself.
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("expected {expected}")]
    Syntax { at: u64, expected: &'static str },
    #[error("a value is too long")]
    TooLong { at: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Key { first: bool },
    Entry { first: bool },
    End,
}

/// Gives the values of a TOC one after another.
#[derive(Debug)]
pub(crate) struct Cutter<R> {
    input: R,
    at: u64,
    state: State,
    key: String,
    value: Vec<u8>,
    seen_entries: bool,
}

impl<R: BufRead> Cutter<R> {
    pub(crate) fn new(input: R) -> Self {
        let (key, value) = (String::new(), Vec::new());
        Self { input, at: 0, state: State::Start, key, value, seen_entries: false }
    }

    /// The next value; `None` after the last, when only white space followed it.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'_>>, CutError> {
        loop {
            let next = self.skip_space()?;
            match self.state {
                State::Start => {
                    self.expect(next, b'{', "an object")?;
                    self.state = State::Key { first: true };
                }
                State::Key { .. } if next == Some(b'}') => {
                    self.consume(1);
                    self.state = State::End;
                }
                State::Key { first } => {
                    self.comma(first, next)?;
                    self.read_key()?;
                    if self.key == "entries" {
                        self.open_entries()?;
                    } else {
                        self.state = State::Key { first: false };
                        self.capture()?;
                        return Ok(Some(Item::Field(&self.key, &self.value)));
                    }
                }
                State::Entry { .. } if next == Some(b']') => {
                    self.consume(1);
                    self.state = State::Key { first: false };
                }
                State::Entry { first } => {
                    self.comma(first, next)?;
                    if self.skip_space()? != Some(b'{') {
                        return Err(self.syntax("an entry"));
                    }
                    self.state = State::Entry { first: false };
                    self.capture()?;
                    return Ok(Some(Item::Entry(&self.value)));
                }
                State::End if next.is_none() => return Ok(None),
                State::End => return Err(self.syntax("nothing after the object")),
            }
        }
    }

    fn open_entries(&mut self) -> Result<(), CutError> {
        if self.seen_entries {
            return Err(self.syntax("only one list of entries"));
        }
        self.seen_entries = true;
        if self.skip_space()? == Some(b'n') {
            self.state = State::Key { first: false };
            self.capture()?;
            return if self.value == b"null" { Ok(()) } else { Err(self.syntax("entries")) };
        }
        let next = self.skip_space()?;
        self.expect(next, b'[', "entries")?;
        self.state = State::Entry { first: true };
        Ok(())
    }

    fn comma(&mut self, first: bool, next: Option<u8>) -> Result<(), CutError> {
        if first { Ok(()) } else { self.expect(next, b',', "a comma") }
    }

    fn read_key(&mut self) -> Result<(), CutError> {
        if self.skip_space()? != Some(b'"') {
            return Err(self.syntax("a field name"));
        }
        self.capture()?;
        self.key = serde_json::from_slice::<String>(&self.value)
            .map_err(|_| self.syntax("a field name"))?;
        self.key.make_ascii_lowercase();
        let next = self.skip_space()?;
        self.expect(next, b':', "a colon")?;
        self.skip_space()?;
        Ok(())
    }

    /// Takes one whole value, which starts here, into `value`.
    fn capture(&mut self) -> Result<(), CutError> {
        self.value.clear();
        let mut extent = Extent::default();
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Err(self.syntax("the rest of a value"));
            }
            let end = extent.find_end(buffer);
            let taken = end.unwrap_or(buffer.len());
            if self.value.len() + taken > LONGEST {
                return Err(CutError::TooLong { at: self.at });
            }
            self.value.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// The next byte that is not white space; it is not consumed.
    fn skip_space(&mut self) -> Result<Option<u8>, CutError> {
        loop {
            let buffer = self.input.fill_buf()?;
            let space =
                buffer.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
            let next = buffer.get(space).copied();
            let ended = buffer.is_empty();
            self.consume(space);
            if next.is_some() || ended {
                return Ok(next);
            }
        }
    }

    fn expect(
        &mut self,
        next: Option<u8>,
        byte: u8,
        expected: &'static str,
    ) -> Result<(), CutError> {
        if next != Some(byte) {
            return Err(self.syntax(expected));
        }
        self.consume(1);
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.at += bytes as u64;
    }

    fn syntax(&self, expected: &'static str) -> CutError {
        CutError::Syntax { at: self.at, expected }
    }
}

/// Finds where a value ends: brackets and strings are counted, nothing else is judged.
#[derive(Debug, Default)]
struct Extent {
    started: bool,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Extent {
    /// Offset just after the value, if it ends in `bytes`.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, &byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(i + 1);
                    }
                }
                // A number or a word ends before what follows it.
                b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r'
                    if self.depth == 0 && self.started =>
                {
                    return Some(i);
                }
                _ => {}
            }
            self.started = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], buffer: usize) -> Result<Vec<(String, String)>, String> {
        let mut cutter = Cutter::new(BufReader::with_capacity(buffer, text));
        let mut items = Vec::new();
        while let Some(item) = cutter.next().map_err(|e| e.to_string())? {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            items.push(match item {
                Item::Entry(value) => ("entry".into(), text(value)),
                Item::Field(key, value) => (key.into(), text(value)),
            });
        }
        Ok(items)
    }

    #[test]
    fn a_toc_is_cut_into_its_values_wherever_the_buffer_ends() {
        let text = br#" {"version": 1 , "Entries":[ {"name":"a\"}"},{"x":[{},{"y":"]"}]} ],
            "other":[1,{"a":"\\"}],"n":null,"tarSplitDigest":"sha256:\u0030"}  "#;
        let expected: Vec<(String, String)> = [
            ("version", "1"),
            ("entry", r#"{"name":"a\"}"}"#),
            ("entry", r#"{"x":[{},{"y":"]"}]}"#),
            ("other", r#"[1,{"a":"\\"}]"#),
            ("n", "null"),
            ("tarsplitdigest", r#""sha256:\u0030""#),
        ]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
        for buffer in 1..40 {
            assert_eq!(cut(text, buffer).as_ref(), Ok(&expected), "{buffer}");
        }
    }

    #[test]
    fn an_empty_toc_has_no_values() {
        assert_eq!(cut(b"{}", 8), Ok(Vec::new()));
        assert_eq!(cut(br#"{"entries":[]}"#, 8), Ok(Vec::new()));
        assert_eq!(cut(br#"{"entries":null}"#, 8), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_object_with_entries_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{} x",
            "{}{}",
            r#"{"a"}"#,
            r#"{"a":1 "b":2}"#,
            r#"{,"a":1}"#,
            r#"{"entries":[{}"#,
            r#"{"entries":[{},]}"#,
            r#"{"entries":[1]}"#,
            r#"{"entries":[{}{}]}"#,
            r#"{"entries":{}}"#,
            r#"{"entries":[],"ENTRIES":[]}"#,
            r#"{"a":1,}"#,
        ] {
            assert!(cut(text.as_bytes(), 8).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_without_end_is_not_kept_in_memory() {
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(LONGEST));
        assert!(cut(text.as_bytes(), 4096).unwrap_err().contains("too long"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = std::hint::black_box(cut_any(&bytes));
        }
    }

    fn cut_any(bytes: &[u8]) -> Result<usize, CutError> {
        let mut cutter = Cutter::new(bytes);
        let mut items = 0;
        while cutter.next()?.is_some() {
            items += 1;
        }
        Ok(items)
    }
}
