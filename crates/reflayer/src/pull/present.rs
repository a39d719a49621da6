//! Layers that are there already: a pull looks into them beside its fetching, and mends
//! what is damaged from its own source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use storage_core::{FsError, LayerId, Lock, RangeSource};

use super::fetch::in_parallel;
use super::layer::LayerError;
use super::sound::Sound;
use super::watch::Watched;
use super::{PullError, Task};
use crate::Store;
use crate::check::{CheckError, CheckLevel, LayerLook};
use crate::memory::Memory;
use crate::repair::{RepairReport, pulled_again};
use crate::report::{LayerReport, LayerWay};

/// A lock in the run root, none of the store's: two pulls that find the same damage
/// mend it once.
const TURN: &str = "reflayer-mending";

/// The time between two looks at it.
const POLL: Duration = Duration::from_millis(20);

/// What was found in layers that are there.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Numbers of layers of which something differs.
    damaged: Vec<usize>,
    /// Layers of which nothing tells what should be in them: they are brought again.
    pub(super) unusable: BTreeSet<LayerId>,
}

impl Store {
    /// Looks at sizes and attributes of all files of some layers, without a lock; not of
    /// those that were found [`Sound`] not long ago.
    ///
    /// Of a layer that differs only that is kept: it is looked at again before it is
    /// mended, when nothing else needs the memory.
    pub(super) fn look_into(
        &self,
        task: &Task<'_>,
        layers: Vec<usize>,
        threads: usize,
    ) -> Result<Found, CheckError> {
        if layers.is_empty() {
            return Ok(Found::default());
        }
        let (started, count) = (Instant::now(), layers.len());
        let records = self.layers.read()?.records().to_vec();
        let sound = Sound::open(&self.run_root)?;
        let memory = Memory::new(task.options.memory);
        let looks = in_parallel(layers, threads, |index| {
            let id = &task.wanted[index].id;
            // An additional store may have it.
            let Some(record) = records.iter().find(|record| record.id == *id) else {
                return Ok::<_, CheckError>(None);
            };
            let tree = self.driver.diff(id).ok();
            if tree.as_ref().is_some_and(|tree| sound.has(id, tree)) {
                return Ok(None);
            }
            let look = self.look_at_layer(record, CheckLevel::Attributes, Some(memory))?;
            task.pulse.beat();
            match (&look, &tree) {
                (Some(look), _) if look.is_too_large => tracing::warn!(
                    layer = %id,
                    "not looked into: it takes more memory than the pull may have; `check` does it"
                ),
                (Some(look), Some(tree)) if !look.has_found() => sound.note(id, tree),
                _ => {}
            }
            let damaged = look.filter(LayerLook::has_found);
            let again = |look: &LayerLook| look.problems.iter().any(|p| pulled_again(p).is_some());
            Ok(damaged.map(|look| (index, again(&look))))
        });
        let mut found = Found::default();
        for look in looks {
            match look? {
                Some((index, true)) => drop(found.unusable.insert(task.wanted[index].id.clone())),
                Some((index, false)) => found.damaged.push(index),
                None => {}
            }
        }
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(layers = count, ?found, %milliseconds, "looked into layers that are there");
        Ok(found)
    }

    /// Mends what was found, a layer after the other.
    pub(super) fn mend_found(
        &self,
        task: &Task<'_>,
        found: &Found,
        mended: &mut BTreeMap<usize, RepairReport>,
    ) -> Result<(), PullError> {
        if found.damaged.is_empty() {
            return Ok(());
        }
        let _turn = self.wait_for_turn(task.options.patience)?;
        for index in found.damaged.iter().copied() {
            let blob = &task.wanted[index].blob;
            let open = || -> Result<Arc<dyn RangeSource>, _> {
                let source = task.source.blob(&blob.digest, blob.size)?;
                Ok(Arc::new(Watched::new(source, task.progress.clone(), index)))
            };
            let report = self.mend_present(&task.wanted[index], open).map_err(|error| {
                let source = Box::new(LayerError::Mend(error));
                PullError::Layer { digest: blob.digest, source }
            })?;
            task.progress.done(index, LayerWay::Present);
            mended.insert(index, report);
        }
        Ok(())
    }

    /// Waits until no other pull mends, but not longer than `patience`: without the lock
    /// the same bytes may be fetched twice, and no more.
    fn wait_for_turn(&self, patience: Duration) -> Result<Option<Lock>, FsError> {
        let started = Instant::now();
        loop {
            let lock = Lock::try_exclusive(&self.run_root, TURN)?;
            if lock.is_some() || started.elapsed() >= patience {
                return Ok(lock);
            }
            thread::sleep(POLL);
        }
    }
}

/// Says of layers that were there what was found in them, and sums that up.
pub(super) fn explain_mended(
    mended: BTreeMap<usize, RepairReport>,
    layers: &mut [LayerReport],
) -> RepairReport {
    let mut sum = RepairReport::default();
    for (index, report) in mended {
        let layer = &mut layers[index];
        layer.bytes.bytes.fetched += report.fetched;
        layer.requests += report.requests;
        layer.notes.extend(report.summary());
        sum.add(report);
    }
    sum
}
