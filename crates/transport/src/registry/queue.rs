//! Ranges that wait for a worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::proof::{Asking, Proof};
use super::range::Job;

/// Most ranges of one request. Their header has less than 3 KiB even at offsets of
/// twenty digits, where servers take 4 KiB and more.
pub(super) const MOST: usize = 64;

/// What a request brings at most, in bytes, if it has several ranges: beyond it a round
/// trip costs next to nothing, and ranges had better come side by side.
const HEAVY: u64 = 1 << 20;

/// Ranges worth one request, even if the other workers then have nothing to do.
const WORTH: usize = 16;

/// Fewest ranges with which it is tried whether a registry gives several at once.
pub(super) const TRIAL: usize = 4;

/// Least bytes between two ranges of a request. Servers may merge what is so close that
/// a header between them would be longer.
const APART: u64 = 100;

/// Ranges that are not fetched yet, for some workers.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    workers: usize,
    /// Something came back.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Arc<Job>>,
    /// Groups that were taken and may come back.
    lent: usize,
}

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Next<'a> {
    One(Arc<Job>),
    Several(Group<'a>, Asking<'a>),
}

impl Queue {
    pub(super) fn new(jobs: impl IntoIterator<Item = Arc<Job>>, workers: usize) -> Self {
        let state = Mutex::new(State { jobs: jobs.into_iter().collect(), lent: 0 });
        Self { state, workers, changed: Notify::new() }
    }

    /// What is to be done next; waits while ranges may come back.
    ///
    /// Several ranges at once only by the leave of `proof`, which is none if not even
    /// single ranges are known to be honoured.
    pub(super) async fn next<'a>(&'a self, proof: Option<&'a Proof>) -> Option<Next<'a>> {
        loop {
            let changed = self.changed.notified();
            if let Some(asking) = proof.and_then(Proof::ask)
                && let Some(group) = self.group(if asking.is_first() { TRIAL } else { 2 })
            {
                return Some(Next::Several(group, asking));
            }
            {
                let mut state = self.state();
                if let Some(job) = state.jobs.pop_front() {
                    return Some(Next::One(job));
                }
                if state.lent == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// The first ranges, if at least so many of them are ascending and apart.
    fn group(&self, least: usize) -> Option<Group<'_>> {
        let mut state = self.state();
        let share = state.jobs.len().div_ceil(self.workers).clamp(WORTH, MOST);
        let (mut count, mut bytes, mut end) = (0, 0, None);
        for job in state.jobs.iter().take(share) {
            bytes = u64::saturating_add(bytes, job.end() - job.at());
            let is_near = end.is_some_and(|end| job.at() < end || job.at() - end < APART);
            if is_near || (bytes > HEAVY && count > 0) {
                break;
            }
            (count, end) = (count + 1, Some(job.end()));
        }
        if count < least {
            return None;
        }
        state.lent += 1;
        Some(Group { queue: self, jobs: state.jobs.drain(..count).collect() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ranges for one request: ascending and apart. What is left when it is dropped goes
/// back to the front of the queue.
#[derive(Debug)]
pub(super) struct Group<'q> {
    queue: &'q Queue,
    jobs: Vec<Arc<Job>>,
}

impl Group<'_> {
    pub(super) fn jobs(&self) -> &[Arc<Job>] {
        &self.jobs
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.lent -= 1;
        for job in self.jobs.drain(..).rev().filter(|job| !job.is_done()) {
            state.jobs.push_front(job);
        }
        drop(state);
        self.queue.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(ranges: &[(u64, u64)], workers: usize) -> Queue {
        let job = |(number, &(start, end)): (usize, &(u64, u64))| Job::new(number, &(start..end));
        Queue::new(ranges.iter().enumerate().map(job).map(Arc::new), workers)
    }

    fn lengths(queue: &Queue) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(mut group) = queue.group(1) {
            lengths.push(group.jobs.len());
            group.jobs.clear();
        }
        lengths
    }

    #[test]
    fn groups_get_smaller_so_that_all_workers_end_together() {
        let ranges: Vec<_> = (0..300).map(|i| (i * 1000, i * 1000 + 500)).collect();
        assert_eq!(lengths(&queue(&ranges, 4)), [64, 59, 45, 33, 25, 19, 16, 16, 16, 7]);
        assert_eq!(lengths(&queue(&ranges, 1)), [64, 64, 64, 64, 44]);
    }

    #[test]
    fn heavy_near_and_descending_ranges_are_parted() {
        let half = HEAVY / 2;
        let heavy: Vec<_> = (0..5).map(|i| (3 * i * half, (3 * i + 1) * half)).collect();
        assert_eq!(lengths(&queue(&heavy, 4)), [2, 2, 1]);
        assert_eq!(lengths(&queue(&[(0, 9 * half), (10 * half, 11 * half)], 4)), [1, 1]);
        assert_eq!(lengths(&queue(&[(0, 10), (10, 20), (119, 130), (230, 240)], 1)), [1, 1, 2]);
        assert_eq!(lengths(&queue(&[(500, 600), (0, 10)], 1)), [1, 1]);
    }

    #[test]
    fn what_is_left_of_a_group_comes_back_in_its_order() {
        let queue = queue(&[(0, 10), (200, 210), (400, 410)], 1);
        let group = queue.group(2).unwrap();
        assert_eq!((group.jobs().len(), queue.state().lent), (3, 1));
        drop(group);
        let starts: Vec<_> = queue.state().jobs.iter().map(|job| job.at()).collect();
        assert_eq!(starts, [0, 200, 400]);
        assert!(queue.group(4).is_none());
        assert_eq!(queue.state().lent, 0);
    }
}
