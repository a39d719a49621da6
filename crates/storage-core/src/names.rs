//! Names, many of them, in little room.

/// Stands for the empty name.
const EMPTY: u32 = u32::MAX;

/// Names as a tree of their parts: what neighbours share is there once.
///
/// ```
/// let mut names = storage_core::Names::default();
/// let [first, second] = [&b"usr/share/a"[..], b"usr/share/b"].map(|name| names.add(name));
/// assert_eq!(names.get(second.ok_or("there is room")?), b"usr/share/b");
/// assert!(names.bytes() < 50 && first != second);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// … │ place of the part before, u32 │ length, u16 │ part with its slash │ …
    arena: Vec<u8>,
    /// Places of the parts of the name that came last.
    last: Vec<u32>,
}

impl Names {
    /// Keeps a name as it is written, and gives the number that stands for it.
    ///
    /// Names that come one after the other share what is above them. `None` if
    /// there is no room: there are 4 GiB, and 64 KiB for each part.
    pub fn add(&mut self, name: &[u8]) -> Option<u32> {
        let mut depth = 0;
        for part in name.split_inclusive(|&byte| byte == b'/') {
            if self.last.get(depth).is_none_or(|&at| self.part(at).1 != part) {
                self.last.truncate(depth);
                let at = self.push(part)?;
                self.last.push(at);
            }
            depth += 1;
        }
        self.last.truncate(depth);
        Some(self.last.last().copied().unwrap_or(EMPTY))
    }

    /// The name of that number.
    ///
    /// # Panics
    ///
    /// If none was given this number.
    pub fn get(&self, number: u32) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut next = number;
        while next != EMPTY {
            let (before, part) = self.part(next);
            parts.push(part);
            next = before;
        }
        parts.reverse();
        parts.concat()
    }

    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Gives back what was taken for more.
    pub fn shrink(&mut self) {
        self.arena.shrink_to_fit();
    }

    fn push(&mut self, part: &[u8]) -> Option<u32> {
        let at = u32::try_from(self.arena.len()).ok().filter(|&at| at != EMPTY)?;
        let length = u16::try_from(part.len()).ok()?;
        let before = self.last.last().copied().unwrap_or(EMPTY);
        self.arena.extend_from_slice(&before.to_le_bytes());
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(part);
        Some(at)
    }

    /// The place of the part before, and the part.
    fn part(&self, at: u32) -> (u32, &[u8]) {
        let rest = &self.arena[at as usize..];
        let (before, rest) = rest.split_first_chunk().expect("parts are whole");
        let (length, rest) = rest.split_first_chunk().expect("parts are whole");
        (u32::from_le_bytes(*before), &rest[..usize::from(u16::from_le_bytes(*length))])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_share_what_is_above_them() {
        let mut names = Names::default();
        let mut add = |name: &str| (names.add(name.as_bytes()).unwrap(), names.bytes());
        let (first, size) = add("usr/share/a");
        assert_eq!(add("usr/share/a"), (first, size));
        assert_eq!(add("usr/share/bc").1, size + 6 + 2);
        assert_eq!(add("").0, EMPTY);
    }

    #[test]
    fn a_part_that_is_too_long_has_no_room() {
        let mut names = Names::default();
        assert!(names.add(&vec![b'a'; 1 << 16]).is_none());
        let longest = vec![b'a'; (1 << 16) - 1];
        let number = names.add(&longest).unwrap();
        assert!(names.get(number) == longest);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_as_it_was(texts in proptest::collection::vec("[./ab]{0,6}", 0..50)) {
            let mut names = Names::default();
            let numbers: Vec<_> =
                texts.iter().map(|text| names.add(text.as_bytes()).unwrap()).collect();
            for (text, number) in texts.iter().zip(numbers) {
                prop_assert_eq!(names.get(number), text.as_bytes());
            }
        }
    }
}
