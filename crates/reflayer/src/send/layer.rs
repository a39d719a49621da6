//! One layer on its way from a store or a source to a target.

use std::sync::Arc;

use chunked::write::WriteError;
use storage_core::{DiffId, LayerRecord};
use transport::{Compression, Found, ImageSource, ImageTarget, LayerDescriptor, media_type};

use super::blob::{TempBlob, fetch, make};
use super::report::{SendAction, SendProgress, SentLayer};
use super::{SendLayerError, SendOptions};
use crate::Store;
use crate::manifest::LayerEntry;

/// A layer that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outbound<'a> {
    pub(super) index: usize,
    pub(super) diff_id: DiffId,
    /// Bytes to be read if it has to be made.
    pub(super) to_read: u64,
    /// Length of the tar stream, where it is known.
    pub(super) uncompressed: Option<u64>,
    /// The zstd:chunked blob that it is known as, which may be at the target already.
    pub(super) known: Option<LayerEntry>,
    pub(super) origin: Origin<'a>,
}

/// Where the bytes of a layer are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    Blob(&'a dyn ImageSource, &'a LayerDescriptor),
    Store(&'a Store, &'a LayerRecord),
}

/// What all layers share on their way.
pub(super) struct Way<'a> {
    pub(super) target: &'a dyn ImageTarget,
    pub(super) options: &'a SendOptions,
    pub(super) progress: &'a Arc<dyn SendProgress>,
}

/// What the manifest is to say of a layer, and what became of it.
pub(super) type Arrived = (LayerEntry, SentLayer);

impl Way<'_> {
    /// Brings a layer to the target, with as little as there is to do.
    pub(super) fn send(&self, layer: &Outbound<'_>) -> Result<Arrived, SendLayerError> {
        let arrived = self.bring(layer)?;
        self.progress.done(layer.index, arrived.1.action);
        Ok(arrived)
    }

    fn bring(&self, layer: &Outbound<'_>) -> Result<Arrived, SendLayerError> {
        if let Some(known) = &layer.known {
            if let Some(action) = self.find(known)? {
                return Ok(arrived(layer, known.clone(), action, String::new()));
            }
            if let Origin::Blob(source, blob) = layer.origin {
                let fetched = fetch(source, blob, layer, self)?;
                self.put(layer, known, &fetched)?;
                return Ok(arrived(layer, known.clone(), SendAction::Copied, String::new()));
            }
        }
        match make(layer, self) {
            Ok((blob, written)) => {
                let mut entry = LayerEntry::chunked(&written);
                entry.annotations.extend(layer.origin.other_annotations());
                let layer = &Outbound { uncompressed: Some(written.diff_size), ..layer.clone() };
                self.put_new(layer, entry, &blob, String::new())
            }
            Err(SendLayerError::Blob(error)) if is_beyond_a_toc(&error) => {
                tracing::info!(layer = %layer.diff_id, %error, "no TOC can describe the layer");
                self.without_toc(layer, error.to_string())
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a layer that the format cannot express, as it is or as plain zstd.
    fn without_toc(&self, layer: &Outbound<'_>, reason: String) -> Result<Arrived, SendLayerError> {
        let Origin::Blob(source, blob) = layer.origin else {
            let (blob, entry) = super::blob::make_plain(layer, self)?;
            return self.put_new(layer, entry, &blob, reason);
        };
        let entry = as_it_is(blob);
        if let Some(action) = self.find(&entry)? {
            return Ok(arrived(layer, entry, action, reason));
        }
        let fetched = fetch(source, blob, layer, self)?;
        self.put(layer, &entry, &fetched)?;
        Ok(arrived(layer, entry, SendAction::Copied, reason))
    }

    fn put_new(
        &self,
        layer: &Outbound<'_>,
        entry: LayerEntry,
        blob: &TempBlob,
        reason: String,
    ) -> Result<Arrived, SendLayerError> {
        let action = match self.find(&entry)? {
            Some(action) => action,
            None => {
                self.put(layer, &entry, blob)?;
                SendAction::Written
            }
        };
        Ok(arrived(layer, entry, action, reason))
    }

    /// How the blob came to be there, if it is.
    fn find(&self, entry: &LayerEntry) -> Result<Option<SendAction>, SendLayerError> {
        let found = self.target.find_blob(&entry.blob()).map_err(SendLayerError::Target)?;
        Ok(match found {
            Found::Present => Some(SendAction::Present),
            Found::Mounted => Some(SendAction::Mounted),
            Found::Absent => None,
        })
    }

    fn put(
        &self,
        layer: &Outbound<'_>,
        entry: &LayerEntry,
        blob: &TempBlob,
    ) -> Result<(), SendLayerError> {
        let (progress, index, size) = (self.progress.clone(), layer.index, entry.size);
        let told: Arc<dyn Fn(u64) + Send + Sync> =
            Arc::new(move |sent| progress.sent(index, sent, size));
        self.target.put_blob(&entry.blob(), blob.file(), &told).map_err(SendLayerError::Target)
    }
}

impl Origin<'_> {
    /// What else its manifest says of it; other than what becomes wrong with another blob.
    fn other_annotations(&self) -> impl Iterator<Item = (String, String)> {
        let annotations = match self {
            Self::Blob(_, blob) => Some(&blob.annotations),
            Self::Store(..) => None,
        };
        let other = |key: &&String| !chunked::is_toc_annotation(key);
        let annotations = annotations.into_iter().flatten().filter(move |(key, _)| other(key));
        annotations.map(|(key, value)| (key.clone(), value.clone()))
    }
}

fn arrived(layer: &Outbound<'_>, entry: LayerEntry, action: SendAction, reason: String) -> Arrived {
    let sent = SentLayer {
        diff_id: layer.diff_id,
        digest: entry.digest,
        size: entry.size,
        uncompressed: layer.uncompressed,
        action,
        reason,
    };
    (entry, sent)
}

/// What a manifest of the OCI says of a blob that stays what it is.
pub(super) fn as_it_is(blob: &LayerDescriptor) -> LayerEntry {
    let media_type = match blob.compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    };
    LayerEntry {
        media_type: media_type.into(),
        digest: blob.digest,
        size: blob.size,
        annotations: blob.annotations.clone(),
    }
}

/// Whether a tar is good, but has something in it that no TOC can say.
fn is_beyond_a_toc(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::DuplicateName { .. }
            | WriteError::GlobalHeader { .. }
            | WriteError::NotText { .. }
            | WriteError::Time { .. }
            | WriteError::UnknownPart
    )
}
