//! How much a pull does at once, so that the descriptors and the memory it may have are enough.

use rustix::process::{Resource, getrlimit};

use super::PullOptions;

/// Most descriptors that a pull needs; see the crate's promises.
const NEEDED: u64 = 128;

/// What a process has open besides.
const OTHERS: u64 = 16;

/// Descriptors of a staged layer.
const PER_LAYER: u64 = 4;

/// Layers whose directories are open at once, where that is not limited.
const STAGED: u64 = 8;

/// How much is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Layers that are worked on.
    pub(super) layers: usize,
    /// Layers whose directories are open.
    pub(super) staged: usize,
}

impl Bounds {
    /// What the caller wants, or less where the process may open few files; one layer at a
    /// time where it may take no more than so much memory.
    pub(super) fn of(options: &PullOptions) -> Self {
        match options.memory {
            Some(_) => Self { layers: 1, staged: 1 },
            None => Self::with(options.layers_at_once.max(1), getrlimit(Resource::Nofile).current),
        }
    }

    fn with(layers: usize, limit: Option<u64>) -> Self {
        let lacking = (NEEDED + OTHERS).saturating_sub(limit.unwrap_or(u64::MAX));
        let fewer = lacking.div_ceil(PER_LAYER).min(STAGED - 1);
        let staged = usize::try_from(STAGED - fewer).expect("it is small");
        Self { layers: if lacking == 0 { layers } else { 1 }, staged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_few_files_may_be_open_less_is_done_at_once() {
        let bounds = |limit| {
            let Bounds { layers, staged } = Bounds::with(2, limit);
            (layers, staged)
        };
        assert_eq!([None, Some(1024), Some(144)].map(bounds), [(2, 8); 3]);
        assert_eq!([Some(140), Some(100), Some(0)].map(bounds), [(1, 7), (1, 1), (1, 1)]);
    }
}
