//! Which layers a pull brings itself, and which it leaves to others that are at it.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use storage_core::{BlobDigest, FsError};

use super::PullError;
use super::blob_lock::{BlobLocks, Waited};
use super::layer::WantedLayer;
use super::mark::PullMark;
use super::publish::Publication;
use crate::Store;
use crate::progress::Progress;
use crate::report::{LayerReport, LayerWay};

/// The blobs that a pull brings, and what is to be told of those it waited for.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    locks: BlobLocks<'a>,
    patience: Duration,
    /// Whether other pulls may be waited for: only while nobody can wait for us.
    may_wait: bool,
    waited_for: BTreeSet<usize>,
    given_up: BTreeSet<usize>,
}

impl<'a> Claims<'a> {
    /// None yet; pulls that have not moved for `patience` will not be waited for.
    pub(super) fn new(
        run_root: BorrowedFd<'a>,
        mark: &'a PullMark,
        patience: Duration,
    ) -> Result<Self, FsError> {
        Ok(Self {
            locks: BlobLocks::new(run_root, mark)?,
            patience,
            may_wait: true,
            waited_for: BTreeSet::new(),
            given_up: BTreeSet::new(),
        })
    }

    /// Adds to the reports what waiting had to do with them.
    pub(super) fn explain(&self, reports: &mut [LayerReport]) {
        for (index, report) in reports.iter_mut().enumerate() {
            let present = report.path == LayerWay::Present;
            if present && self.waited_for.contains(&index) {
                report.reason = "another pull brought it meanwhile".into();
            } else if !present && self.given_up.contains(&index) {
                report.notes.push(self.impatience());
            }
        }
    }

    fn impatience(&self) -> String {
        let seconds = self.patience.as_secs_f64();
        format!("another pull was at it, but did not move for {seconds} s")
    }
}

impl Store {
    /// The layers that neither the store nor this pull has, with their blobs'
    /// locks held.
    ///
    /// The first time, whoever has one of these locks is waited for. Later, when
    /// a layer was removed in the middle of this pull, others may be waiting for
    /// what it holds: the locks that are free are taken, and all are brought.
    pub(super) fn claim_absent(
        &self,
        wanted: &[WantedLayer],
        publication: &Publication<'_>,
        claims: &mut Claims<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<usize>, PullError> {
        loop {
            let absent = self.absent(wanted, publication)?;
            let blobs = digests(wanted, &absent);
            if !claims.may_wait {
                claims.locks.take_free(&blobs)?;
                return Ok(absent);
            }
            if let Some(holder) = claims.locks.try_take(&blobs)? {
                let theirs = |index: &usize| holder.blobs.contains(&wanted[*index].blob.digest);
                let theirs: Vec<usize> = absent.into_iter().filter(theirs).collect();
                for index in &theirs {
                    progress.waiting(*index);
                }
                tracing::info!(layers = ?holder.blobs, "another pull is at them: waiting");
                claims.waited_for.extend(&theirs);
                if claims.locks.wait(&holder, claims.patience)? == Waited::Stalled {
                    tracing::warn!(layers = ?holder.blobs, "{}", claims.impatience());
                    claims.given_up.extend(&theirs);
                }
                continue;
            }
            // Who had a lock a moment ago may have made the layer present.
            let absent = self.absent(wanted, publication)?;
            let still = digests(wanted, &absent);
            claims.locks.keep_only(&still)?;
            if still.is_subset(&blobs) {
                claims.may_wait = false;
                return Ok(absent);
            }
        }
    }
}

fn digests(wanted: &[WantedLayer], indices: &[usize]) -> BTreeSet<BlobDigest> {
    indices.iter().map(|index| wanted[*index].blob.digest).collect()
}
