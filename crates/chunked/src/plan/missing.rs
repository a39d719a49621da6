//! Chunks that have to be fetched.

use std::collections::HashMap;

use super::ranges::Part;
use crate::{Toc, Wanted};

/// Chunks that have to be fetched, each content once: the first place in the layer
/// that wants it owns it, and the others get copies.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// In the order of the blob, which is that of the files.
    pub(crate) parts: Vec<Part>,
    /// In the order of what they are copies of.
    copies: Vec<Copy>,
}

/// A chunk that has the content of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Which of the parts that is.
    owner: u32,
    /// Number of its file among those with content.
    pub(crate) file: u32,
    /// Number of the chunk in the file.
    pub(crate) chunk: u32,
}

impl Missing {
    /// All of these chunks, given as numbers of files and of chunks in them, in the
    /// order of the tar. What repeats among them is told by `wanted`.
    pub(crate) fn of(
        toc: &Toc,
        wanted: &Wanted,
        chunks: impl IntoIterator<Item = (u32, u32)>,
    ) -> Self {
        let mut missing = Self::default();
        let mut owners = HashMap::new();
        for (file, chunk) in chunks {
            let number = u32::try_from(missing.parts.len()).expect("a TOC has 32 bits of chunks");
            let content = toc.file_number(file);
            let repeated = content
                .chunk_digest(chunk)
                .and_then(|digest| wanted.repeated(&digest))
                // A TOC may give one digest two lengths.
                .map(|digest| (digest, content.chunk(chunk).size));
            let owner = repeated.map_or(number, |content| *owners.entry(content).or_insert(number));
            if owner == number {
                missing.parts.push(Part::of(content, chunk));
            } else {
                missing.copies.push(Copy { owner, file, chunk });
            }
        }
        missing.copies.sort_by_key(|copy| copy.owner);
        missing
    }

    /// The copies of part number `part`.
    pub(crate) fn copies_of(&self, part: usize) -> &[Copy] {
        let first = self.copies.partition_point(|copy| (copy.owner as usize) < part);
        let after = self.copies.partition_point(|copy| copy.owner as usize <= part);
        &self.copies[first..after]
    }

    /// All copies.
    pub(crate) fn copies(&self) -> &[Copy] {
        &self.copies
    }
}
