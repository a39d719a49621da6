//! What an update cannot do without, counted from the TOCs of both versions.
//!
//! A second opinion in its own words: the JSON is read as what the format says,
//! and digests are counted in sets. No range, no plan, no cost.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::layout::{Image, Layer, Layout};

const PREFIX: &str = "io.github.containers.zstd-chunked.";

/// Bytes that no pull can save.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exact {
    /// Of TOCs, compressed.
    pub tocs: u64,
    /// Of tar-splits, compressed.
    pub tar_splits: u64,
    /// Of distinct chunks that are nowhere else, compressed.
    pub missing: u64,
    /// The same chunks, as they will be on the disk.
    pub missing_plain: u64,
    /// How many such chunks there are.
    pub missing_pieces: u64,
    /// Of chunks that are elsewhere, but nowhere at an offset from which blocks could be shared.
    pub apart: u64,
    /// Of chunks that are elsewhere at such an offset.
    pub alike: u64,
    /// Runs of chunks of either kind: their first and last blocks cannot be shared as a whole.
    pub runs: u64,
    /// Of all files of the layers that are new.
    pub plain: u64,
    /// Files of the layers that are new.
    pub files: u64,
}

impl Exact {
    /// All that has to be fetched.
    pub fn fetched(&self) -> u64 {
        self.tocs + self.tar_splits + self.missing
    }
}

/// Digests of files and chunks that are at hand, and the ids of the layers that have them.
#[derive(Debug, Clone, Default)]
pub struct AtHand {
    /// With the offsets in files at which they are, modulo the size of a block.
    digests: HashMap<String, HashSet<u64>>,
    layers: HashSet<String>,
}

impl AtHand {
    /// Adds all that an image brings, and tells what had to be fetched for it.
    ///
    /// # Errors
    ///
    /// If a layer is not zstd:chunked, or its TOC is not understood.
    pub fn add(&mut self, layout: &Layout, image: &Image) -> Result<Exact> {
        let mut exact = Exact::default();
        for layer in &image.layers {
            if self.layers.insert(layer.layer_id.clone()) {
                self.layer(layout, layer, &mut exact)
                    .with_context(|| format!("layer {}", layer.digest))?;
            }
        }
        Ok(exact)
    }

    fn layer(&mut self, layout: &Layout, layer: &Layer, exact: &mut Exact) -> Result<()> {
        let toc = position(layer, "manifest-position")?;
        exact.tocs += toc[1];
        exact.tar_splits += position(layer, "tarsplit-position")?[1];
        let mut bytes = vec![0; usize::try_from(toc[1])?];
        let blob = File::open(layout.blob(&layer.digest)).context("open the blob")?;
        blob.read_exact_at(&mut bytes, toc[0]).context("read the TOC")?;
        let json: Value = serde_json::from_slice(&zstd::decode_all(&bytes[..])?)?;
        let entries = json["entries"].as_array().context("a TOC without entries")?;
        let mut rest = &entries[..];
        while let [first, after @ ..] = rest {
            let chunks = after.iter().take_while(|entry| entry["type"] == "chunk").count();
            if first["type"] == "reg" && number(first, "size") > 0 {
                self.file(first, &after[..chunks], exact)
                    .with_context(|| format!("entry {}", first["name"]))?;
            }
            rest = &after[chunks..];
        }
        Ok(())
    }

    fn file(&mut self, file: &Value, more: &[Value], exact: &mut Exact) -> Result<()> {
        exact.plain += number(file, "size");
        exact.files += 1;
        let digest = text(file, "digest")?;
        if self.digests.contains_key(digest) {
            return Ok(());
        }
        let end = number(file, "endOffset");
        let (mut at, mut last) = (0, Found::Hole);
        for (index, chunk) in std::iter::once(file).chain(more).enumerate() {
            let end = more.get(index).map_or(end, |next| number(next, "offset"));
            let length = end.checked_sub(number(chunk, "offset")).context("an end before")?;
            let alone = more.is_empty() && chunk["chunkDigest"].is_null();
            let chunk_digest = if alone { digest } else { text(chunk, "chunkDigest")? };
            let size = number(chunk, if alone { "size" } else { "chunkSize" });
            let hole = chunk["chunkType"] == "zeros" || is_zeros(chunk_digest, size, length);
            let found = if hole { Found::Hole } else { self.find(chunk_digest, at) };
            match found {
                Found::Hole => {}
                Found::Nowhere => {
                    exact.missing += length;
                    exact.missing_plain += size;
                    exact.missing_pieces += 1;
                }
                Found::Apart => exact.apart += size,
                Found::Alike => exact.alike += size,
            }
            exact.runs += u64::from(found != last && found != Found::Hole);
            (at, last) = (at + size, found);
        }
        self.digests.entry(digest.into()).or_default().insert(0);
        Ok(())
    }

    /// Looks a chunk up that is wanted at an offset, and takes it in.
    fn find(&mut self, digest: &str, at: u64) -> Found {
        let known = self.digests.contains_key(digest);
        let is_new = self.digests.entry(digest.into()).or_default().insert(at % BLOCK);
        match (known, is_new) {
            (false, _) => Found::Nowhere,
            (true, true) => Found::Apart,
            (true, false) => Found::Alike,
        }
    }
}

/// Where a chunk can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Hole,
    Nowhere,
    Apart,
    Alike,
}

/// Filesystems share blocks of this size.
const BLOCK: u64 = 4096;

/// What an update from `old` to `new` has to fetch.
///
/// # Errors
///
/// As [`AtHand::add`].
pub fn update(layout: &Layout, old: &str, new: &str) -> Result<Exact> {
    let mut at_hand = AtHand::default();
    at_hand.add(layout, &layout.image(old)?)?;
    at_hand.add(layout, &layout.image(new)?)
}

/// A file that is one hole has no mark in the TOC; only its digest tells.
fn is_zeros(digest: &str, size: u64, compressed: u64) -> bool {
    // Nothing else becomes so small: this saves hashing as many zeros as there are files.
    if size < 256 || compressed > 64 + size / 1000 {
        return false;
    }
    let zeros = [0; 1 << 14];
    let mut hasher = Sha256::new();
    let mut missing = size;
    while missing > 0 {
        let piece = usize::try_from(missing).unwrap_or(zeros.len()).min(zeros.len());
        hasher.update(&zeros[..piece]);
        missing -= piece as u64;
    }
    digest.strip_prefix("sha256:") == Some(hex::encode(hasher.finalize()).as_str())
}

pub(crate) fn position(layer: &Layer, name: &str) -> Result<Vec<u64>> {
    let key = format!("{PREFIX}{name}");
    let value = layer.annotations.get(&key).with_context(|| format!("no annotation {key}"))?;
    let numbers: Vec<u64> = value.split(':').map(str::parse).collect::<Result<_, _>>()?;
    ensure!(numbers.len() >= 3, "{key} is {value}");
    Ok(numbers)
}

/// Absent numbers are 0 in this format.
fn number(entry: &Value, name: &str) -> u64 {
    entry[name].as_u64().unwrap_or(0)
}

fn text<'a>(entry: &'a Value, name: &str) -> Result<&'a str> {
    entry[name].as_str().with_context(|| format!("no {name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AtHand, Exact, is_zeros};
    use crate::digest::sha256;

    #[test]
    fn counts_each_digest_once_and_no_holes() -> anyhow::Result<()> {
        let one = json!({"type": "reg", "name": "a", "size": 9, "digest": "sha256:1",
            "offset": 100, "endOffset": 109});
        let first = json!({"type": "reg", "name": "b", "size": 30, "digest": "sha256:2",
            "offset": 200, "endOffset": 260, "chunkSize": 9, "chunkDigest": "sha256:1"});
        let more = [
            json!({"type": "chunk", "offset": 220, "chunkSize": 11, "chunkDigest": "sha256:3"}),
            json!({"type": "chunk", "offset": 245, "chunkSize": 10, "chunkDigest": "sha256:4",
                "chunkType": "zeros"}),
        ];
        let (mut at_hand, mut exact) = (AtHand::default(), Exact::default());
        at_hand.file(&one, &[], &mut exact)?;
        assert_eq!((exact.missing, exact.missing_plain), (9, 9));
        at_hand.file(&first, &more, &mut exact)?;
        assert_eq!((exact.missing, exact.missing_plain), (9 + 25, 9 + 11));
        at_hand.file(&first, &more, &mut exact)?;
        assert_eq!((exact.missing, exact.plain), (9 + 25, 9 + 30 + 30));
        assert!(is_zeros(&format!("sha256:{}", sha256(&[0; 4096])), 4096, 20));
        assert!(!is_zeros("sha256:1", 4096, 20));
        Ok(())
    }
}
