//! An image on its way out: pushed from the store, or converted from another place.
//!
//! ```text
//! layer ─► known as a zstd:chunked blob?  at the target, or mounted ─► done
//!   │                                     its bytes can be had ─► as they are ──┐
//!   └─► tar ─► zstd:chunked, in a temporary file ─► at the target? ─► done      │
//!                                                         └─► sent ◄────────────┘
//! ```
//!
//! The config goes as it is, so the image keeps its id. A tar that becomes a blob is
//! proved to have the `DiffID` that the config names; a blob that stays what it is has
//! the digest that its manifest names, and nobody decodes it.

mod blob;
mod error;
mod layer;
mod report;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chunked::write::WriteOptions;
use storage_core::{DiffId, Digest, ImageId};
use transport::{Found, ImageSource, ImageTarget, Platform, StoredBlob, media_type};

pub use error::{SendError, SendLayerError};
pub use report::{SendAction, SendProgress, SendReport, SentLayer};

use self::blob::TempBlob;
use self::layer::{Arrived, Origin, Outbound, Way, as_it_is};
use self::stored::StoredImage;
use crate::Store;
use crate::manifest::{Annotations, KnownManifest, LayerEntry, manifest};
use crate::pull::in_parallel;

/// How an image is written somewhere.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendOptions {
    /// How layers are compressed that have to be.
    pub write: WriteOptions,
    /// What to choose from an index; the machine's own platform by default.
    pub platform: Platform,
    /// Where blobs are kept, in files without names, until they are sent: room for
    /// `layers_at_once` of them.
    pub tmpdir: PathBuf,
    /// Layers under way at once; 2 by default.
    pub layers_at_once: usize,
}

impl SendOptions {
    /// The defaults, with temporary files in `tmpdir`.
    pub fn new(tmpdir: impl Into<PathBuf>) -> Self {
        Self {
            write: WriteOptions::default(),
            platform: Platform::of_machine(),
            tmpdir: tmpdir.into(),
            layers_at_once: 2,
        }
    }
}

/// Writes an image to `target` with all layers as zstd:chunked, from where it is.
///
/// Layers that are zstd:chunked already stay what they are. What the target has is not
/// sent; of a blob that it has, nothing is fetched either. Nothing is put into a store.
///
/// A layer that zstd:chunked cannot express (a name that stands twice, a global header,
/// names that are not UTF-8) stays as it is, and the report says so.
///
/// # Errors
///
/// As [`SendError`] says.
pub fn convert(
    source: &dyn ImageSource,
    target: Box<dyn ImageTarget>,
    options: &SendOptions,
    progress: &Arc<dyn SendProgress>,
) -> Result<SendReport, SendError> {
    let image = source.resolve(&options.platform).map_err(SendError::Source)?;
    let layers = image.layers.iter().enumerate().map(|(index, blob)| Outbound {
        index,
        diff_id: blob.diff_id,
        to_read: blob.size,
        uncompressed: None,
        known: Some(as_it_is(blob)).filter(|entry| entry.toc_location().is_some()),
        origin: Origin::Blob(source, blob),
    });
    let outgoing = Outgoing {
        config: &image.config.bytes,
        layers: layers.collect(),
        manifest: KnownManifest::parse(image.manifest.bytes.clone()),
    };
    outgoing.send(target, options, progress)
}

impl Store {
    /// Writes an image of the store to `target` with all layers as zstd:chunked.
    ///
    /// `image` is an id, a unique prefix of one, a name, or a name's unique last part; one
    /// of an additional store is meant where this store has none that fits.
    /// A layer that came as a zstd:chunked blob which the target has, or can mount, is
    /// not even read. No lock of the store is held while anything is read or sent.
    ///
    /// # Errors
    ///
    /// As [`SendError`] says.
    pub fn push(
        &self,
        image: &str,
        target: Box<dyn ImageTarget>,
        options: &SendOptions,
        progress: &Arc<dyn SendProgress>,
    ) -> Result<SendReport, SendError> {
        let stored = StoredImage::find(self, image)?;
        let outgoing = Outgoing {
            config: &stored.config,
            layers: stored.outbound(self),
            manifest: stored.manifest.clone(),
        };
        outgoing.send(target, options, progress)
    }
}

/// An image that is to be sent, wherever it is.
struct Outgoing<'a> {
    config: &'a [u8],
    layers: Vec<Outbound<'a>>,
    /// The one it came with.
    manifest: Option<KnownManifest>,
}

impl Outgoing<'_> {
    fn send(
        self,
        target: Box<dyn ImageTarget>,
        options: &SendOptions,
        progress: &Arc<dyn SendProgress>,
    ) -> Result<SendReport, SendError> {
        let started = Instant::now();
        let sizes: Vec<_> =
            self.layers.iter().map(|layer| (layer.diff_id, layer.to_read)).collect();
        progress.layers(&sizes);
        let way = Way { target: &*target, options, progress };
        let arrived = send_layers(&way, self.layers)?;
        let config = send_config(&way, self.config)?;
        let (entries, layers): (Vec<LayerEntry>, Vec<SentLayer>) = arrived.into_iter().unzip();
        let manifest = match &self.manifest {
            // The same image keeps its manifest, and so its digest.
            Some(known) if known.says(&config, &entries) => known.bytes.clone(),
            known => {
                let none = Annotations::new();
                let annotations = known.as_ref().map_or(&none, |known| &known.parsed.annotations);
                manifest(&config, &entries, annotations)
            }
        };
        let manifest = target.finish(&manifest, media_type::OCI_MANIFEST);
        let manifest = manifest.map_err(SendError::Target)?;
        Ok(SendReport {
            image_id: ImageId::of_config(&config.digest),
            digest: manifest.digest,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            sent: layers.iter().filter(|l| l.action.sends()).map(|l| l.size).sum(),
            size: layers.iter().map(|layer| layer.size).sum(),
            layers,
        })
    }
}

/// Sends the layers, several at a time. After a failure none is begun.
fn send_layers(way: &Way<'_>, layers: Vec<Outbound<'_>>) -> Result<Vec<Arrived>, SendError> {
    let failed = AtomicBool::new(false);
    let sent = in_parallel(layers, way.options.layers_at_once.max(1), |layer| {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let sent = way.send(&layer).map_err(|error| in_layer(layer.diff_id, error));
        failed.fetch_or(sent.is_err(), Ordering::Relaxed);
        Some(sent)
    });
    // Those that were not begun are behind one that failed, or beside it.
    let mut arrived = Vec::new();
    let mut failure = None;
    for sent in sent.into_iter().flatten() {
        match sent {
            Ok(layer) => arrived.push(layer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(arrived), Err)
}

fn in_layer(diff_id: DiffId, error: SendLayerError) -> SendError {
    SendError::Layer { diff_id, source: error.into() }
}

fn send_config(way: &Way<'_>, config: &[u8]) -> Result<StoredBlob, SendError> {
    let blob = StoredBlob { digest: Digest::of(config).into(), size: config.len() as u64 };
    let found = way.target.find_blob(&blob).map_err(SendError::Target)?;
    if found == Found::Absent {
        let dir = &way.options.tmpdir;
        let temporary = |source| SendError::Temporary { dir: dir.clone(), source };
        let content = TempBlob::of(dir, config).map_err(temporary)?;
        let told: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
        way.target.put_blob(&blob, content.file(), &told).map_err(SendError::Target)?;
    }
    Ok(blob)
}

impl Way<'_> {
    fn temporary(&self, source: std::io::Error) -> SendLayerError {
        SendLayerError::Temporary { dir: self.options.tmpdir.clone(), source }
    }
}
