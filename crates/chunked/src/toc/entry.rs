//! One entry of a TOC as its JSON has it, borrowed and not yet judged.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The fields of an entry; those that are absent or `null` are empty or zero.
///
/// Field names compare without regard to case and unknown ones are skipped, as
/// the readers in use do. A field that stands twice is refused: readers
/// disagree on which one counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryText<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) link_name: Cow<'a, str>,
    pub(crate) mode: u64,
    pub(crate) size: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) modtime: Cow<'a, str>,
    pub(crate) accesstime: Cow<'a, str>,
    pub(crate) changetime: Cow<'a, str>,
    pub(crate) dev_major: u64,
    pub(crate) dev_minor: u64,
    /// Names with values in base64.
    pub(crate) xattrs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) digest: Cow<'a, str>,
    pub(crate) offset: u64,
    pub(crate) end_offset: u64,
    pub(crate) chunk_size: u64,
    pub(crate) chunk_offset: u64,
    pub(crate) chunk_digest: Cow<'a, str>,
    pub(crate) chunk_type: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for EntryText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

/// The known field names in lower case; the order gives each its bit in `seen`.
const FIELDS: [&str; 20] = [
    "type",
    "name",
    "linkname",
    "mode",
    "size",
    "uid",
    "gid",
    "modtime",
    "accesstime",
    "changetime",
    "devmajor",
    "devminor",
    "xattrs",
    "digest",
    "offset",
    "endoffset",
    "chunksize",
    "chunkoffset",
    "chunkdigest",
    "chunktype",
];

/// Most xattrs of a file: all their names together have 64 KiB on Linux, and each begins with
/// a namespace.
const MOST_XATTRS: usize = 8192;

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = EntryText<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EntryText<'de>, A::Error> {
        let mut entry = EntryText::default();
        let mut seen = 0_u32;
        while let Some(Text(key)) = map.next_key()? {
            if key.is_empty() {
                // One reader in use takes this for the end of the object.
                return Err(A::Error::custom("a field without a name"));
            }
            let field = FIELDS.iter().position(|name| key.eq_ignore_ascii_case(name));
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & 1 << field != 0 {
                return Err(A::Error::custom(format_args!("field {} stands twice", FIELDS[field])));
            }
            seen |= 1 << field;
            take_field(&mut entry, FIELDS[field], &mut map)?;
        }
        Ok(entry)
    }
}

fn take_field<'de, A: MapAccess<'de>>(
    entry: &mut EntryText<'de>,
    field: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    let text = match field {
        "type" => &mut entry.kind,
        "name" => &mut entry.name,
        "linkname" => &mut entry.link_name,
        "modtime" => &mut entry.modtime,
        "accesstime" => &mut entry.accesstime,
        "changetime" => &mut entry.changetime,
        "digest" => &mut entry.digest,
        "chunkdigest" => &mut entry.chunk_digest,
        "chunktype" => &mut entry.chunk_type,
        "xattrs" => {
            entry.xattrs = map.next_value::<Xattrs<'de>>()?.0;
            return Ok(());
        }
        _ => return take_number(entry, field, map),
    };
    *text = map.next_value::<Text<'de>>()?.0;
    Ok(())
}

fn take_number<'de, A: MapAccess<'de>>(
    entry: &mut EntryText<'de>,
    field: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    let number = match field {
        "mode" => &mut entry.mode,
        "size" => &mut entry.size,
        "uid" => &mut entry.uid,
        "gid" => &mut entry.gid,
        "devmajor" => &mut entry.dev_major,
        "devminor" => &mut entry.dev_minor,
        "offset" => &mut entry.offset,
        "endoffset" => &mut entry.end_offset,
        "chunksize" => &mut entry.chunk_size,
        "chunkoffset" => &mut entry.chunk_offset,
        other => unreachable!("field {other} has no place"),
    };
    // Go's integers are signed; a larger one makes those readers refuse the TOC.
    *number = map.next_value::<Option<u64>>()?.unwrap_or(0);
    if *number > i64::MAX.unsigned_abs() {
        return Err(A::Error::custom(format_args!("{field} is out of range")));
    }
    Ok(())
}

/// Text that is borrowed unless it has escapes; `null` is empty.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }
}

struct Xattrs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Xattrs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(XattrsVisitor)
    }
}

struct XattrsVisitor;

impl<'de> Visitor<'de> for XattrsVisitor {
    type Value = Xattrs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of xattrs")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Xattrs(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut xattrs = Vec::new();
        while let Some((Text(key), Text(value))) = map.next_entry()? {
            if xattrs.len() == MOST_XATTRS {
                return Err(A::Error::custom("more xattrs than a file can have"));
            }
            xattrs.push((key, value));
        }
        Ok(Xattrs(xattrs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<EntryText<'_>, serde_json::Error> {
        serde_json::from_slice(json.as_bytes())
    }

    #[test]
    fn fields_are_found_whatever_their_case_and_unknown_ones_are_skipped() {
        let entry = parse(
            r#"{"TYPE":"reg","name":"a\u0062","sIze":3,"what":{"name":[1]},"uid":null,
                "xattrs":{"user.a":"YQ=="},"digest":null,"devMajor":8,"chunkOffset":7}"#,
        )
        .unwrap();
        assert_eq!((&*entry.kind, &*entry.name, entry.size), ("reg", "ab", 3));
        assert_eq!(entry.xattrs, [("user.a".into(), "YQ==".into())]);
        assert_eq!((entry.uid, &*entry.digest, entry.dev_major), (0, "", 8));
        assert_eq!(entry.chunk_offset, 7);
    }

    #[test]
    fn no_file_has_more_xattrs_than_linux_keeps() {
        let xattrs = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|n| format!(r#""user.{n}":"""#)).collect();
            parse(&format!(r#"{{"xattrs":{{{}}}}}"#, pairs.join(",")))
                .map(|entry| entry.xattrs.len())
        };
        assert_eq!(xattrs(MOST_XATTRS).unwrap(), MOST_XATTRS);
        assert!(xattrs(MOST_XATTRS + 1).is_err());
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let entry = parse(r#"{"name":"plain","linkName":"esc\t"}"#).unwrap();
        assert!(matches!(entry.name, Cow::Borrowed("plain")));
        assert!(matches!(entry.link_name, Cow::Owned(_)));
    }

    #[test]
    fn wrong_types_negative_numbers_and_repeated_fields_are_refused() {
        for json in [
            r#"{"name":1}"#,
            r#"{"size":"1"}"#,
            r#"{"size":-1}"#,
            r#"{"size":1.5}"#,
            r#"{"uid":18446744073709551616}"#,
            r#"{"offset":9223372036854775808}"#,
            r#"{"name":"a","Name":"b"}"#,
            r#"{"xattrs":["a"]}"#,
            r#"{"xattrs":{"a":1}}"#,
            r#"{"":1,"name":"a"}"#,
            r#"["name"]"#,
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
    }
}
