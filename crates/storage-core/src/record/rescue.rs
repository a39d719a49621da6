//! Record files that cannot be read: what of them can, and the file itself, are kept.

use std::collections::HashSet;
use std::path::PathBuf;

use rustix::fs::{AtFlags, linkat};
use rustix::io::Errno;
use serde_json::value::RawValue;

use super::RecordError;
use super::file::{check_ids, load, read};
use super::json::{Fields, Record};
use super::place::Place;
use crate::FsResultExt;
use crate::dir::sync;

/// What became of record files that were damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rescued {
    /// The names that the damaged files have besides from now on, relative to the
    /// store's root.
    pub kept: Vec<PathBuf>,
    /// How many of their records could be read, and are among the records.
    pub records: usize,
}

/// The records of a file; of a damaged one those that can be read, with its new name.
pub(super) fn rescue<R: Record>(
    place: &Place,
    name: &str,
    rescued: &mut Rescued,
) -> Result<(Vec<R>, bool), RecordError> {
    let loaded = load::<R>(place, name).and_then(|records| {
        check_ids(place, name, &records)?;
        Ok(records)
    });
    match loaded {
        Err(error) if error.damaged_file().is_some() => {
            rescued.kept.push(keep(place, name)?);
            let records = readable(&read(place, name)?.unwrap_or_default());
            rescued.records += records.len();
            Ok((records, true))
        }
        loaded => Ok((loaded?, false)),
    }
}

/// Gives a file another name besides its own.
fn keep(place: &Place, name: &str) -> Result<PathBuf, RecordError> {
    let dir = place.writable()?;
    for number in 1.. {
        let new = format!("{name}.damaged-{number}");
        match linkat(dir, name, dir, new.as_str(), AtFlags::empty()) {
            Err(Errno::EXIST) => {}
            linked => {
                linked.during("keep as", place.path(&new))?;
                sync(dir).during("flush", place.path(""))?;
                return Ok(place.path(&new));
            }
        }
    }
    unreachable!("some number is free")
}

/// The records that stand whole before the place where the JSON breaks, those left out
/// that cannot be read or that have the id of an earlier one.
fn readable<R: Record>(json: &[u8]) -> Vec<R> {
    let Some(mut rest) = json.trim_ascii_start().strip_prefix(b"[") else { return Vec::new() };
    let (mut records, mut seen) = (Vec::<R>::new(), HashSet::new());
    loop {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let Some(Ok(object)) = values.next() else { return records };
        let end = values.byte_offset();
        let record = Fields::parse(object.get()).ok().and_then(|mut f| R::read(&mut f).ok());
        records.extend(record.filter(|record| seen.insert(record.id().to_owned())));
        rest = match rest[end..].trim_ascii_start().strip_prefix(b",") {
            Some(rest) => rest,
            None => return records,
        };
    }
}
