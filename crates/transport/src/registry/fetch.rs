//! Several ranges at once, from the first place that gives them.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use storage_core::SourceError;
use tokio::task::JoinSet;

use super::blob::Blob;
use super::endpoint::{Endpoint, Ranges};
use super::error::{RegistryError, RequestError};
use super::pieces::Outlet;
use super::proof::Asking;
use super::queue::{Group, Next, Queue};
use super::range::{self, Ended, Job};
use super::retry::Attempts;
use super::{several, whole};

/// Fetches ranges and ends the outlet.
pub(super) async fn run(blob: Arc<Blob>, ranges: Vec<Range<u64>>, out: Outlet) {
    let jobs: Vec<_> = ranges
        .iter()
        .enumerate()
        .filter(|(_, range)| !range.is_empty())
        .map(|(number, range)| Arc::new(Job::new(number, range)))
        .collect();
    out.finish(everywhere(&blob, &jobs, &out).await.map_err(|(at, source)| {
        let (start, end) = at;
        let attempt = format!("fetch bytes {start}-{} of blob {}", end - 1, blob.digest());
        SourceError { attempt, source: source.into() }
    }));
}

type Failure = ((u64, u64), RegistryError);

/// Goes from place to place; what one has given is not asked of the next.
async fn everywhere(blob: &Arc<Blob>, jobs: &[Arc<Job>], out: &Outlet) -> Result<(), Failure> {
    if let Some(job) = jobs.iter().find(|job| job.end() > blob.size()) {
        let url = blob.digest().to_string();
        let source = RequestError::Size { expected: job.end(), actual: blob.size() };
        return Err(((job.at(), job.end()), RegistryError::Request { url, source }));
    }
    let mut errors = Vec::new();
    for endpoint in blob.places() {
        match from_endpoint(blob, &endpoint, jobs, out).await {
            Ok(()) => return Ok(()),
            Err(source) => {
                let url = endpoint.shown(&blob.path());
                tracing::debug!(url, %source, "place failed");
                errors.push(RegistryError::Request { url, source });
            }
        }
    }
    let left = jobs.iter().find(|job| !job.is_done());
    let at = left.map_or((0, 1), |job| (job.at(), job.end()));
    Err((at, RegistryError::of_places(errors)))
}

async fn from_endpoint(
    blob: &Arc<Blob>,
    endpoint: &Arc<Endpoint>,
    jobs: &[Arc<Job>],
    out: &Outlet,
) -> Result<(), RequestError> {
    let response = if endpoint.ranges() == Ranges::Ignored && !only_whole(blob, jobs) {
        None
    } else {
        match side_by_side(blob, endpoint, jobs, out).await? {
            Ended::Done => return Ok(()),
            Ended::WholeOnly(response) => response,
        }
    };
    endpoint.set_ranges(Ranges::Ignored);
    tracing::debug!(url = endpoint.shown(&blob.path()), "no ranges: streaming the whole blob");
    whole::fetch(blob, endpoint, response, jobs, out).await
}

/// Whether nothing but the whole blob is wanted, which every registry gives.
fn only_whole(blob: &Blob, jobs: &[Arc<Job>]) -> bool {
    jobs.iter().all(|job| job.at() == 0 && job.end() == blob.size())
}

/// Several tasks, each with one or some ranges after the other, until all are done or one fails.
async fn side_by_side(
    blob: &Arc<Blob>,
    endpoint: &Arc<Endpoint>,
    jobs: &[Arc<Job>],
    out: &Outlet,
) -> Result<Ended, RequestError> {
    let left: Vec<_> = jobs.iter().filter(|job| !job.is_done()).cloned().collect();
    let count = left.len().min(blob.parallel());
    let queue = Arc::new(Queue::new(left, count));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let worker = Worker {
            blob: blob.clone(),
            endpoint: endpoint.clone(),
            queue: queue.clone(),
            out: out.clone(),
        };
        tasks.spawn(async move {
            // Only one whole blob should come by surprise: the first task sees it, and
            // the others leave the rest to it.
            if number > 0 {
                worker.endpoint.ranges_known().await;
                if worker.endpoint.ranges() == Ranges::Ignored {
                    return Ok(Ended::Done);
                }
            }
            worker.run().await
        });
    }
    let ended = first_end(&mut tasks, jobs).await;
    // Stopped before anybody else goes on with the jobs.
    tasks.shutdown().await;
    ended
}

async fn first_end(
    tasks: &mut JoinSet<Result<Ended, RequestError>>,
    jobs: &[Arc<Job>],
) -> Result<Ended, RequestError> {
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap_or_else(|panicked| Err(RequestError::Connection(panicked.into())))? {
            Ended::Done if jobs.iter().all(|job| job.is_done()) => return Ok(Ended::Done),
            Ended::Done => {}
            whole @ Ended::WholeOnly(_) => return Ok(whole),
        }
    }
    Ok(Ended::Done)
}

struct Worker {
    blob: Arc<Blob>,
    endpoint: Arc<Endpoint>,
    queue: Arc<Queue>,
    out: Outlet,
}

impl Worker {
    async fn run(self) -> Result<Ended, RequestError> {
        while let Some(next) = self.next().await {
            match next {
                Next::One(job) => {
                    let ended = range::fetch(&self.blob, &self.endpoint, &job, &self.out).await?;
                    if let Ended::WholeOnly(_) = ended {
                        return Ok(ended);
                    }
                }
                Next::Several(group, asking) => self.several(group, asking).await?,
            }
        }
        Ok(Ended::Done)
    }

    async fn next(&self) -> Option<Next<'_>> {
        let honoured = self.endpoint.ranges() == Ranges::Honoured;
        self.queue.next(honoured.then_some(&self.endpoint.several)).await
    }

    /// One request for a group of ranges. Whatever it leaves goes back to the queue.
    async fn several(&self, group: Group<'_>, asking: Asking<'_>) -> Result<(), RequestError> {
        let answer = several::fetch(&self.blob, &self.endpoint, group.jobs(), &self.out).await;
        let Err(error) = answer else {
            asking.right();
            return Ok(());
        };
        tracing::debug!(%error, source = error.source(), "no answer to several ranges");
        match error.passing() {
            Ok(error) => {
                asking.broken();
                // The other workers need not wait as well.
                drop(group);
                Attempts::new(self.blob.retry()).again_after(error).await
            }
            Err(_) => {
                asking.odd();
                Ok(())
            }
        }
    }
}
