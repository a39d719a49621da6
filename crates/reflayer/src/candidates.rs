//! What layers can give to a pull: those of the store, and its own.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunked::{
    Candidate, DedupMap, Index, IndexError, Plan, Reuse, Sources, Toc, TocError, Wanted, aside,
};
use overlay_driver::{DeadSlot, FilledLayer, SealedLayer};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use storage_core::{FsError, LayerId, LayerPath, RecordError};

use crate::Store;
use crate::pull::{Flight, INDEX_KEY, TOC_KEY, error_chain};
use crate::sources::SourceLayer;

/// Digests that are wanted and that some layer has, and which layers those are.
///
/// The layers are numbered through: those of stores first, then those that are
/// staged, then those that it is about to make.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    pub(crate) map: DedupMap,
    layers: Vec<SourceLayer>,
    staged: Vec<Staged<'a>>,
    flights: Vec<Flight>,
}

/// A layer that is not yet in the store: one that this pull has made, or one that a dead
/// process left half made, of which nobody knows what it was to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staged<'a> {
    pub(crate) id: Option<&'a LayerId>,
    pub(crate) layer: &'a dyn StagedDirs,
}

/// The directories of a layer in its staging slot.
pub(crate) trait StagedDirs: Debug + Sync {
    /// Opens its tree.
    fn tree(&self) -> Result<OwnedFd, FsError>;

    /// Opens what is kept beside it.
    fn aside(&self) -> Result<OwnedFd, FsError>;
}

impl StagedDirs for SealedLayer {
    fn tree(&self) -> Result<OwnedFd, FsError> {
        self.tree()
    }

    fn aside(&self) -> Result<OwnedFd, FsError> {
        self.aside()
    }
}

impl StagedDirs for FilledLayer {
    fn tree(&self) -> Result<OwnedFd, FsError> {
        self.tree()
    }

    fn aside(&self) -> Result<OwnedFd, FsError> {
        self.aside()
    }
}

impl StagedDirs for DeadSlot {
    fn tree(&self) -> Result<OwnedFd, FsError> {
        self.tree()?.ok_or_else(|| FsError::new("open", "the tree of a dead slot", Errno::NOENT))
    }

    fn aside(&self) -> Result<OwnedFd, FsError> {
        self.aside()?.ok_or_else(|| FsError::new("open", "what a dead slot keeps", Errno::NOENT))
    }
}

impl Candidates<'_> {
    /// The layer of that number, if it has an id.
    pub(crate) fn layer(&self, source: u32) -> Option<&LayerId> {
        match self.place(source)? {
            Place::Store(layer) => Some(&layer.id),
            Place::Staged(staged) => staged.id,
            Place::Flight(flight) => Some(&flight.id),
        }
    }

    /// How the layer of that number among those to be made by their TOCs goes about it.
    pub(crate) fn plan<'p>(&'p self, toc: &'p Toc, number: usize, reuse: Reuse) -> Plan<'p> {
        let first = self.layers.len() + self.staged.len();
        let source = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let sources = source(first)..source(first + number);
        Plan::new(toc, &self.map, reuse).with_in_flight(sources)
    }

    /// The layer of that number among those to be made by their TOCs.
    pub(crate) fn flight(&self, number: usize) -> &Flight {
        &self.flights[number]
    }

    /// Whether the files of a source are on this device, as those of layers in the making are.
    pub(crate) fn is_on(&self, device: u64, source: u32, store: &Store) -> bool {
        let tree = match self.place(source) {
            Some(Place::Store(layer)) => store.open_source_tree(layer),
            Some(Place::Staged(staged)) => staged.layer.tree(),
            Some(Place::Flight(_)) => return true,
            None => return false,
        };
        tree.is_ok_and(|tree| fstat(tree).is_ok_and(|found| found.st_dev == device))
    }

    fn place(&self, source: u32) -> Option<Place<'_>> {
        let at = usize::try_from(source).ok()?;
        if let Some(layer) = self.layers.get(at) {
            return Some(Place::Store(layer));
        }
        let at = at - self.layers.len();
        if let Some(staged) = self.staged.get(at) {
            return Some(Place::Staged(staged));
        }
        self.flights.get(at - self.staged.len()).map(Place::Flight)
    }
}

/// Where a candidate's layer is.
enum Place<'a> {
    Store(&'a SourceLayer),
    Staged(&'a Staged<'a>),
    Flight(&'a Flight),
}

/// Why the index or the TOC of a layer is not used.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Toc(#[from] TocError),
}

impl Store {
    /// Looks the wanted digests of layers that are about to be made up: in every layer
    /// of a store that has an index or a TOC, in those that are `staged`, and
    /// in those of `coming` that are below the one that wants them.
    ///
    /// A layer that cannot be read, or goes away meanwhile, gives nothing: the
    /// map holds guesses, and whoever uses one checks it.
    pub(crate) fn candidates<'a>(
        &self,
        staged: Vec<Staged<'a>>,
        coming: &[(&LayerId, &Toc)],
    ) -> Candidates<'a> {
        let mut found = self.candidates_of(coming.iter().map(|(_, toc)| *toc).collect(), staged);
        let first = found.layers.len() + found.staged.len();
        for (layer, (id, toc)) in (0..).zip(coming) {
            found.flights.push(Flight::new((*id).clone()));
            if let Ok(source) = u32::try_from(first + found.flights.len() - 1) {
                found.map.expect(toc, layer, source);
            }
        }
        found
    }

    /// The same for digests, whoever wants them.
    pub(crate) fn candidates_of<'a>(
        &self,
        wanted: Wanted,
        staged: Vec<Staged<'a>>,
    ) -> Candidates<'a> {
        let (map, flights) = (DedupMap::new(wanted), Vec::new());
        let mut found = Candidates { map, layers: Vec::new(), staged, flights };
        if found.map.wanted().is_empty() {
            return found;
        }
        let mut numbers = 0..u32::MAX;
        let layers = self.source_layers(&[INDEX_KEY, TOC_KEY]);
        for (layer, number) in layers.into_iter().zip(&mut numbers) {
            let open = |key: &str| Ok(self.open_source_data(&layer, key)?);
            look_at(layer.id.as_str(), number, &mut found.map, open, |_, _| true);
            found.layers.push(layer);
        }
        for (staged, number) in found.staged.iter().zip(numbers) {
            let name = staged.id.map_or("of a dead process", LayerId::as_str);
            let tree = staged.layer.tree().ok().filter(|_| staged.id.is_none());
            let has = |path: &LayerPath, size| {
                tree.as_ref().is_none_or(|tree| has_file(tree, path, size))
            };
            look_at(name, number, &mut found.map, |key| staged.open(key), has);
        }
        found
    }

    /// Opens the files that candidates name.
    pub(crate) fn sources<'a>(&'a self, candidates: &'a Candidates<'a>) -> LayerSources<'a> {
        LayerSources { store: self, candidates, last: Mutex::default() }
    }
}

impl Staged<'_> {
    /// Opens what will be big data of the layer.
    fn open(&self, key: &str) -> Result<Option<File>, LookError> {
        let name = if key == INDEX_KEY { aside::INDEX } else { aside::TOC };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(self.layer.aside()?, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FsError::new("open", name, errno).into()),
        }
    }
}

/// Whether a half-made tree has a file of that length. That it is the right one is seen
/// when it is used.
fn has_file(tree: &OwnedFd, path: &LayerPath, size: u64) -> bool {
    let found = statat(tree, path.as_path(), AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| u64::try_from(found.st_size) == Ok(size))
}

/// Notes what a layer has by its index, or else by its TOC, which `open` gives; of the
/// files that the latter names only those that it `has`.
fn look_at(
    layer: &str,
    source: u32,
    map: &mut DedupMap,
    open: impl Fn(&str) -> Result<Option<File>, LookError>,
    has: impl Fn(&LayerPath, u64) -> bool,
) {
    let by_index = open(INDEX_KEY).and_then(|index| {
        let Some(index) = index else { return Ok(false) };
        Index::open(index)?.find(source, map)?;
        Ok(true)
    });
    match by_index {
        Ok(true) => return,
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(layer, error = error_chain(&error), "its index is of no use");
        }
    }
    let by_toc = open(TOC_KEY).and_then(|toc| {
        let Some(toc) = toc else { return Ok(false) };
        chunked::read_candidates_of(BufReader::new(toc), source, map, has)?;
        Ok(true)
    });
    match by_toc {
        Ok(true) => tracing::info!(layer, "its TOC was read instead of an index"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(layer, error = error_chain(&error), "its TOC is of no use");
        }
    }
}

/// The trees of the layers that candidates come from.
#[derive(Debug)]
pub(crate) struct LayerSources<'a> {
    store: &'a Store,
    candidates: &'a Candidates<'a>,
    /// The tree that was opened last: neighbours in a layer mostly come from one other layer.
    last: Mutex<Option<(u32, Arc<OwnedFd>)>>,
}

impl LayerSources<'_> {
    fn diff(&self, source: u32) -> io::Result<Arc<OwnedFd>> {
        if let Some((number, diff)) = &*self.last()
            && *number == source
        {
            return Ok(diff.clone());
        }
        // Nobody else waits while this waits for a layer in flight.
        let diff = match self.candidates.place(source) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Place::Store(layer)) => {
                Arc::new(self.store.open_source_tree(layer).map_err(|error| error.source)?)
            }
            Some(Place::Staged(staged)) => {
                Arc::new(staged.layer.tree().map_err(|error| error.source)?)
            }
            Some(Place::Flight(flight)) => flight.wait()?,
        };
        *self.last() = Some((source, diff.clone()));
        Ok(diff)
    }

    fn last(&self) -> MutexGuard<'_, Option<(u32, Arc<OwnedFd>)>> {
        // Each change is whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources for LayerSources<'_> {
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        chunked::open_below(self.diff(candidate.source)?, &candidate.path)
    }
}
