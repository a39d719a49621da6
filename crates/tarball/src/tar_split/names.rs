//! No name twice: what Go's tar-split insists on.

use std::borrow::Cow;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The names so far, as hashes: 9 to 19 bytes each.
///
/// The keys of the hash are random, so nobody can make two names meet; that two of
/// 4 million do by chance is as likely as one in two million.
#[derive(Debug, Default)]
pub(super) struct Names {
    hashes: HashSet<u64>,
    state: RandomState,
    pub(super) duplicate: Option<Vec<u8>>,
}

impl Names {
    /// Whether the name, cleaned, is new.
    pub(super) fn add(&mut self, name: &[u8]) -> bool {
        let new = self.hashes.insert(self.state.hash_one(clean(name)));
        if !new && self.duplicate.is_none() {
            self.duplicate = Some(name.to_vec());
        }
        new
    }
}

/// A name as Go's `filepath.Clean` leaves it: `./a//b/` is `a/b`, but `/a` stays
/// `/a` and `../a` stays `../a`.
fn clean(name: &[u8]) -> Cow<'_, [u8]> {
    let rooted = name.starts_with(b"/");
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    if name.split(|&byte| byte == b'/').all(plain) {
        return Cow::Borrowed(name);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => _ = parts.pop(),
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let path = parts.join(&b'/');
    match (rooted, path.is_empty()) {
        (true, _) => [b"/", &path[..]].concat().into(),
        (false, true) => Cow::Borrowed(b"."),
        (false, false) => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_go_cleans_them() {
        for (name, expected) in [
            ("a", "a"),
            ("./a", "a"),
            ("a/", "a"),
            ("./a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("a/b/../../..", ".."),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/", "/"),
            ("/a/", "/a"),
            ("/../a", "/a"),
            ("//a/../..", "/"),
            ("", "."),
            ("./", "."),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean(name.as_bytes()), expected.as_bytes(), "{name:?}");
        }
    }

    #[test]
    fn the_first_name_that_comes_twice_is_kept() {
        let mut names = Names::default();
        for name in ["dir/", "dir/a", "/dir", "dir/a/"] {
            names.add(name.as_bytes());
        }
        assert!(!names.add(b"dir"));
        assert_eq!(names.duplicate.as_deref(), Some(&b"dir/a/"[..]));
    }
}
