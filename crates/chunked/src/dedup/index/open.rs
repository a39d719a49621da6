//! An index, opened.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::IndexError;
use super::format::{HEAD, LENGTHS, MAX_TAGS, TAG, numbers, parse_head};
use super::window::Part;

/// The index of a layer, open for reading.
///
/// Holds the file and a few numbers; it is read when something is looked for.
#[derive(Debug)]
pub struct Index {
    pub(super) file: File,
    /// Hash functions of the filter.
    pub(super) hashes: u32,
    pub(super) bloom: Part,
    pub(super) tags: Part,
    pub(super) vdata: Part,
    pub(super) names: Part,
}

impl Index {
    /// Opens an index, and sees whether it can be one.
    ///
    /// # Errors
    ///
    /// If it can't be read, is of another version or kind, or its length is not
    /// the one of its parts. What is wrong inside of the parts is found when they
    /// are read.
    pub fn open(file: File) -> Result<Self, IndexError> {
        let read = |part, at, buffer: &mut [u8]| {
            let outcome = file.read_exact_at(buffer, at);
            outcome.map_err(|source| IndexError::Read { part, source })
        };
        let mut head = [0; HEAD];
        read("first bytes", 0, &mut head)?;
        let (words, hashes) = parse_head(&head)?;
        let bloom = Part { name: "filter", at: HEAD as u64, length: words * 8 };
        let mut lengths = [0; LENGTHS];
        let lengths_at = bloom.at + bloom.length;
        read("lengths", lengths_at, &mut lengths)?;
        let [tags, vdata, names] = numbers(&lengths);
        if tags / TAG as u64 > MAX_TAGS {
            return Err(IndexError::TooLarge("tags"));
        }
        let first = lengths_at + LENGTHS as u64;
        let expected = [first, tags, vdata, names].into_iter().map(u128::from).sum();
        let metadata = file.metadata();
        let actual = metadata.map_err(|source| IndexError::Read { part: "length", source })?.len();
        if expected != u128::from(actual) {
            return Err(IndexError::Length { expected, actual });
        }
        if tags % TAG as u64 != 0 {
            return Err(IndexError::Damaged("tags"));
        }
        let tags = Part { name: "tags", at: first, length: tags };
        let vdata = Part { name: "vdata", at: tags.at + tags.length, length: vdata };
        let names = Part { name: "names", at: vdata.at + vdata.length, length: names };
        Ok(Self { file, hashes, bloom, tags, vdata, names })
    }

    /// How many tags there are.
    pub(super) fn count(&self) -> u64 {
        self.tags.length / TAG as u64
    }
}
