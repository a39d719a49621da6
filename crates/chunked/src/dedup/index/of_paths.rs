//! The other way round: what an index says of given files.

use std::collections::HashMap;

use storage_core::{Digest, LayerPath};

use super::find::path_at;
use super::format::{ALGORITHM, DIGEST, Location, TAG, numbers};
use super::window::Window;
use super::{Index, IndexError};

impl Index {
    /// The digests under which the content of each of these files, of that length, may
    /// stand in the index. More than one for most: a file has a fingerprint of its
    /// attributes beside the digest of its content, and nothing tells which is which.
    ///
    /// Reads the whole index.
    ///
    /// # Errors
    ///
    /// If it turns out to be damaged, or can't be read.
    pub fn digests_of(
        &self,
        files: &HashMap<LayerPath, u64>,
    ) -> Result<Vec<(LayerPath, Digest)>, IndexError> {
        let mut vdata = Window::new(&self.file, self.vdata);
        let mut names = Window::new(&self.file, self.names);
        let (mut found, mut tag) = (Vec::new(), [0; TAG]);
        let lengths: std::collections::HashSet<u64> = files.values().copied().collect();
        for number in 0..self.count() {
            self.tags.read(&self.file, number * TAG as u64, &mut tag)?;
            let [place, length] = numbers(&tag[DIGEST..]);
            let length = usize::try_from(length).ok().filter(|length| *length <= Location::MAX);
            let length = length.ok_or(IndexError::Damaged("tags"))?;
            let location =
                Location::parse(vdata.get(place, length)?).ok_or(IndexError::Damaged("vdata"))?;
            if location.offset > 0 || !lengths.contains(&location.length) {
                continue;
            }
            if let Some(path) = path_at(location.name, &mut names)?
                && files.get(&path) == Some(&location.length)
                && let Some(digest) = tag[ALGORITHM.len()..].first_chunk::<32>()
            {
                found.push((path, Digest::from_bytes(*digest)));
            }
        }
        Ok(found)
    }
}
