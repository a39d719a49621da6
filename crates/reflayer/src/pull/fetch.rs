//! Layers of one image, several at a time: scanned, planned, then brought.

use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use chunked::{Choice, Prover, Reuse, Scanned, Sources, TocLocation};
use crossbeam::channel::unbounded;
use overlay_driver::{FilledLayer, StagedLayer};
use rustix::fs::{Timespec, Timestamps, fstat, futimens};
use storage_core::{FsError, FsResultExt as _, RangeSource, TocDigest};
use transport::ImageSource;
use tree::{TreeOptions, TreeReport};

use super::bounds::Bounds;
use super::layer::{FetchedLayer, LayerError, LayerFacts, Origin, WantedLayer, chain};
use super::publish::{FORMAT_DIRECTORY, FORMAT_FILE};
use super::pulse::Pulse;
use super::watch::Watched;
use super::{PullOptions, Task};
use crate::Store;
use crate::candidates::{Candidates, Staged};
use crate::memory::Memory;
use crate::progress::Progress;
use crate::report::{ByteCounts, LayerCounts, LayerReport, LayerWay};
use crate::unpack::{create, unpack, write_index};

/// A layer before its bytes come: how it will be taken.
pub(super) struct Prepared {
    pub(super) index: usize,
    pub(super) blob: Arc<dyn RangeSource>,
    pub(super) way: Way,
}

/// Layers to be brought together, by their indices among those that are wanted, and
/// what is there in staging for them.
pub(super) struct Batch<'a> {
    pub(super) indices: &'a [usize],
    pub(super) staged: Vec<Staged<'a>>,
}

/// Layers that are prepared, and what is there for them.
pub(super) struct Planned<'a> {
    pub(super) layers: Vec<Prepared>,
    pub(super) candidates: Candidates<'a>,
}

pub(super) enum Way {
    /// By its TOC.
    Toc(Box<TocLayer>),
    /// Whole, for this reason.
    Whole(String),
}

/// A layer whose TOC was read and agrees with the tar-split.
pub(super) struct TocLayer {
    pub(super) staged: StagedLayer,
    pub(super) scanned: Scanned,
    digest: TocDigest,
    /// Its number among the layers that are planned together and taken by their TOCs.
    pub(super) number: usize,
}

impl Store {
    /// Brings the layers of a batch; each ends well or with its own error.
    pub(super) fn fetch_layers(
        &self,
        task: &Task<'_>,
        batch: Batch<'_>,
    ) -> Vec<(usize, Result<FetchedLayer, LayerError>)> {
        let Task { source, wanted, options, progress, pulse } = *task;
        let (planned, failed) = self.plan_layers(source, wanted, batch, options, progress);
        if !failed.is_empty() {
            return failed.into_iter().map(|(index, error)| (index, Err(error))).collect();
        }
        let Planned { layers, candidates } = planned;
        let threads = Bounds::of(options).layers;
        in_parallel(layers, threads, |prepared| {
            let index = prepared.index;
            let result = self.bring(prepared, &wanted[index], &candidates, options, pulse);
            if let Ok(layer) = &result {
                progress.done(index, layer.report.path);
            }
            (index, result)
        })
    }

    /// Reads the TOCs of layers, and looks up what the store has for them; and the
    /// layers for which that failed.
    pub(super) fn plan_layers<'a>(
        &self,
        source: &dyn ImageSource,
        wanted: &[WantedLayer],
        Batch { indices, staged }: Batch<'a>,
        options: &PullOptions,
        progress: &Arc<dyn Progress + Send + Sync>,
    ) -> (Planned<'a>, Vec<(usize, LayerError)>) {
        let threads = Bounds::of(options).layers;
        let prepared = in_parallel(indices.to_vec(), threads, |index| {
            let limits = Memory::new(options.memory).toc_limits(indices.len());
            (index, self.prepare(source, &wanted[index], index, options, &limits, progress))
        });
        let (mut layers, mut failed) = (Vec::new(), Vec::new());
        for (index, outcome) in prepared {
            match outcome {
                Ok(prepared) => layers.push(prepared),
                Err(error) => failed.push((index, error)),
            }
        }
        let mut coming = Vec::new();
        for layer in &mut layers {
            if let Way::Toc(toc) = &mut layer.way {
                toc.number = coming.len();
                coming.push((&wanted[layer.index].id, &toc.scanned.toc));
            }
        }
        let candidates = self.candidates(staged, &coming);
        (Planned { layers, candidates }, failed)
    }

    /// Reads a layer's TOC, if it has one that can be used.
    fn prepare(
        &self,
        source: &dyn ImageSource,
        wanted: &WantedLayer,
        index: usize,
        options: &PullOptions,
        limits: &chunked::Limits,
        progress: &Arc<dyn Progress + Send + Sync>,
    ) -> Result<Prepared, LayerError> {
        let blob = source.blob(&wanted.blob.digest, wanted.blob.size)?;
        let blob: Arc<dyn RangeSource> = Arc::new(Watched::new(blob, progress.clone(), index));
        let way = match toc_location(wanted, options) {
            Err(reason) => Way::Whole(reason),
            Ok(location) => {
                let staged = self.driver.stage()?;
                match chunked::scan(&*blob, &location, staged.dirs(), limits) {
                    Ok(scanned) => {
                        let digest = location.toc_digest;
                        Way::Toc(Box::new(TocLayer { staged, scanned, digest, number: 0 }))
                    }
                    Err(error) if error.is_lie_of_the_toc() => Way::Whole(chain(&error)),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(Prepared { index, blob, way })
    }

    fn bring(
        &self,
        prepared: Prepared,
        wanted: &WantedLayer,
        candidates: &Candidates<'_>,
        options: &PullOptions,
        pulse: &Pulse,
    ) -> Result<FetchedLayer, LayerError> {
        let blob = &*prepared.blob;
        let reason = match prepared.way {
            Way::Whole(reason) => reason,
            Way::Toc(layer) => {
                let sources = pulse.over_sources(self.sources(candidates));
                match self.by_toc(blob, *layer, wanted, candidates, &sources, options.reuse) {
                    Err(error) if error.is_lie_of_the_toc() => chain(&error),
                    other => return other,
                }
            }
        };
        tracing::info!(layer = %wanted.blob.digest, reason, "taking the whole blob");
        let memory = Memory::new(options.memory);
        self.whole(blob, wanted, reason, memory).map_err(|error| match memory.budget() {
            Some(budget) if error.is_lack_of_memory() => {
                LayerError::Memory { budget, source: Box::new(error) }
            }
            _ => error,
        })
    }

    fn by_toc(
        &self,
        blob: &dyn RangeSource,
        layer: TocLayer,
        wanted: &WantedLayer,
        candidates: &Candidates<'_>,
        sources: &dyn Sources,
        reuse: Reuse,
    ) -> Result<FetchedLayer, LayerError> {
        let TocLayer { staged, scanned, digest, number } = layer;
        let landing = candidates.flight(number).landing();
        let dirs = staged.dirs();
        let proof = Prover::start(dirs, wanted.blob.diff_id)?;
        let plan = candidates.plan(&scanned.toc, number, reuse);
        tracing::debug!(layer = %wanted.blob.digest, plan = ?plan.summary(), "planned");
        let options = TreeOptions::new(self.privileges);
        let applied = plan.pin(blob, sources, dirs, options, &proof)?.apply()?;
        landing.here(dirs.dest);
        let proved = proof.finish(applied)?;
        let counts = ByteCounts { fetched: blob.usage().bytes, ..proved.report.into() };
        let reason = reason(&proved.choices);
        let mut report =
            layer_report(wanted, LayerWay::Partial, reason, blob, proved.diff_size, counts);
        report.notes = notes(&proved.tree);
        write_format(staged.dirs().aside)?;
        write_index(staged.dirs().aside, |file| chunked::write_index(&scanned.toc, file))?;
        let facts = LayerFacts {
            origin: Origin::Toc(digest),
            diff_size: proved.diff_size,
            uids: proved.uid_set.iter().copied().collect(),
            gids: proved.gid_set.iter().copied().collect(),
            has_tar_split: true,
        };
        let layer = fill(staged, wanted, proved.tree.root_entry)?;
        Ok(FetchedLayer { layer, facts, report })
    }

    fn whole(
        &self,
        blob: &dyn RangeSource,
        wanted: &WantedLayer,
        reason: String,
        memory: Memory,
    ) -> Result<FetchedLayer, LayerError> {
        let staged = self.driver.stage()?;
        let unpacked = unpack(blob, &wanted.blob, staged.dirs(), self.privileges, memory)?;
        let counts = ByteCounts {
            fetched: blob.usage().bytes,
            written: unpacked.written,
            ..ByteCounts::default()
        };
        let mut report =
            layer_report(wanted, LayerWay::Full, reason, blob, unpacked.diff_size, counts);
        report.notes = notes(&unpacked.tree);
        if let Some(name) = &unpacked.repeated {
            report
                .notes
                .push(format!("{name} stands twice in the tar: it cannot be exported again"));
        }
        let facts = LayerFacts {
            origin: Origin::Blob {
                digest: wanted.blob.digest,
                size: wanted.blob.size,
                compression: wanted.blob.compression,
            },
            diff_size: unpacked.diff_size,
            uids: unpacked.uids,
            gids: unpacked.gids,
            has_tar_split: unpacked.repeated.is_none(),
        };
        let layer = fill(staged, wanted, unpacked.tree.root_entry)?;
        Ok(FetchedLayer { layer, facts, report })
    }
}

/// How the missing bytes were asked for.
fn reason(choices: &[Choice]) -> String {
    match choices {
        [] => String::new(),
        [planned] => planned.to_string(),
        [planned, late, ..] => format!("{planned}; for local files that failed: {late}"),
    }
}

/// Where the layer's TOC is, or why none is used.
fn toc_location(wanted: &WantedLayer, options: &PullOptions) -> Result<TocLocation, String> {
    if options.full {
        return Err("asked for".into());
    }
    let annotations = wanted.blob.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    match TocLocation::from_annotations(annotations) {
        Ok(Some(location)) => Ok(location),
        Ok(None) => Err("the layer has no TOC".into()),
        Err(error) => Err(chain(&error)),
    }
}

/// Says that the layer's files stand in a directory tree.
fn write_format(aside: BorrowedFd<'_>) -> Result<(), FsError> {
    let mut file = create(aside, FORMAT_FILE)?;
    file.write_all(FORMAT_DIRECTORY).during("write", FORMAT_FILE)
}

/// Closes a layer that is complete, and tells the driver what it will be.
fn fill(
    mut staged: StagedLayer,
    wanted: &WantedLayer,
    root_entry: bool,
) -> Result<FilledLayer, FsError> {
    let root = staged.dirs().dest;
    if root_entry {
        let mode = fstat(root).during("look at", "the root of the layer")?.st_mode;
        staged.set_root_mode(mode);
    } else {
        let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Timestamps { last_access: epoch, last_modification: epoch };
        futimens(root, &times).during("set times of", "the root of the layer")?;
    }
    staged.set_place(&wanted.id, wanted.parent.as_ref());
    staged.finish()
}

/// What the tree could not keep, in words.
fn notes(tree: &TreeReport) -> Vec<String> {
    let note = |count, what: &str| (count > 0).then(|| format!("{count} {what}"));
    [
        note(tree.skipped_devices, "devices left out: they need root"),
        note(tree.dropped_xattrs, "extended attributes left out: private or not permitted"),
        note(tree.skipped_markers, "entries of AUFS left out"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn layer_report(
    wanted: &WantedLayer,
    path: LayerWay,
    reason: String,
    blob: &dyn RangeSource,
    uncompressed: u64,
    bytes: ByteCounts,
) -> LayerReport {
    LayerReport {
        digest: wanted.blob.digest,
        diff_id: wanted.blob.diff_id,
        layer_id: wanted.id.clone(),
        path,
        reason,
        requests: blob.usage().requests,
        bytes: LayerCounts { blob: wanted.blob.size, uncompressed, bytes },
        notes: Vec::new(),
    }
}

/// Calls `work` for every item on a few threads; the results keep the items' order.
pub(crate) fn in_parallel<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let (sender, queue) = unbounded();
    let count = items.len();
    for item in items.into_iter().enumerate() {
        sender.send(item).expect("the receiver is in this function");
    }
    drop(sender);
    let (done, results) = unbounded();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            let (queue, done, work) = (queue.clone(), done.clone(), &work);
            scope.spawn(move || {
                for (number, item) in queue {
                    drop(done.send((number, work(item))));
                }
            });
        }
    });
    drop(done);
    let mut results: Vec<(usize, R)> = results.into_iter().collect();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
