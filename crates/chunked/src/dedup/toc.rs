//! What a layer has, by its TOC: for layers without an index.

use std::io::BufRead;

use storage_core::LayerPath;

use super::DedupMap;
use crate::TocError;
use crate::toc::{EntryText, EntryTexts};

/// Notes in `map` where a local tree, of which `toc_json` is the TOC, has what is
/// wanted: whole files, and chunks of files that have several. `source` is the
/// caller's number of the tree.
///
/// The TOC need not be trusted: it only gives hints.
///
/// # Errors
///
/// If the stream fails or is not the JSON of a TOC. What was found before stays
/// in `map`, and does no harm.
pub fn read_candidates(
    toc_json: impl BufRead,
    source: u32,
    map: &mut DedupMap,
) -> Result<(), TocError> {
    read_candidates_of(toc_json, source, map, |_, _| true)
}

/// The same for a tree that lacks some of its files: only those count that `has` says
/// are there, of which it is told path and length.
///
/// # Errors
///
/// As for [`read_candidates`].
pub fn read_candidates_of(
    toc_json: impl BufRead,
    source: u32,
    map: &mut DedupMap,
    has: impl Fn(&LayerPath, u64) -> bool,
) -> Result<(), TocError> {
    let mut texts = EntryTexts::new(toc_json);
    // Length of the file that the next chunks belong to.
    let mut size = 0;
    let mut add = |entry: &EntryText<'_>, digest: &str, (offset, length): (u64, u64), size| {
        if let Ok(digest) = digest.parse()
            && let Some(number) = map.find(digest, length)
            && let Ok(path) = LayerPath::parse(entry.name.as_bytes())
            && has(&path, size)
        {
            map.offer(number, source, &path, offset);
        }
    };
    while texts.next(|entry| {
        match &*entry.kind {
            "reg" => {
                size = entry.size;
                add(entry, &entry.digest, (0, size), size);
            }
            "chunk" => {}
            _ => return Ok(()),
        }
        if entry.chunk_type.is_empty() && !entry.chunk_digest.is_empty() {
            // No size means "to the end of the file".
            let rest = size.saturating_sub(entry.chunk_offset);
            let length = if entry.chunk_size == 0 { rest } else { entry.chunk_size };
            add(entry, &entry.chunk_digest, (entry.chunk_offset, length), size);
        }
        Ok(())
    })? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use storage_core::{ChunkDigest, Digest};

    use super::*;
    use crate::Candidate;

    fn digest(text: &str) -> ChunkDigest {
        Digest::of(text.as_bytes()).into()
    }

    fn map<const N: usize>(wanted: [(ChunkDigest, u64); N]) -> DedupMap {
        let wanted = wanted.iter().map(|(digest, length)| (*digest.digest(), *length));
        DedupMap::new(wanted.collect())
    }

    #[test]
    fn chunks_are_found_but_for_holes_and_wrong_lengths() {
        let names = ["whole", "one", "two", "hole", "rest", "long"];
        let [whole, one, two, hole, rest, long] = names.map(digest);
        let json = format!(
            r#"{{"entries":[
                {{"type":"reg","name":"f","size":30,"digest":"{whole}","chunkSize":10,"chunkDigest":"{one}"}},
                {{"type":"chunk","name":"f","chunkOffset":10,"chunkSize":5,"chunkDigest":"{two}"}},
                {{"type":"chunk","name":"f","chunkOffset":15,"chunkSize":5,"chunkDigest":"{hole}","chunkType":"zeros"}},
                {{"type":"chunk","name":"f","chunkOffset":20,"chunkDigest":"{rest}"}},
                {{"type":"chunk","name":"f","chunkOffset":20,"chunkSize":9,"chunkDigest":"{long}"}}]}}"#
        );
        let mut map = map([(whole, 30), (one, 10), (two, 5), (hole, 5), (rest, 10), (long, 10)]);
        read_candidates(json.as_bytes(), 0, &mut map).unwrap();
        let found = |digest| {
            let places: Vec<_> =
                map.get(&digest).map(|found| (found.offset, found.length)).collect();
            assert!(places.len() < 2, "{places:?}");
            places.first().copied()
        };
        assert_eq!([whole, one, two].map(found), [Some((0, 30)), Some((0, 10)), Some((10, 5))]);
        assert_eq!([hole, rest, long].map(found), [None, Some((20, 10)), None]);
    }

    #[test]
    fn only_files_that_are_wanted_are_kept() {
        let (a, b) = (digest("a"), digest("b"));
        let json = format!(
            r#"{{"entries":[{{"type":"reg","name":"./x/a","size":1,"digest":"{a}"}},
                {{"type":"reg","name":"b","size":1,"digest":"{b}"}},
                {{"type":"reg","name":"../a","size":1,"digest":"{a}"}},
                {{"type":"reg","name":"c","size":1,"digest":"md5:0"}},
                {{"type":"symlink","name":"l","digest":"{a}"}}]}}"#
        );
        let mut map = map([(a, 1)]);
        read_candidates(json.as_bytes(), 7, &mut map).unwrap();
        let path = LayerPath::parse(b"x/a").unwrap();
        let found: Vec<_> = map.get(&a).collect();
        assert_eq!(found, [Candidate { source: 7, path, offset: 0, length: 1 }]);
        assert_eq!(map.get(&b).count(), 0);
    }

    #[test]
    fn of_a_tree_that_lacks_files_only_the_others_count() {
        let (a, b) = (digest("a"), digest("b"));
        let json = format!(
            r#"{{"entries":[{{"type":"reg","name":"a","size":1,"digest":"{a}"}},
                {{"type":"reg","name":"b","size":2,"digest":"{b}"}}]}}"#
        );
        let mut map = map([(a, 1), (b, 2)]);
        let has = |path: &LayerPath, size| path.to_string() == "b" && size == 2;
        read_candidates_of(json.as_bytes(), 0, &mut map, has).unwrap();
        assert_eq!((map.get(&a).count(), map.get(&b).count()), (0, 1));
    }

    #[test]
    fn a_broken_toc_is_an_error_that_leaves_what_was_found() {
        let a = digest("a");
        let json = format!(r#"{{"entries":[{{"type":"reg","name":"a","size":1,"digest":"{a}"}},"#);
        let mut map = map([(a, 1)]);
        let outcome = read_candidates(json.as_bytes(), 0, &mut map);
        assert!(matches!(outcome, Err(TocError::Syntax { .. })));
        assert_eq!(map.get(&a).count(), 1);
    }
}
