//! Whether the names of a TOC make a plain tree.
//!
//! A tar may name a file twice, or put one below a symbolic link, and then the
//! order of its entries decides what comes out. By the TOC, files are made in
//! another order, so such layers are left to a full pull. In all others the
//! order does not matter.

use std::hash::{BuildHasher, RandomState};

use storage_core::LayerPath;

use super::{EntryProblem, Kind, Toc, TocError};

/// Checks that no two entries have one name, that what is above an entry is a
/// directory, and that hard links point back.
pub(super) fn check(toc: &Toc) -> Result<(), TocError> {
    let names = Names::new(toc);
    let mut parent = LayerPath::ROOT;
    for index in 0..toc.len() {
        let problem = |problem| TocError::Entry {
            name: String::from_utf8_lossy(&toc.name(index)).into_owned(),
            problem,
        };
        let path = path_of(toc, index);
        if names.find(&path) != Some(index) {
            return Err(problem(EntryProblem::Duplicate));
        }
        if let Some((above, _)) = path.split_last()
            && above != parent
        {
            if !names.is_directory(&above, &parent) {
                return Err(problem(EntryProblem::BelowNoDirectory));
            }
            parent = above;
        }
        let record = &toc.records[index];
        if record.kind == Kind::HardLink {
            let target = LayerPath::parse(toc.bytes(toc.extra(record).link))
                .map_err(|error| problem(error.into()))?;
            let found = names.find(&target).filter(|&found| found < index);
            if !found.is_some_and(|found| toc.records[found].kind != Kind::Directory) {
                return Err(problem(EntryProblem::LinkTarget));
            }
        }
        if super::build::loses_content(&toc.entry(index)) {
            return Err(problem(EntryProblem::Whiteout));
        }
    }
    Ok(())
}

/// Finds entries by what they make or hide: 16 bytes for each.
struct Names<'t> {
    toc: &'t Toc,
    hasher: RandomState,
    sorted: Vec<(u64, u32)>,
}

impl<'t> Names<'t> {
    fn new(toc: &'t Toc) -> Self {
        // Keyed at random, so that no layer can be made to have many equal hashes.
        let hasher = RandomState::new();
        let mut sorted: Vec<(u64, u32)> =
            (0..).take(toc.len()).map(|i| (hasher.hash_one(path_of(toc, i as usize)), i)).collect();
        sorted.sort_unstable();
        Self { toc, hasher, sorted }
    }

    /// The first entry of that path.
    fn find(&self, path: &LayerPath) -> Option<usize> {
        let hash = self.hasher.hash_one(path);
        let start = self.sorted.partition_point(|&(other, _)| other < hash);
        let same = self.sorted[start..].iter().take_while(|&&(other, _)| other == hash);
        let mut indices = same.map(|&(_, index)| index as usize);
        indices.find(|&index| path_of(self.toc, index) == *path)
    }

    /// Whether nothing says that `path`, or what is above it, is no directory; `known` and
    /// what is above that are none.
    fn is_directory(&self, path: &LayerPath, known: &LayerPath) -> bool {
        if path.holds(known) {
            return true;
        }
        match self.find(path) {
            Some(index) => self.toc.records[index].kind == Kind::Directory,
            // An entry's own parents are looked at in its turn; those of a
            // directory without an entry are looked at here.
            None => path.split_last().is_none_or(|(above, _)| self.is_directory(&above, known)),
        }
    }
}

/// The path that an entry makes; for a whiteout, the one that it hides.
fn path_of(toc: &Toc, index: usize) -> LayerPath {
    let path = LayerPath::parse(&toc.name(index)).expect("names of a TOC are below the root");
    let Some((above, last)) = path.split_last() else { return path };
    match last.strip_prefix(b".wh.") {
        Some(hidden) if !hidden.is_empty() && !hidden.starts_with(b".wh.") => {
            above.join(hidden).unwrap_or(path.clone())
        }
        _ => path,
    }
}
