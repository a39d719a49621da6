//! A directory as an image of one zstd:chunked layer.

mod document;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use chunked::write::{WriteError, WriteOptions, WrittenBlob, write_blob};
use storage_core::{LayerPath, Time};
use tarball::TarWriteError;
use transport::{LayoutError, LayoutWriter, ManifestDescriptor, Platform, StoredBlob, media_type};
use tree::WalkError;

use crate::manifest::{Annotations, LayerEntry, manifest};
use crate::pipeline::{ChannelReader, channel};

/// How a directory becomes an image.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BuildOptions {
    /// The image's name in the layout.
    pub tag: Option<String>,
    /// User and group that own every entry, whatever the files say.
    pub owner: Option<(u32, u32)>,
    /// Leave out what may not be read, or is gone when it is its turn; else that is an error.
    pub skip_unreadable: bool,
    /// Later times of modification become this one.
    pub latest_mtime: Option<Time>,
    /// Left out, with all that is below.
    pub exclude: Vec<LayerPath>,
    /// When the image was made. Part of its identity, so nothing by default.
    pub created: Option<jiff::Timestamp>,
    /// What the image is for; the machine's own platform by default.
    pub platform: Option<Platform>,
    /// How the layer is compressed.
    pub write: WriteOptions,
}

/// An image in a layout, with one layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BuiltImage {
    /// The manifest.
    pub manifest: StoredBlob,
    /// The config; its digest is the image's id.
    pub config: StoredBlob,
    /// The layer.
    pub layer: WrittenBlob,
    /// What of the directory is in it.
    pub contents: Contents,
}

/// What of a directory is in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Contents {
    /// Files, directories, links, devices.
    pub entries: u64,
    /// What could not be read, where that is allowed; a directory counts once.
    pub skipped: u64,
    /// Sockets, which no layer has.
    pub sockets: u64,
}

/// A directory that did not become an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Something could not be read.
    #[error("read the directory")]
    Walk(#[source] WalkError),
    /// A file could not be opened under another of its names.
    #[error("read the directory")]
    Tree(#[source] tree::TreeError),
    /// An entry could not be put into a tar stream.
    #[error("write the layer's tar stream")]
    Tar(#[source] TarWriteError),
    /// The tar stream could not be put into a blob.
    #[error("write the layer")]
    Blob(#[source] WriteError),
    /// The layout could not be written.
    #[error("write the layout")]
    Layout(#[from] LayoutError),
    /// Something that is no regular file has several names, the first of them excluded.
    #[error("{path} is another name of {excluded}, which is excluded")]
    LinkToExcluded {
        /// The name that is not excluded.
        path: LayerPath,
        /// The name that is.
        excluded: LayerPath,
    },
    /// There is no thread for reading the directory.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

/// Writes what is in `dir` as an image into `layout`.
///
/// The directory itself is the image's root, with its mode, owner and time. Parts of
/// seconds are left out. Equal trees and options give equal bytes: of the machine,
/// its platform is all that shows. The layer is written in one pass and needs no room
/// besides its own.
///
/// # Errors
///
/// As [`BuildError`] says. Blobs that are complete by then stay in the layout;
/// its index does not name them.
pub fn build_image(
    dir: impl AsFd,
    layout: &LayoutWriter,
    options: &BuildOptions,
) -> Result<BuiltImage, BuildError> {
    let (layer, contents) = write_layer(dir.as_fd(), layout, options)?;
    let platform = options.platform.clone().unwrap_or_else(Platform::of_machine);
    let config = document::config(&platform, options.created, &layer.diff_id);
    let config = layout.put_bytes(&config)?;
    let manifest = manifest(&config, &[LayerEntry::chunked(&layer)], &Annotations::default());
    let manifest = layout.put_bytes(&manifest)?;
    let entry = ManifestDescriptor::new(media_type::OCI_MANIFEST, manifest);
    layout.set_manifest(options.tag.as_deref(), &entry)?;
    Ok(BuiltImage { manifest, config, layer, contents })
}

fn write_layer(
    dir: BorrowedFd<'_>,
    layout: &LayoutWriter,
    options: &BuildOptions,
) -> Result<(WrittenBlob, Contents), BuildError> {
    let (sender, stream) = channel();
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("read".into())
            .spawn_scoped(scope, move || source::send_tar(dir, sender, options))
            .map_err(BuildError::Thread)?;
        let written = store_blob(stream, layout, &options.write);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Each side fails when the other does; the cause is the one that did not
        // lose its partner.
        let reader_was_left = matches!(read, Err(BuildError::Tar(TarWriteError::Write(_))));
        let written = if reader_was_left { Ok(written?) } else { written };
        let contents = read?;
        Ok((written?, contents))
    })
}

fn store_blob(
    stream: ChannelReader,
    layout: &LayoutWriter,
    options: &WriteOptions,
) -> Result<WrittenBlob, BuildError> {
    let mut file = layout.blob_writer()?;
    let layer = write_blob(stream, &mut file, options).map_err(BuildError::Blob)?;
    file.finish()?;
    Ok(layer)
}
