//! A TOC that says something else than the tar.

use serde_json::{Value, json};
use testkit::forged::{Recipe, char_device, dir, fifo, file, hard_link, symlink};

use crate::case::Verdict::{Accept, Whole};
use crate::case::{Case, forged};

/// 0 and 1 are files of one size, 2 a directory, 3 a symlink, 4 a hard link, 5 a pipe,
/// 6 a device, 7 a file with an xattr.
fn honest() -> Recipe {
    Recipe::of([
        file("a", "content of a"),
        file("b", "content of b").owner(1, 2),
        dir("d"),
        symlink("l", "a"),
        hard_link("h", "a"),
        fifo("p"),
        char_device("c", 1, 3),
        file("x", "1").xattr("user.note", "v"),
    ])
}

fn list(toc: &mut Value) -> &mut Vec<Value> {
    toc.as_array_mut().expect("entries are a list")
}

pub(crate) fn cases() -> Vec<Case> {
    type Lie = (&'static str, &'static str, fn(&mut Value));
    let lies: [Lie; 71] = [
        // Attributes.
        ("mode", "mode", |e| e[0]["mode"] = 0o600.into()),
        ("setuid", "mode", |e| e[0]["mode"] = 0o4755.into()),
        ("setgid", "mode", |e| e[0]["mode"] = 0o2755.into()),
        ("sticky", "mode", |e| e[2]["mode"] = 0o1777.into()),
        ("no_mode", "mode", |e| e[0]["mode"] = Value::Null),
        ("mode_of_a_symlink", "mode", |e| e[3]["mode"] = 0o755.into()),
        ("mode_of_a_hard_link", "mode", |e| e[4]["mode"] = 0o4755.into()),
        ("owner", "owner", |e| e[1]["uid"] = 0.into()),
        ("group", "owner", |e| e[1]["gid"] = 0.into()),
        ("no_owner", "owner", |e| e[1]["uid"] = Value::Null),
        ("owner_of_a_directory", "owner", |e| e[2]["uid"] = 7.into()),
        ("owner_of_a_symlink", "owner", |e| e[3]["uid"] = 7.into()),
        ("owner_by_name", "owner", |e| {
            e[1]["uid"] = Value::Null;
            e[1]["userName"] = "root".into();
        }),
        ("time", "times", |e| e[0]["modtime"] = "2001-01-01T00:00:00Z".into()),
        ("fraction_of_time", "times", |e| e[0]["modtime"] = "2023-11-14T22:13:20.5Z".into()),
        ("no_time", "times", |e| e[0]["modtime"] = Value::Null),
        ("access_time", "times", |e| e[0]["accesstime"] = "2001-01-01T00:00:00Z".into()),
        ("change_time", "times", |e| e[0]["changetime"] = "2001-01-01T00:00:00Z".into()),
        ("one_more_xattr", "xattrs", |e| e[7]["xattrs"]["user.more"] = "AQ==".into()),
        ("capability", "xattrs", |e| {
            e[0]["xattrs"] = json!({"security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA="})
        }),
        ("overlay_xattr", "xattrs", |e| e[2]["xattrs"] = json!({"trusted.overlay.opaque": "eQ=="})),
        ("other_xattr", "xattrs", |e| e[7]["xattrs"]["user.note"] = "AQ==".into()),
        ("xattr_of_another_name", "xattrs", |e| e[7]["xattrs"] = json!({"user.n": "dg=="})),
        ("no_xattrs", "xattrs", |e| e[7]["xattrs"] = json!({})),
        ("xattr_that_is_not_base64", "xattr", |e| e[7]["xattrs"]["user.note"] = "!".into()),
        ("xattr_without_a_name", "xattr", |e| e[7]["xattrs"][""] = "AQ==".into()),
        ("xattr_with_zero_byte", "xattr", |e| e[7]["xattrs"]["user.a\0b"] = "AQ==".into()),
        // Types.
        ("file_is_a_device", "type", |e| {
            e[5] = json!({"type": "block", "name": "p", "mode": 0o755, "devMajor": 8, "modtime": e[5]["modtime"]});
        }),
        ("pipe_is_a_file", "type", |e| e[5]["type"] = "reg".into()),
        ("pipe_is_a_directory", "type", |e| e[5]["type"] = "dir".into()),
        ("directory_is_a_pipe", "type", |e| e[2]["type"] = "fifo".into()),
        ("directory_is_a_symlink", "type", |e| {
            e[2]["type"] = "symlink".into();
            e[2]["linkName"] = "/".into();
        }),
        ("file_is_a_directory", "type", |e| e[7]["type"] = "dir".into()),
        ("char_is_block", "type", |e| e[6]["type"] = "block".into()),
        ("major", "type", |e| e[6]["devMajor"] = 8.into()),
        ("minor", "type", |e| e[6]["devMinor"] = 0.into()),
        ("device_is_a_whiteout", "type", |e| {
            e[6]["devMajor"] = 0.into();
            e[6]["devMinor"] = 0.into();
        }),
        ("type_without_a_name", "unknown type", |e| e[0]["type"] = "".into()),
        ("type_of_the_future", "unknown type", |e| e[0]["type"] = "socket".into()),
        ("no_type", "unknown type", |e| e[0]["type"] = Value::Null),
        // Names and order.
        ("name", "name", |e| e[3]["name"] = "other".into()),
        ("spelling", "name", |e| e[3]["name"] = "./l".into()),
        ("slash_at_the_end", "name", |e| e[2]["name"] = "d/".into()),
        ("case_of_letters", "name", |e| e[3]["name"] = "L".into()),
        ("outside", "leaves", |e| e[3]["name"] = "../l".into()),
        ("no_name", "name", |e| e[3]["name"] = "".into()),
        ("name_with_zero_byte", "zero byte", |e| e[3]["name"] = "l\0".into()),
        ("name_too_long", "too long", |e| e[3]["name"] = "l".repeat(256).into()),
        ("below_a_file", "no directory", |e| e[3]["name"] = "a/l".into()),
        ("below_a_symlink", "no directory", |e| e[5]["name"] = "l/p".into()),
        ("whiteout", "name", |e| e[5]["name"] = ".wh.p".into()),
        ("name_of_another", "name of another", |e| e[5]["name"] = "d".into()),
        ("name_of_another_in_other_words", "name of another", |e| {
            e[5]["name"] = "./x/../d/".into()
        }),
        ("one_less", "does not have the entry", |e| drop(list(e).pop())),
        ("first_is_missing", "name", |e| drop(list(e).remove(2))),
        ("nothing_at_all", "does not have the entry", |e| list(e).clear()),
        ("one_more", "does not have the entry", |e| {
            list(e).push(json!({"type": "dir", "name": "more"}))
        }),
        ("setuid_file_more", "does not have the entry", |e| {
            list(e).push(json!({"type": "reg", "name": "s", "mode": 0o4755}))
        }),
        ("twice", "name of another", |e| {
            let again = e[5].clone();
            list(e).push(again);
        }),
        ("order", "name", |e| list(e).swap(2, 5)),
        ("files_swapped", "impossible place", |e| list(e).swap(0, 1)),
        // Content.
        ("size", "size", |e| e[7]["size"] = 2.into()),
        ("no_size", "size", |e| {
            for key in ["size", "digest"] {
                e[7][key] = Value::Null;
            }
        }),
        ("size_of_a_pipe", "", |e| e[5]["type"] = "chunk".into()),
        ("digest_of_another_file", "digest", |e| e[0]["digest"] = e[1]["digest"].clone()),
        ("content_of_another_file", "", |e| {
            for key in ["digest", "offset", "endOffset"] {
                e[0][key] = e[1][key].clone();
            }
            e[1] = json!({"type": "dir", "name": "b"});
        }),
        ("no_digest", "no digest", |e| e[0]["digest"] = Value::Null),
        ("digest_of_another_kind", "sha256", |e| {
            e[0]["digest"] = format!("sha512:{}", "0".repeat(128)).into()
        }),
        ("digest_in_capitals", "hex", |e| {
            e[0]["digest"] = format!("sha256:{}", "A".repeat(64)).into()
        }),
        ("digest_that_is_a_path", "digest", |e| {
            e[0]["digest"] = "sha256:../../../etc/passwd".into()
        }),
        ("empty_with_content", "", |e| {
            e[0]["size"] = 0.into();
        }),
    ];
    let mut cases: Vec<Case> = lies
        .into_iter()
        .map(|(name, reason, lie)| forged(name, honest().toc(lie), Whole(reason)))
        .collect();
    cases.extend([
        forged("honest", honest(), Accept),
        forged(
            "unknown_fields",
            honest().toc(|e| e[0]["innerOffset"] = json!({"a": [1, null]})),
            Accept,
        ),
        forged(
            "fields_in_other_case",
            honest().toc_bytes(|b| replace(b, "\"uid\":", "\"UID\":")),
            Accept,
        ),
        forged(
            "field_twice",
            honest().toc_bytes(|b| replace(b, "\"uid\":1", "\"uid\":0,\"Uid\":1")),
            Whole("twice"),
        ),
        forged(
            "field_without_a_name",
            honest().toc_bytes(|b| replace(b, "\"uid\":1", "\"\":0,\"uid\":1")),
            Whole("without a name"),
        ),
        forged(
            "entries_twice",
            honest().toc_bytes(|b| replace(b, "{\"entries\":", "{\"entries\":[],\"Entries\":")),
            Whole(""),
        ),
        forged("no_entries", honest().whole_toc(|toc| toc["entries"] = Value::Null), Whole("")),
        forged(
            "entries_are_an_object",
            honest().whole_toc(|toc| toc["entries"] = json!({"0": 1})),
            Whole(""),
        ),
        forged("entry_is_a_number", honest().toc(|e| e[0] = 1.into()), Whole("")),
        forged("entry_is_null", honest().toc(|e| e[0] = Value::Null), Whole("")),
        forged("not_json", honest().toc_bytes(|b| b.truncate(b.len() / 2)), Whole("")),
        forged("empty", honest().toc_bytes(Vec::clear), Whole("")),
        forged("more_after_its_end", honest().toc_bytes(|b| b.extend(b"{}")), Whole("")),
        forged("white_space_after_its_end", honest().toc_bytes(|b| b.extend(b" \r\n\t")), Accept),
        forged(
            "not_text",
            honest().toc_bytes(|b| replace_bytes(b, b"\"a\"", b"\"\xff\"")),
            Whole(""),
        ),
        forged(
            "nested_a_thousand_times",
            honest()
                .toc(|e| e[0]["x"] = nested(100))
                .toc_bytes(|b| replace(b, "[[", &"[".repeat(100_000))),
            Whole(""),
        ),
        forged(
            "version_of_the_future",
            honest().whole_toc(|toc| toc["version"] = 99.into()),
            Accept,
        ),
        forged("version_is_text", honest().whole_toc(|toc| toc["version"] = "1".into()), Whole("")),
        forged(
            "no_digest_of_tar_split",
            honest().whole_toc(|toc| toc["tarSplitDigest"] = Value::Null),
            Whole("no tar-split"),
        ),
        forged(
            "digest_of_another_tar_split",
            honest().whole_toc(|toc| {
                toc["tarSplitDigest"] = format!("sha256:{}", "0".repeat(64)).into()
            }),
            Whole("verify the tar-split"),
        ),
        forged(
            "digest_of_tar_split_that_is_none",
            honest().whole_toc(|toc| toc["tarSplitDigest"] = "sha256:0".into()),
            Whole("digest"),
        ),
        forged(
            "digest_of_tar_split_twice",
            honest().toc_bytes(|b| {
                replace(b, "\"tarSplitDigest\":", "\"tarsplitdigest\":\"\",\"tarSplitDigest\":")
            }),
            Whole("duplicate"),
        ),
    ]);
    cases
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    replace_bytes(bytes, from.as_bytes(), to.as_bytes());
}

/// Replaces the first of something that must be there.
pub(crate) fn replace_bytes(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    bytes.splice(at..at + from.len(), to.iter().copied());
}
