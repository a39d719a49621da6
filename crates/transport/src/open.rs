//! From a reference to what it names.

use crate::{ImageSource, LayoutError, OciLayout, Options, Reference, Registry, TransportError};

/// Opens the place that `reference` names.
///
/// A layout or archive is opened now; a registry is asked when the image is resolved.
///
/// # Errors
///
/// If a layout or archive cannot be opened or is none, if a registry client cannot be
/// set up, or if the reference is into a store.
pub fn open(
    reference: &Reference,
    options: &Options,
) -> Result<Box<dyn ImageSource>, TransportError> {
    let place = reference.to_string();
    let layout = |error: LayoutError| error.at(place);
    Ok(match reference {
        Reference::Docker(docker) => {
            Box::new(Registry::new(docker, options).map_err(|source| TransportError::Registry {
                place: reference.to_string(),
                source: source.into(),
            })?)
        }
        Reference::OciLayout { dir, tag } => Box::new(
            OciLayout::open_path(dir, tag.as_deref(), reference.to_string()).map_err(layout)?,
        ),
        Reference::OciArchive { file, tag } => {
            let place = reference.to_string();
            Box::new(OciLayout::open_archive_path(file, tag.as_deref(), place).map_err(layout)?)
        }
        Reference::ContainersStorage(name) => {
            return Err(TransportError::NotASource(name.clone()));
        }
    })
}
