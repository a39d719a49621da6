//! A pull, from a reference to an image in the store.

mod blob_lock;
mod bounds;
mod claim;
mod damaged;
mod fetch;
mod flight;
mod layer;
mod mark;
mod plan;
mod present;
mod publish;
mod pulse;
mod sound;
mod watch;
mod write_back;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked::Reuse;
use overlay_driver::DeadSlot;
use storage_core::RecordError;
use storage_core::{BlobDigest, Durability, FsError, LayerId};
use transport::{ImageSource, Platform, Reference, ResolvedImage, TransportError};

use crate::Store;
use crate::candidates::Staged;
use crate::check::CheckError;
use crate::memory::Memory;
use crate::progress::Progress;
use crate::repair::RepairReport;
use crate::report::{ByteCounts, LayerCounts, LayerReport, LayerWay, PullReport};

pub(crate) use blob_lock::remove_dead_blob_locks;
pub(crate) use fetch::in_parallel;
pub(crate) use flight::Flight;
pub use layer::LayerError;
pub(crate) use layer::chain as error_chain;
pub(crate) use mark::{PullMark, pull_is_alive, pull_of, remove_dead_marks};
pub use plan::{ImagePlan, LayerPlan, LayerShare, PlannedBytes};
pub use publish::PublishError;
pub(crate) use publish::{FORMAT_DIRECTORY, FORMAT_KEY, INDEX_KEY, TOC_KEY};
pub(crate) use publish::{Removal, has_repeated_names, recorded_ids, set_incomplete};

use bounds::Bounds;
use claim::Claims;
use damaged::explain_kept;
use fetch::Batch;
use layer::FetchedLayer;
pub(crate) use layer::WantedLayer;
use present::explain_mended;
use publish::{Outcome, Publication};
use pulse::Pulse;
use write_back::flushing_beside;

/// How an image is pulled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PullOptions {
    /// How local files are reused.
    pub reuse: Reuse,
    /// Take every blob whole, never by its TOC.
    pub full: bool,
    /// The image's name in the store; by default it is made from the reference.
    pub name: Option<String>,
    /// What to choose from an index.
    pub platform: Platform,
    /// Whether the pull ends only when the image is safe against a power cut.
    pub durability: Durability,
    /// Layers under way at once; each takes about 50 open files and up to four threads.
    pub layers_at_once: usize,
    /// Whoever pulls the same blob into this store is waited for, and its layer
    /// used, unless nothing of it has moved for so long. A living pull shows that
    /// it moves about four times a second.
    pub patience: Duration,
    /// Do not look into layers that are there for damaged files. One that was found sound is
    /// looked into again after a day, or a new start of the machine.
    pub trust_present: bool,
    /// Most bytes of memory that the pull takes, at least [`PullOptions::LEAST_MEMORY`]. Layers
    /// then come one after the other, and one that needs more is an error. Without it a pull
    /// takes 64 MiB, 250 bytes for each entry of its layers, and once the window of a
    /// zstd stream, up to 128 MiB.
    pub memory: Option<u64>,
    /// Layers that are there and brought again, since their looks deceive.
    pub(crate) unusable: BTreeSet<LayerId>,
}

impl PullOptions {
    /// The least [`memory`](Self::memory), in bytes: 72 MiB, for layers of 33,000 entries.
    pub const LEAST_MEMORY: u64 = Memory::LEAST;
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            reuse: Reuse::ReflinkOrCopy,
            full: false,
            name: None,
            platform: Platform::of_machine(),
            durability: Durability::Durable,
            layers_at_once: 2,
            patience: Duration::from_mins(1),
            trust_present: false,
            memory: None,
            unusable: BTreeSet::new(),
        }
    }
}

/// Why an image was not pulled; the store is as it was, but for layers that were complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The image could not be found or understood where it comes from.
    #[error("find the image")]
    Source(#[from] TransportError),
    /// A layer did not become part of the store.
    #[error("pull layer {digest}")]
    Layer {
        /// Digest of the layer's blob.
        digest: BlobDigest,
        /// What went wrong.
        #[source]
        source: Box<LayerError>,
    },
    /// The records of the store could not be read.
    #[error("read the records of the store")]
    Records(#[from] RecordError),
    /// The pull could not mark its own as its own, or flush it.
    #[error("prepare the store")]
    Fs(#[from] FsError),
    /// Image and layers could not be recorded.
    #[error("add the image to the store")]
    Publish(#[from] Box<PublishError>),
    /// There are layers, and no file of their records, which a pull would begin anew.
    #[error("{} is missing, though there are layers", .0.display())]
    LostRecords(PathBuf),
    /// Less memory is allowed than any pull can do with.
    #[error("a pull takes at least {least} bytes of memory, {allowed} are allowed")]
    TooLittleMemory {
        /// [`PullOptions::LEAST_MEMORY`].
        least: u64,
        /// [`PullOptions::memory`].
        allowed: u64,
    },
    /// Other processes remove the image's layers as fast as they are pulled.
    #[error("layer {0} was removed by another process again and again")]
    Gone(LayerId),
}

impl From<CheckError> for PullError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Record(error) => Self::Records(error),
            CheckError::Fs(error) | CheckError::Flush(error) => Self::Fs(error),
        }
    }
}

/// What stays the same as long as a pull goes on.
struct Task<'a> {
    source: &'a dyn ImageSource,
    wanted: &'a [WantedLayer],
    options: &'a PullOptions,
    progress: &'a Arc<dyn Progress + Send + Sync>,
    pulse: &'a Pulse,
}

/// What is to be told of layers in the end, by their numbers.
struct Told {
    brought: Vec<Option<LayerReport>>,
    mended: BTreeMap<usize, RepairReport>,
}

/// Layers of dead processes that are used as sources; one descriptor each.
const DEAD_SOURCES: usize = 8;

/// Times that a pull looks again for layers that were there when it began.
const ATTEMPTS: usize = 5;

impl Store {
    /// Pulls the image of `source` into this store.
    ///
    /// Layers that the store or an additional one has are not fetched, unless the tree or
    /// something beside it is missing: such a layer is replaced. Into the store's own ones
    /// is looked, at sizes and attributes of all files, and what is damaged is mended
    /// as by [`Store::repair`], from `source`; but see [`PullOptions::trust_present`].
    /// Other layers are taken by their TOC where they have one, with all that any layer of
    /// this store can give, and whole where not. Layers and image become visible
    /// together, at the end.
    ///
    /// A blob that another process pulls into this store, with the same run root,
    /// is waited for instead of fetched twice; see [`PullOptions::patience`].
    ///
    /// # Errors
    ///
    /// If the image cannot be had or is not what its digests promise, or if the
    /// store cannot take it. What is whole by then is kept for the next pull.
    pub fn pull(
        &self,
        source: &dyn ImageSource,
        reference: &Reference,
        options: &PullOptions,
        progress: &Arc<dyn Progress + Send + Sync>,
    ) -> Result<PullReport, PullError> {
        let started = Instant::now();
        expect_enough_memory(options)?;
        let image = source.resolve(&options.platform)?;
        let wanted = WantedLayer::all(&image.layers);
        progress.layers(&wanted.iter().map(|w| (w.blob.digest, w.blob.size)).collect::<Vec<_>>());
        let name = options.name.clone().unwrap_or_else(|| crate::naming::name(reference, &image));
        let mark = PullMark::create(&self.run_root)?;
        let mut claims = Claims::new(self.run_root.as_fd(), &mark, options.patience)?;
        let pulse = mark.pulse()?;
        let progress = &pulse.over(progress.clone());
        let mut publication = Publication::new(&image, &name, &wanted, &mark, options.durability);
        publication.note_unusable(options.unusable.clone());
        let mut told = Told { brought: vec![None; wanted.len()], mended: BTreeMap::new() };
        let task = Task { source, wanted: &wanted, options, progress, pulse: &pulse };
        let mut looks = !options.trust_present;
        for _ in 0..ATTEMPTS {
            let absent = self.claim_absent(&wanted, &publication, &mut claims, &**progress)?;
            let mut present: Vec<usize> = (0..wanted.len()).collect();
            present.retain(|index| !absent.contains(index) && !publication.has(*index));
            for index in &present {
                progress.done(*index, LayerWay::Present);
            }
            // What comes later is new.
            if !std::mem::take(&mut looks) {
                present.clear();
            }
            let done = self.bring_and_mend(&task, &absent, present, &mut publication, &mut told);
            if let Err(failure) = done {
                self.keep_what_is_whole(publication);
                return Err(failure);
            }
            match self.publish(publication).map_err(Box::new)? {
                Outcome::Published { image: image_id, kept } => {
                    let mut layers = finish_reports(&wanted, told.brought);
                    let present = layers.iter_mut().filter(|l| l.path == LayerWay::Present);
                    let reasons = present.map(|layer| (&layer.layer_id, &mut layer.reason));
                    self.only_elsewhere()?.explain(reasons);
                    claims.explain(&mut layers);
                    explain_kept(&kept, &mut layers);
                    let mended = explain_mended(told.mended, &mut layers);
                    let report = report(reference, name, image_id, &image, layers, started);
                    return Ok(PullReport { mended, ..report });
                }
                Outcome::Gone(back) => publication = back,
            }
        }
        let first = publication.missing().cloned();
        Err(PullError::Gone(first.unwrap_or_else(|| wanted[0].id.clone())))
    }

    /// Brings the layers that are absent, looks into those that are `present`, and mends
    /// what is damaged: one after the other, since each may take many open files.
    fn bring_and_mend(
        &self,
        task: &Task<'_>,
        absent: &[usize],
        present: Vec<usize>,
        publication: &mut Publication<'_>,
        told: &mut Told,
    ) -> Result<(), PullError> {
        // Looking is mostly waiting for the kernel, and bringing has threads enough. Both at
        // once is too much where memory is short.
        let found = if task.options.memory.is_some() {
            self.bring_absent(task, absent, publication, &mut told.brought)?;
            self.look_into(task, present, 1)?
        } else {
            let threads = if absent.is_empty() { task.options.layers_at_once.max(1) } else { 1 };
            let (brought, found) = std::thread::scope(|scope| {
                let look = scope.spawn(|| self.look_into(task, present, threads));
                let brought = self.bring_absent(task, absent, publication, &mut told.brought);
                (brought, look.join().unwrap_or_else(|panic| resume_unwind(panic)))
            });
            brought?;
            found?
        };
        self.mend_found(task, &found, &mut told.mended)?;
        publication.note_unusable(found.unusable);
        Ok(())
    }

    fn bring_absent(
        &self,
        task: &Task<'_>,
        absent: &[usize],
        publication: &mut Publication<'_>,
        reports: &mut [Option<LayerReport>],
    ) -> Result<(), PullError> {
        // Here, after any wait: who was waited for may have died.
        let dead = self.take_dead();
        for batch in absent.chunks(Bounds::of(task.options).staged) {
            let left = dead.iter().map(|layer| Staged { id: None, layer });
            let staged = publication.staged().into_iter().chain(left).collect();
            let batch = Batch { indices: batch, staged };
            let fetched = match publication.durability() {
                Durability::Durable => {
                    flushing_beside(|| self.driver.flush(), || self.fetch_layers(task, batch))?
                }
                Durability::Volatile => self.fetch_layers(task, batch),
            };
            self.take_fetched(task.wanted, fetched, publication, reports)?;
        }
        Ok(())
    }

    /// Removes what dead processes left, but for some staged layers, which are removed
    /// when they are dropped: until then they may serve as sources.
    fn take_dead(&self) -> Vec<DeadSlot> {
        let dead = self.driver.dead_slots(DEAD_SOURCES);
        let recovered = self.recover_dead();
        if let Err(error) = &recovered {
            tracing::warn!(
                error = error_chain(error),
                "what dead processes left cannot be removed"
            );
        }
        dead.unwrap_or_else(|error| {
            tracing::warn!(error = error_chain(&error), "what dead processes left is of no use");
            Vec::new()
        })
    }

    /// The layers that neither the store nor this pull has.
    fn absent(
        &self,
        wanted: &[WantedLayer],
        publication: &Publication<'_>,
    ) -> Result<Vec<usize>, PullError> {
        let mut absent = self.not_in_store(wanted, publication.unusable())?;
        absent.retain(|index| !publication.has(*index));
        Ok(absent)
    }

    /// The layers that neither the store has (whole, as far as can be told without
    /// looking into them, and not `unusable`) nor an additional one.
    fn not_in_store(
        &self,
        wanted: &[WantedLayer],
        unusable: &BTreeSet<LayerId>,
    ) -> Result<Vec<usize>, PullError> {
        let layers = self.layers.read()?;
        if self.lacks_records(&layers)? {
            return Err(PullError::LostRecords(layers.file()));
        }
        // Images that cannot be recorded in the end are not worth a byte.
        drop(self.images.read()?);
        let elsewhere = self.elsewhere(layers.records(), &[]);
        let damaged = self.damaged(wanted, unusable, &layers).replaced;
        let whole = |id| layers.get(id).is_some_and(|record| !record.is_incomplete());
        let present = |id| (whole(id) && !damaged.contains(id)) || elsewhere.has(id);
        Ok((0..wanted.len()).filter(|index| !present(&wanted[*index].id)).collect())
    }

    /// Seals what came, and notes the reports.
    ///
    /// # Errors
    ///
    /// The first failure of a layer, or that of sealing.
    fn take_fetched(
        &self,
        wanted: &[WantedLayer],
        fetched: Vec<(usize, Result<FetchedLayer, LayerError>)>,
        publication: &mut Publication<'_>,
        reports: &mut [Option<LayerReport>],
    ) -> Result<(), PullError> {
        let mut failure = None;
        let mut filled = Vec::new();
        let mut facts = Vec::new();
        for (index, result) in fetched {
            match result {
                Ok(layer) => {
                    reports[index] = Some(layer.report);
                    filled.push(layer.layer);
                    facts.push((index, layer.facts));
                }
                Err(source) if failure.is_none() => {
                    let digest = wanted[index].blob.digest;
                    failure = Some(PullError::Layer { digest, source: Box::new(source) });
                }
                Err(_) => {}
            }
        }
        let flushes = publication.durability() == Durability::Durable && !filled.is_empty();
        let before = if flushes { self.recorded(wanted)? } else { BTreeSet::new() };
        let sealed = self.driver.seal(filled, publication.durability())?;
        publication.note_flushed(before);
        for ((index, facts), sealed) in facts.into_iter().zip(sealed) {
            publication.add(index, sealed, facts);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Those of the wanted layers that have a record.
    fn recorded(&self, wanted: &[WantedLayer]) -> Result<BTreeSet<LayerId>, RecordError> {
        let layers = self.layers.read()?;
        let ids = wanted.iter().map(|wanted| &wanted.id);
        Ok(ids.filter(|id| layers.get(id).is_some()).cloned().collect())
    }
}

fn expect_enough_memory(options: &PullOptions) -> Result<(), PullError> {
    let least = PullOptions::LEAST_MEMORY;
    match options.memory {
        Some(allowed) if allowed < least => Err(PullError::TooLittleMemory { least, allowed }),
        _ => Ok(()),
    }
}

/// The reports of layers that came, and of those that were there.
fn finish_reports(wanted: &[WantedLayer], reports: Vec<Option<LayerReport>>) -> Vec<LayerReport> {
    let present = |wanted: &WantedLayer| LayerReport {
        digest: wanted.blob.digest,
        diff_id: wanted.blob.diff_id,
        layer_id: wanted.id.clone(),
        path: LayerWay::Present,
        reason: "in the store".into(),
        requests: 0,
        bytes: LayerCounts { blob: wanted.blob.size, ..LayerCounts::default() },
        notes: Vec::new(),
    };
    let pairs = wanted.iter().zip(reports);
    pairs.map(|(wanted, report)| report.unwrap_or_else(|| present(wanted))).collect()
}

fn report(
    reference: &Reference,
    name: String,
    image_id: storage_core::ImageId,
    image: &ResolvedImage,
    layers: Vec<LayerReport>,
    started: Instant,
) -> PullReport {
    let mut bytes = ByteCounts::default();
    for layer in &layers {
        bytes.add(&layer.bytes.bytes);
    }
    PullReport {
        reference: reference.to_string(),
        name,
        image_id,
        digest: image.manifest.digest,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        bytes,
        layers,
        mended: RepairReport::default(),
    }
}
