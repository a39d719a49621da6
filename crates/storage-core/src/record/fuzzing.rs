//! Record files without a store, for fuzz targets alone.

use super::file::{check_ids, parse, to_json};
use super::json::Record;
use super::place::Place;
use super::{ContainerRecord, ImageRecord, LayerRecord, MountRecord, RecordError};

/// What stands in a file.
#[derive(Debug, Clone, Copy)]
pub enum RecordKind {
    /// `layers.json`
    Layer,
    /// `images.json`
    Image,
    /// `containers.json`
    Container,
    /// `mountpoints.json`
    Mount,
}

/// Reads a file's content, and gives what would be written instead.
///
/// # Errors
///
/// Those of reading it.
pub fn rewrite(kind: RecordKind, json: &[u8]) -> Result<String, RecordError> {
    match kind {
        RecordKind::Layer => rewrite_as::<LayerRecord>(json),
        RecordKind::Image => rewrite_as::<ImageRecord>(json),
        RecordKind::Container => rewrite_as::<ContainerRecord>(json),
        RecordKind::Mount => rewrite_as::<MountRecord>(json),
    }
}

fn rewrite_as<R: Record>(json: &[u8]) -> Result<String, RecordError> {
    let (place, name) = (Place::nowhere(), "records.json");
    let records: Vec<R> = parse(&place, name, json)?;
    check_ids(&place, name, &records)?;
    let written = to_json(&records);
    let again: Vec<R> = parse(&place, name, written.as_bytes())?;
    assert!(again == records, "records that read otherwise once they are written");
    Ok(written)
}
