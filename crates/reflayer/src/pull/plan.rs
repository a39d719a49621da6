//! What a pull would do: the same steps, up to where the first file is made.

use std::collections::BTreeSet;
use std::sync::Arc;

use chunked::Plan;
use overlay_driver::FilledLayer;
use serde::Serialize;
use storage_core::{BlobDigest, DiffId, FsError, LayerId};
use transport::{ImageSource, Reference};

use super::bounds::Bounds;
use super::fetch::{Batch, Planned, Prepared, Way};
use super::layer::WantedLayer;
use super::{PullError, PullOptions};
use crate::Store;
use crate::candidates::{Candidates, Staged};
use crate::progress::Progress;
use crate::report::LayerWay;

/// What pulling an image would do, if every local file is what it is thought to be.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ImagePlan {
    /// What was asked for.
    pub reference: String,
    /// The name that the image would have in the store.
    pub name: String,
    /// Digest of the image's manifest.
    pub digest: BlobDigest,
    /// Sums over all layers.
    pub bytes: PlannedBytes,
    /// The layers, base first.
    pub layers: Vec<LayerPlan>,
}

/// What would become of one layer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LayerPlan {
    /// Digest of the layer's blob.
    pub digest: BlobDigest,
    /// Digest of its tar stream.
    pub diff_id: DiffId,
    /// Its id in the store.
    pub layer_id: LayerId,
    /// The way it would take.
    pub path: LayerWay,
    /// Why that way, or how its ranges were chosen.
    pub reason: String,
    /// Ranges of the blob that would be asked for.
    pub ranges: u64,
    /// Files that have content, and those of them that would be taken whole from
    /// local files; zero where no TOC tells.
    pub files: u64,
    /// See `files`.
    pub reused_files: u64,
    /// Where its bytes would come from.
    pub bytes: PlannedBytes,
    /// The layers that would give something: the newest of the store first, then those
    /// of the image itself.
    pub from: Vec<LayerShare>,
}

/// What one layer would give to another that is planned.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LayerShare {
    /// The layer that gives.
    pub layer_id: LayerId,
    /// Whole files.
    pub files: u64,
    /// Bytes of whole files.
    pub file_bytes: u64,
    /// Bytes of chunks.
    pub chunk_bytes: u64,
}

/// Bytes by where they would come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedBytes {
    /// Length of the blobs.
    pub blob: u64,
    /// That the pull would receive in all, TOC and tar-split included; compressed.
    pub to_fetch: u64,
    /// Of these, what the plan itself received and a pull would ask for again.
    pub metadata: u64,
    /// In files that another layer has, of the store or of the image itself;
    /// uncompressed, as all that follow.
    pub reused_files: u64,
    /// In chunks that another layer has, or that the layer itself has at another place.
    pub reused_chunks: u64,
    /// In holes, which need no disk.
    pub holes: u64,
    /// To be written from what is fetched; not known without a TOC.
    pub missing: u64,
    /// Of what is reused: what would share the disk's blocks with other files.
    pub shared: u64,
    /// Blocks of the disk that files would take for everything else, in bytes; not known
    /// without a TOC.
    pub disk: u64,
}

impl PlannedBytes {
    fn add(&mut self, other: &Self) {
        self.blob += other.blob;
        self.to_fetch += other.to_fetch;
        self.metadata += other.metadata;
        self.reused_files += other.reused_files;
        self.reused_chunks += other.reused_chunks;
        self.holes += other.holes;
        self.missing += other.missing;
        self.shared += other.shared;
        self.disk += other.disk;
    }
}

impl Store {
    /// What [`Store::pull`] would do now; fetches manifests and TOCs, and leaves the
    /// store as it is.
    ///
    /// A pull plans in the same way and then carries the plan out. What differs by
    /// then is in its report: files that have gone or changed are fetched, and what a
    /// dead pull has left is used, of which a plan knows nothing.
    ///
    /// # Errors
    ///
    /// If the image cannot be found or understood, or the store not be read.
    pub fn plan(
        &self,
        source: &dyn ImageSource,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<ImagePlan, PullError> {
        super::expect_enough_memory(options)?;
        let image = source.resolve(&options.platform)?;
        let wanted = WantedLayer::all(&image.layers);
        let absent = self.not_in_store(&wanted, &BTreeSet::new())?;
        let mut layers: Vec<LayerPlan> = wanted.iter().map(present_layer).collect();
        let reasons = layers.iter_mut().map(|layer| (&layer.layer_id, &mut layer.reason));
        self.only_elsewhere()?.explain(reasons);
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        // Later layers may take from earlier ones, which by then would be whole.
        let mut earlier: Vec<(usize, FilledLayer)> = Vec::new();
        for batch in absent.chunks(Bounds::of(options).staged) {
            let staged = earlier.iter();
            let staged =
                staged.map(|(index, layer)| Staged { id: Some(&wanted[*index].id), layer });
            let batch = Batch { indices: batch, staged: staged.collect() };
            let (planned, failed) = self.plan_layers(source, &wanted, batch, options, &quiet);
            if let Some((index, source)) = failed.into_iter().next() {
                let digest = wanted[index].blob.digest;
                return Err(PullError::Layer { digest, source: Box::new(source) });
            }
            self.describe(&planned, options, &mut layers)?;
            let prepared = planned.layers;
            for Prepared { index, way, .. } in prepared {
                if let Way::Toc(toc) = way {
                    earlier.push((index, toc.staged.finish()?));
                }
            }
        }
        let mut bytes = PlannedBytes::default();
        for layer in &layers {
            bytes.add(&layer.bytes);
        }
        let name = options.name.clone().unwrap_or_else(|| crate::naming::name(reference, &image));
        let digest = image.manifest.digest;
        Ok(ImagePlan { reference: reference.to_string(), name, digest, bytes, layers })
    }

    /// Says of each planned layer what would be done.
    fn describe(
        &self,
        planned: &Planned<'_>,
        options: &PullOptions,
        layers: &mut [LayerPlan],
    ) -> Result<(), FsError> {
        for prepared in &planned.layers {
            let layer = &mut layers[prepared.index];
            match &prepared.way {
                Way::Whole(reason) => {
                    layer.path = LayerWay::Full;
                    layer.reason.clone_from(reason);
                    layer.ranges = 1;
                    layer.bytes.metadata = prepared.blob.usage().bytes;
                    layer.bytes.to_fetch = layer.bytes.blob + layer.bytes.metadata;
                }
                Way::Toc(toc) => {
                    let plan = planned.candidates.plan(&toc.scanned.toc, toc.number, options.reuse);
                    let (summary, ranges) = (plan.summary(), plan.ranges_from(&*prepared.blob));
                    let missing: u64 =
                        ranges.ranges.iter().map(|range| range.end - range.start).sum();
                    let disk = plan.disk(toc.staged.dirs().dest, |source, device| {
                        planned.candidates.is_on(device, source, self)
                    })?;
                    layer.path = LayerWay::Partial;
                    layer.reason = ranges.choice.to_string();
                    layer.ranges = ranges.ranges.len() as u64;
                    (layer.files, layer.reused_files) =
                        (summary.content.files, summary.reused.files);
                    layer.bytes = PlannedBytes {
                        blob: layer.bytes.blob,
                        to_fetch: summary.received + missing,
                        metadata: summary.received,
                        reused_files: summary.reused.bytes,
                        reused_chunks: summary.reused_chunks + summary.repeated,
                        holes: summary.holes,
                        missing: summary.missing.bytes,
                        shared: disk.shared,
                        disk: disk.used,
                    };
                    layer.from = shares(&plan, &planned.candidates);
                }
            }
        }
        Ok(())
    }
}

fn present_layer(wanted: &WantedLayer) -> LayerPlan {
    LayerPlan {
        digest: wanted.blob.digest,
        diff_id: wanted.blob.diff_id,
        layer_id: wanted.id.clone(),
        path: LayerWay::Present,
        reason: "in the store".into(),
        ranges: 0,
        files: 0,
        reused_files: 0,
        bytes: PlannedBytes { blob: wanted.blob.size, ..PlannedBytes::default() },
        from: Vec::new(),
    }
}

fn shares(plan: &Plan<'_>, candidates: &Candidates<'_>) -> Vec<LayerShare> {
    let sources = plan.by_source().into_iter();
    let share = |(source, given): (u32, chunked::FromSource)| {
        let layer_id = candidates.layer(source)?.clone();
        let (files, file_bytes) = (given.files.files, given.files.bytes);
        Some(LayerShare { layer_id, files, file_bytes, chunk_bytes: given.chunks })
    };
    sources.filter_map(share).collect()
}
