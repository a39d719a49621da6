//! An archive as it is indexed, for fuzz targets alone.

use std::fs::File;
use std::io::Read as _;

use storage_core::{LayerPath, RangeReader};

use super::LayoutError;
use super::archive::Archive;
use super::files::Files as _;

/// The files in an archive, with their contents.
///
/// # Errors
///
/// If it is none.
pub fn archive(file: File) -> Result<Vec<(LayerPath, Vec<u8>)>, LayoutError> {
    let archive = Archive::index(file)?;
    let read = |name: &LayerPath| {
        let text = String::from_utf8(name.as_bytes().into()).ok()?;
        let source = archive.file(&text).expect("an indexed file is found by its name");
        let mut content = Vec::new();
        let mut reader = RangeReader::new(&*source, 0..source.size());
        reader.read_to_end(&mut content).expect("an indexed file is inside of the archive");
        Some((name.clone(), content))
    };
    Ok(archive.names().filter_map(read).collect())
}
