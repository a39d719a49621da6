//! Record files, read and replaced as a whole.

use std::fs::File;
use std::io::Read;

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use serde_json::value::RawValue;

use super::container_store::VOLATILE_CONTAINERS;
use super::json::{FieldError, Fields, Object, Record};
use super::place::{FILE_MODE, Place};
use super::{LayerFile, RecordError};
use crate::dir::open_at;
use crate::{Durability, FsResultExt, replace_file};

/// Reads all records of a file; none if it is missing.
pub(super) fn load<R: Record>(place: &Place, name: &str) -> Result<Vec<R>, RecordError> {
    match read(place, name)? {
        Some(json) => parse(place, name, &json),
        None => Ok(Vec::new()),
    }
}

/// Replaces a file by these records.
pub(super) fn save<'r, R: Record + 'r>(
    place: &Place,
    name: &str,
    records: impl IntoIterator<Item = &'r R>,
    durability: Durability,
) -> Result<(), RecordError> {
    let json = to_json(records);
    let dir = place.writable()?;
    place.within(replace_file(dir, name, json.as_bytes(), FILE_MODE, durability))
}

/// Whether a file is there, whatever is in it.
pub(super) fn exists(place: &Place, name: &str) -> Result<bool, RecordError> {
    let Some(dir) = place.dir() else { return Ok(false) };
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).during("look at", place.path(name))?,
    }
}

pub(super) fn read(place: &Place, name: &str) -> Result<Option<Vec<u8>>, RecordError> {
    let Some(dir) = place.dir() else { return Ok(None) };
    let mut file = match open_at(dir, name, OFlags::RDONLY) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened.during("open record file", place.path(name))?),
    };
    let mut json = Vec::new();
    file.read_to_end(&mut json).during("read record file", place.path(name))?;
    Ok(Some(json))
}

pub(super) fn parse<R: Record>(
    place: &Place,
    name: &str,
    json: &[u8],
) -> Result<Vec<R>, RecordError> {
    if json.is_empty() {
        if may_be_empty(name) {
            return Ok(Vec::new());
        }
        return Err(RecordError::Empty { file: place.path(name) });
    }
    let damaged = |source| RecordError::Damaged { file: place.path(name), source };
    let objects: Vec<&RawValue> = serde_json::from_slice(json).map_err(damaged)?;
    let mut records = Vec::with_capacity(objects.len());
    for (number, object) in objects.into_iter().enumerate() {
        let mut fields = Fields::parse(object.get()).map_err(damaged)?;
        records.push(R::read(&mut fields).map_err(|FieldError { key, source }| {
            RecordError::Field { file: place.path(name), number, key, source }
        })?);
    }
    Ok(records)
}

/// Whether a file without a single byte is an empty list. The Go tools replace these files
/// without a flush, so that a power cut leaves them so, and take them as such.
fn may_be_empty(name: &str) -> bool {
    [LayerFile::Volatile.name(), VOLATILE_CONTAINERS].contains(&name)
}

/// A compact array without a newline at its end.
pub(super) fn to_json<'r, R: Record + 'r>(records: impl IntoIterator<Item = &'r R>) -> String {
    let objects: Vec<String> = records
        .into_iter()
        .map(|record| {
            let mut object = Object::default();
            record.write(&mut object);
            object.finish()
        })
        .collect();
    format!("[{}]", objects.join(","))
}

/// Fails if two records have one id.
pub(super) fn check_ids<R: Record>(
    place: &Place,
    name: &str,
    records: &[R],
) -> Result<(), RecordError> {
    let mut seen = std::collections::HashSet::new();
    match records.iter().find(|record| !seen.insert(record.id())) {
        None => Ok(()),
        Some(twin) => {
            Err(RecordError::DuplicateId { file: place.path(name), id: twin.id().into() })
        }
    }
}
