//! What follows the data frames: TOC, tar-split, footer; and how to find them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::frame::{SKIPPABLE_HEADER, write_skippable};
use super::metadata::Metadata;
use super::output::Output;
use crate::annotation::{TAR_SPLIT_POSITION, TOC_DIGEST, TOC_POSITION};
use crate::footer;

/// Writes the rest of the blob; gives the annotations that lead to it.
pub(super) fn write<W: Write>(
    out: &mut Output<W>,
    toc: &Metadata,
    tar_split: &Metadata,
) -> io::Result<BTreeMap<String, String>> {
    let toc_offset = skippable(out, &toc.frame)?;
    let tar_split_offset = skippable(out, &tar_split.frame)?;
    let toc_place = [toc_offset, toc.frame.len() as u64, toc.uncompressed];
    let tar_split_place = [tar_split_offset, tar_split.frame.len() as u64, tar_split.uncompressed];
    write_skippable(out, &footer_of(toc_place, tar_split_place))?;

    let [offset, length, uncompressed] = toc_place;
    let position = format!("{offset}:{length}:{uncompressed}:{}", footer::KIND);
    let [offset, length, uncompressed] = tar_split_place;
    Ok(BTreeMap::from([
        (TOC_DIGEST.into(), toc.digest.to_string()),
        (TOC_POSITION.into(), position),
        (TAR_SPLIT_POSITION.into(), format!("{offset}:{length}:{uncompressed}")),
    ]))
}

/// Writes a payload; tells its offset.
fn skippable<W: Write>(out: &mut Output<W>, payload: &[u8]) -> io::Result<u64> {
    let offset = out.position() + SKIPPABLE_HEADER;
    write_skippable(out, payload)?;
    Ok(offset)
}

/// Readers go by the annotations; the footer is for those who have only the blob.
fn footer_of(toc: [u64; 3], tar_split: [u64; 3]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(64);
    for number in toc.into_iter().chain([footer::KIND]).chain(tar_split) {
        payload.extend_from_slice(&number.to_le_bytes());
    }
    payload.extend_from_slice(footer::MAGIC);
    payload
}
