//! Laws of the index, and what a broken one may do.

mod hostile;
mod judge;
mod laws;

use std::io::{Seek, Write};

use storage_core::{Digest, LayerPath};

use super::{Index, IndexError, write_index};
use crate::{Candidate, DedupMap, Limits, Toc, Wanted, read_candidates};

/// A file as the tests make them: numbers of contents, each of some length; where
/// there are several, the file has as many chunks. Number 0 is a hole.
#[derive(Debug, Clone)]
struct Recipe {
    name: String,
    contents: Vec<u8>,
}

impl Recipe {
    fn length_of(content: u8) -> u64 {
        1000 + u64::from(content) * 7
    }

    fn digest_of(content: u8) -> Digest {
        Digest::of(&[content])
    }

    fn size(&self) -> u64 {
        self.contents.iter().map(|&content| Self::length_of(content)).sum()
    }

    /// A file of one content has that one's digest.
    fn digest(&self) -> Digest {
        Digest::of(&self.contents)
    }

    fn chunks(&self) -> impl Iterator<Item = (u64, u8)> {
        let mut at = 0;
        self.contents.iter().map(move |&content| {
            let offset = at;
            at += Self::length_of(content);
            (offset, content)
        })
    }
}

fn toc_json(recipes: &[Recipe]) -> String {
    let (mut entries, mut place) = (Vec::new(), 0);
    for recipe in recipes {
        let (digest, size, end) = (recipe.digest(), recipe.size(), place + recipe.contents.len());
        let mut fields = format!(
            r#""type":"reg","mode":420,"size":{size},"digest":"{digest}","endOffset":{end}"#
        );
        for (at, content) in recipe.chunks() {
            let name = &recipe.name;
            let mut chunk = String::new();
            if recipe.contents.len() > 1 {
                let kind = if content == 0 { "zeros" } else { "" };
                let (size, digest) = (Recipe::length_of(content), Recipe::digest_of(content));
                chunk = format!(
                    r#","chunkSize":{size},"chunkOffset":{at},"chunkDigest":"{digest}","chunkType":"{kind}""#
                );
            }
            entries.push(format!(r#"{{{fields},"name":"{name}","offset":{place}{chunk}}}"#));
            fields = r#""type":"chunk""#.into();
            place += 1;
        }
    }
    format!(r#"{{"version":1,"entries":[{}]}}"#, entries.join(","))
}

fn toc(recipes: &[Recipe]) -> Toc {
    Toc::read(toc_json(recipes).as_bytes(), &Limits::default()).unwrap()
}

fn index(recipes: &[Recipe]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_index(&toc(recipes), &mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Index, IndexError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    Index::open(file)
}

fn recipe(name: &str, contents: &[u8]) -> Recipe {
    Recipe { name: name.into(), contents: contents.into() }
}

fn places(map: &DedupMap, digest: Digest) -> Vec<Candidate> {
    map.get(&digest.into()).collect()
}

fn place(source: u32, recipe: &Recipe, offset: u64, length: u64) -> Candidate {
    let path = LayerPath::parse(recipe.name.as_bytes()).unwrap();
    Candidate { source, path, offset, length }
}
