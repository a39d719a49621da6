//! Paths, many of them, in little room.

use storage_core::LayerPath;

/// Stands for the root, which is above all.
const ROOT: u32 = u32::MAX;

/// Paths as a tree of names: what neighbours share is there once.
///
/// ```text
/// arena: … │ place of the name above, u32 │ length, u8 │ name │ …
/// ```
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    arena: Vec<u8>,
    /// Places of the names of the path that came last.
    last: Vec<u32>,
}

impl Names {
    /// Keeps a path, and gives the number that stands for it.
    ///
    /// Paths that come one after the other share what is above them. `None` if
    /// there is no room: there are 4 GiB.
    pub(super) fn add(&mut self, path: &LayerPath) -> Option<u32> {
        let parts = path.as_bytes().split(|&b| b == b'/').filter(|part| !part.is_empty());
        let mut depth = 0;
        for part in parts {
            if self.last.get(depth).is_none_or(|&at| self.name(at).1 != part) {
                self.last.truncate(depth);
                let name = self.push(part)?;
                self.last.push(name);
            }
            depth += 1;
        }
        self.last.truncate(depth);
        Some(self.last.last().copied().unwrap_or(ROOT))
    }

    /// The path of that number.
    pub(super) fn path(&self, number: u32) -> LayerPath {
        let mut parts = Vec::new();
        let mut next = number;
        while next != ROOT {
            let (above, name) = self.name(next);
            parts.push(name);
            next = above;
        }
        parts.reverse();
        LayerPath::parse(&parts.join(&b'/')).expect("it was one when it was added")
    }

    fn push(&mut self, name: &[u8]) -> Option<u32> {
        let at = u32::try_from(self.arena.len()).ok().filter(|&at| at != ROOT)?;
        let above = self.last.last().copied().unwrap_or(ROOT);
        self.arena.extend_from_slice(&above.to_le_bytes());
        self.arena.push(u8::try_from(name.len()).expect("a part has at most 255 bytes"));
        self.arena.extend_from_slice(name);
        Some(at)
    }

    /// The place of the name above, and the name.
    fn name(&self, at: u32) -> (u32, &[u8]) {
        let rest = &self.arena[at as usize..];
        let (above, rest) = rest.split_first_chunk().expect("names are whole");
        let (length, rest) = rest.split_first().expect("names are whole");
        (u32::from_le_bytes(*above), &rest[..usize::from(*length)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_share_what_is_above_them() {
        let mut names = Names::default();
        let mut add = |text: &str| {
            let number = names.add(&LayerPath::parse(text.as_bytes()).unwrap()).unwrap();
            (number, names.arena.len())
        };
        let (first, size) = add("usr/share/a");
        assert_eq!(add("usr/share/a"), (first, size));
        assert_eq!(add("usr/share/bc").1, size + 5 + 2);
        assert_eq!(add("").0, ROOT);
    }

    proptest! {
        #[test]
        fn every_path_comes_back(texts in proptest::collection::vec("([ab]{1,2}/){0,3}[abc]", 0..50)) {
            let mut names = Names::default();
            let paths: Vec<_> =
                texts.iter().map(|text| LayerPath::parse(text.as_bytes()).unwrap()).collect();
            let numbers: Vec<_> = paths.iter().map(|path| names.add(path).unwrap()).collect();
            for (path, number) in paths.iter().zip(numbers) {
                prop_assert_eq!(&names.path(number), path);
            }
        }
    }
}
