//! The names of one directory, kept tightly.

/// Names of up to 255 bytes each, taken out from the end.
///
/// One buffer for all: a directory of a million files costs its names and nine
/// bytes for each.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Each name after a byte with its length.
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Names {
    /// Adds a name.
    pub(crate) fn push(&mut self, name: &[u8]) {
        let length = u8::try_from(name.len()).expect("the kernel has no names over 255 bytes");
        self.starts.push(self.bytes.len());
        self.bytes.push(length);
        self.bytes.extend_from_slice(name);
    }

    /// From now on, names come in ascending order.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.starts.sort_unstable_by(|&a, &b| name_at(bytes, b).cmp(name_at(bytes, a)));
    }

    /// The next name, which is then no longer there.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.starts.pop().map(|start| name_at(&self.bytes, start).to_vec())
    }
}

fn name_at(bytes: &[u8], start: usize) -> &[u8] {
    &bytes[start + 1..][..usize::from(bytes[start])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_names_come_in_the_order_of_their_bytes() {
        let mut names = Names::default();
        for name in [&b"b"[..], b"a", b"\xff", b"a.", b"", b"B", &[b'x'; 255]] {
            names.push(name);
        }
        names.sort();
        let sorted: Vec<_> = std::iter::from_fn(|| names.pop()).collect();
        assert_eq!(
            sorted,
            [&b""[..], b"B", b"a", b"a.", b"b", &[b'x'; 255], b"\xff"].map(<[u8]>::to_vec)
        );
    }
}
