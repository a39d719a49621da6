//! A look into a blob, for those who want to see what is in it; no store is needed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

use chunked::{
    AnnotationError, FooterError, Frame, Limits, ScanError, Toc, TocError, TocLocation, frames,
};
use storage_core::{FileSource, RangeSource};
use transport::{ImageSource, LayerDescriptor, TransportError};

/// The table of contents of a layer, and how far it can be trusted.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlobToc {
    /// The entries and the places of their content.
    pub toc: Toc,
    /// Where the blob has it; `None` if there was no blob, only a TOC.
    pub location: Option<TocLocation>,
    /// Length of the blob, if there was one.
    pub blob_size: Option<u64>,
    /// What led to it.
    pub found_by: FoundBy,
}

/// What led to a TOC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoundBy {
    /// The layer's annotations in a manifest: it has the digest that they name.
    Annotations,
    /// The footer of the blob: nothing says that it is the right one.
    Footer,
    /// Its own file, without a blob: nothing says whose it is.
    ItsFile,
}

/// Why a TOC cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobTocError {
    /// The blob cannot be reached.
    #[error("reach the blob")]
    Transport(#[from] TransportError),
    /// The file cannot be read.
    #[error("read the file")]
    Read(#[from] io::Error),
    /// The layer's annotations contradict themselves.
    #[error("find the TOC")]
    Annotations(#[from] AnnotationError),
    /// The blob's footer leads nowhere.
    #[error("find the TOC")]
    Footer(#[from] FooterError),
    /// The TOC did not come, or is not what its digest says, or contradicts itself.
    #[error("read the TOC")]
    Scan(#[from] ScanError),
    /// The file is a TOC that contradicts itself.
    #[error(transparent)]
    Toc(#[from] TocError),
    /// The file is something else.
    #[error("the file is neither a zstd:chunked blob nor a decoded TOC")]
    NoToc,
}

impl BlobToc {
    /// The TOC of a layer; `None` if it has none. Nothing else of its blob is fetched.
    ///
    /// # Errors
    ///
    /// If it does not come, is not what the manifest says, or contradicts itself.
    pub fn of_layer(
        source: &dyn ImageSource,
        layer: &LayerDescriptor,
    ) -> Result<Option<Self>, BlobTocError> {
        let annotations = layer.annotations.iter().map(|(key, value)| (&**key, &**value));
        let Some(location) = TocLocation::from_annotations(annotations)? else { return Ok(None) };
        let blob = source.blob(&layer.digest, layer.size)?;
        Self::fetch(&*blob, location, FoundBy::Annotations).map(Some)
    }

    /// The TOC in a file: a zstd:chunked blob, or the JSON of a TOC as a store keeps it.
    ///
    /// # Errors
    ///
    /// If the file is neither, cannot be read, or contradicts itself.
    pub fn of_file(file: File) -> Result<Self, BlobTocError> {
        let blob = FileSource::new(file.try_clone()?)?;
        if let Some(location) = TocLocation::from_footer(&blob)? {
            return Self::fetch(&blob, location, FoundBy::Footer);
        }
        let mut json = BufReader::new(file);
        if !json.fill_buf()?.trim_ascii_start().starts_with(b"{") {
            return Err(BlobTocError::NoToc);
        }
        let toc = Toc::read(json, &Limits::default())?;
        Ok(Self { toc, location: None, blob_size: None, found_by: FoundBy::ItsFile })
    }

    fn fetch(
        blob: &dyn RangeSource,
        location: TocLocation,
        found_by: FoundBy,
    ) -> Result<Self, BlobTocError> {
        let toc = Toc::fetch(blob, &location, &Limits::default())?;
        Ok(Self { toc, location: Some(location), blob_size: Some(blob.size()), found_by })
    }

    /// What the blob consists of, from its first byte to its last; nothing
    /// without a blob.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        let blob = self.location.as_ref().zip(self.blob_size);
        blob.into_iter().flat_map(|(location, size)| frames(&self.toc, location, size))
    }
}
