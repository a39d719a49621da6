//! An index, written.

use std::io::{self, Write};

use super::bloom::Bloom;
use super::files::{FileRow, Files};
use super::format::{Location, MAX_TAGS, TAG, Tag, head};
use crate::Toc;

/// Writes the index of the layer that `toc` describes.
///
/// Other tools believe it, so every digest in `toc` should have been verified.
///
/// Takes 74 bytes of memory for each file and 37 for each chunk, up to 65 MiB in
/// all. Beyond 1.8 million tags, which is what readers take, fingerprints are left
/// out first, then the last files.
///
/// # Errors
///
/// If `out` fails.
pub fn write_index(toc: &Toc, out: impl Write) -> io::Result<()> {
    write_limited(toc, out, MAX_TAGS)
}

/// An item of vdata, and what points to it.
struct Item<'a> {
    /// Number of the file, where it is one and no chunk.
    file: Option<u32>,
    name: &'a [u8],
    location: Location,
    digest: [u8; 32],
}

/// The same for any files, and any number of tags.
pub(super) fn write_limited(files: &impl Files, out: impl Write, limit: u64) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 << 10, out);
    let plan = Plan::new(files, limit);
    let (mut tags, mut bytes) = (Vec::with_capacity(plan.tags), Vec::new());
    let (mut vdata, mut names) = (0_u32, 0_u64);
    plan.each(|item| {
        bytes.clear();
        item.location.push_to(&mut bytes);
        let length = u8::try_from(bytes.len()).expect("at most 30 bytes");
        let fingerprint = item.file.filter(|_| plan.fingerprints).map(|i| files.fingerprint(i));
        let digests = [Some(item.digest), fingerprint].into_iter().flatten();
        tags.extend(digests.map(|digest| Tag::new(digest, vdata, length)));
        vdata += u32::from(length);
        names = item.location.name + length_in_names(item.name);
        Ok(())
    })?;
    tags.sort_unstable();
    write_tags(&tags, [vdata.into(), names], &mut out)?;
    drop(tags);
    plan.each(|item| {
        bytes.clear();
        item.location.push_to(&mut bytes);
        out.write_all(&bytes)
    })?;
    plan.each(|item| {
        if item.file.is_some() {
            let length = u32::try_from(item.name.len()).expect("names of a TOC are short");
            out.write_all(&length.to_le_bytes())?;
            out.write_all(item.name)?;
        }
        Ok(())
    })?;
    out.flush()
}

/// Everything before vdata; `lengths` are those of vdata and names.
fn write_tags(tags: &[Tag], lengths: [u64; 2], out: &mut impl Write) -> io::Result<()> {
    let mut bloom = Bloom::new(tags.len());
    for tag in tags {
        bloom.add(&tag.digest);
    }
    out.write_all(&head(bloom.words().len() as u64))?;
    for word in bloom.words() {
        out.write_all(&word.to_le_bytes())?;
    }
    for length in [(TAG * tags.len()) as u64, lengths[0], lengths[1]] {
        out.write_all(&length.to_le_bytes())?;
    }
    tags.iter().try_for_each(|tag| out.write_all(&tag.to_bytes()))
}

/// What of a layer's files goes into the index.
struct Plan<'f, F> {
    files: &'f F,
    /// For each chunk that has a digest, whether it has an item.
    listed: Vec<bool>,
    fingerprints: bool,
    tags: usize,
}

impl<'f, F: Files> Plan<'f, F> {
    fn new(files: &'f F, limit: u64) -> Self {
        let listed = listed_chunks(files);
        let chunks = listed.iter().filter(|&&listed| listed).count();
        let (count, limit) = (files.count() as usize, usize::try_from(limit).unwrap_or(usize::MAX));
        let fingerprints = 2 * count + chunks <= limit;
        let tags = (count + chunks + if fingerprints { count } else { 0 }).min(limit);
        Self { files, listed, fingerprints, tags }
    }

    /// Hands on every item in order.
    fn each(&self, mut take: impl FnMut(Item<'_>) -> io::Result<()>) -> io::Result<()> {
        let tags_of_a_file = 1 + usize::from(self.fingerprints);
        let (mut listed, mut left, mut place) = (self.listed.iter(), self.tags, 0);
        for i in 0..self.files.count() {
            let FileRow { name, digest, size, chunks } = self.files.file(i);
            let mut item = |file: Option<u32>, digest, offset, length| {
                let tags = if file.is_some() { tags_of_a_file } else { 1 };
                let Some(rest) = left.checked_sub(tags) else { return Ok(()) };
                left = rest;
                take(Item {
                    file,
                    name: &name,
                    location: Location { name: place, offset, length },
                    digest,
                })
            };
            item(Some(i), digest, 0, size)?;
            for chunk in (0..chunks).map(|chunk| self.files.chunk(i, chunk)) {
                if let Some(digest) = chunk.digest
                    && listed.next() == Some(&true)
                {
                    item(None, digest, chunk.offset, chunk.size)?;
                }
            }
            place += length_in_names(&name);
        }
        Ok(())
    }
}

fn length_in_names(name: &[u8]) -> u64 {
    4 + name.len() as u64
}

/// For each chunk that has a digest, whether it is listed: a file's first chunk
/// always, of others each digest once.
fn listed_chunks(files: &impl Files) -> Vec<bool> {
    let (mut digests, mut listed) = (Vec::new(), Vec::new());
    for i in 0..files.count() {
        for chunk in 0..files.file(i).chunks {
            let Some(digest) = files.chunk(i, chunk).digest else { continue };
            if chunk > 0 {
                let number = u32::try_from(listed.len()).expect("a TOC has a bound");
                digests.push((digest, number));
            }
            listed.push(chunk == 0);
        }
    }
    // The first of equal ones stands first.
    digests.sort_unstable();
    digests.dedup_by_key(|(digest, _)| *digest);
    for (_, number) in digests {
        listed[number as usize] = true;
    }
    listed
}
