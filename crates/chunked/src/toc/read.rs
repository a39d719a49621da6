//! A TOC from its JSON, entry by entry.

use std::io::BufRead;

use serde::de::IgnoredAny;

use super::build::Builder;
use super::cut::{CutError, Cutter, Item};
use super::entry::EntryText;
use super::{Toc, TocError};
use crate::Limits;

impl Toc {
    /// Reads the JSON of a TOC, as it is kept beside a layer.
    ///
    /// The stream is read to its end; no more than one entry of it is in memory.
    ///
    /// # Errors
    ///
    /// If the stream fails, or the TOC is malformed or contradicts itself.
    pub fn read(json: impl BufRead, limits: &Limits) -> Result<Self, TocError> {
        Self::read_for(json, limits, u64::MAX)
    }

    /// The same for a blob whose data ends before `data_end`.
    pub(super) fn read_for(
        json: impl BufRead,
        limits: &Limits,
        data_end: u64,
    ) -> Result<Self, TocError> {
        let mut builder = Builder::new(limits, data_end);
        let mut texts = EntryTexts::new(json);
        while texts.next(|entry| builder.push(entry))? {}
        if let Some(digest) = &texts.tar_split_digest {
            builder.tar_split_digest(digest)?;
        }
        builder.finish()
    }
}

/// The entries of a TOC's JSON, not yet judged.
#[derive(Debug)]
pub(crate) struct EntryTexts<R> {
    cutter: Cutter<R>,
    number: u64,
    tar_split_digest: Option<String>,
}

impl<R: BufRead> EntryTexts<R> {
    pub(crate) fn new(json: R) -> Self {
        Self { cutter: Cutter::new(json), number: 0, tar_split_digest: None }
    }

    /// Hands the next entry to `take`; `false` after the last.
    pub(crate) fn next(
        &mut self,
        mut take: impl FnMut(&EntryText<'_>) -> Result<(), TocError>,
    ) -> Result<bool, TocError> {
        while let Some(item) = self.cutter.next().map_err(cut_error)? {
            let number = self.number;
            let json = |source| TocError::Json { number, source };
            self.number += 1;
            match item {
                Item::Entry(value) => {
                    take(&serde_json::from_slice(value).map_err(json)?)?;
                    return Ok(true);
                }
                Item::Field("tarsplitdigest", value) => {
                    if self.tar_split_digest.is_some() {
                        return Err(json(serde::de::Error::duplicate_field("tarSplitDigest")));
                    }
                    let digest: Option<String> = serde_json::from_slice(value).map_err(json)?;
                    self.tar_split_digest = Some(digest.unwrap_or_default());
                }
                Item::Field("", _) => {
                    return Err(json(serde::de::Error::custom("a field without a name")));
                }
                Item::Field("version", value) => {
                    serde_json::from_slice::<Option<i64>>(value).map_err(json)?;
                }
                Item::Field(_, value) => {
                    serde_json::from_slice::<IgnoredAny>(value).map_err(json)?;
                }
            }
        }
        Ok(false)
    }
}

fn cut_error(error: CutError) -> TocError {
    match error {
        CutError::Read(source) => TocError::Read(source),
        CutError::Syntax { at, expected } => TocError::Syntax { at, expected },
        CutError::TooLong { at } => TocError::TooLong { at },
    }
}
