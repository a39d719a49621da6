//! What the layers of the store can give to a pull.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use chunked::{Candidate, DedupMap, Index, IndexError, Sources, TocError, Wanted};
use storage_core::{LayerId, RecordError};

use crate::Store;
use crate::pull::{INDEX_KEY, TOC_KEY, error_chain};
use crate::sources::SourceLayer;

/// Digests that are wanted and that some layer has, and which layers those are.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) map: DedupMap,
    layers: Vec<SourceLayer>,
}

impl Candidates {
    /// The layer of that number.
    pub(crate) fn layer(&self, source: u32) -> Option<&LayerId> {
        self.layers.get(usize::try_from(source).ok()?).map(|layer| &layer.id)
    }
}

/// Why the index or the TOC of a layer is not used.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Toc(#[from] TocError),
}

impl Store {
    /// Looks the wanted digests up in every layer that has an index or a TOC.
    ///
    /// A layer that cannot be read, or goes away meanwhile, gives nothing: the
    /// map holds guesses, and whoever uses one checks it.
    pub(crate) fn candidates(&self, wanted: Wanted) -> Candidates {
        let mut map = DedupMap::new(wanted);
        let mut layers = Vec::new();
        if map.wanted().is_empty() {
            return Candidates { map, layers };
        }
        for layer in self.source_layers(&[INDEX_KEY, TOC_KEY]) {
            let Ok(source) = u32::try_from(layers.len()) else { break };
            self.look_at(&layer, source, &mut map);
            layers.push(layer);
        }
        Candidates { map, layers }
    }

    /// By its index, or else by its TOC.
    fn look_at(&self, layer: &SourceLayer, source: u32, map: &mut DedupMap) {
        match self.look_at_index(layer, source, map) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(layer = %layer.id, error = error_chain(&error), "its index is of no use");
            }
        }
        match self.look_at_toc(layer, source, map) {
            Ok(true) => tracing::info!(layer = %layer.id, "its TOC was read instead of an index"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(layer = %layer.id, error = error_chain(&error), "its TOC is of no use");
            }
        }
    }

    /// `false` if it has none.
    fn look_at_index(
        &self,
        layer: &SourceLayer,
        source: u32,
        map: &mut DedupMap,
    ) -> Result<bool, LookError> {
        let Some(file) = self.open_source_data(layer, INDEX_KEY)? else { return Ok(false) };
        Index::open(file)?.find(source, map)?;
        Ok(true)
    }

    /// `false` if it has none.
    fn look_at_toc(
        &self,
        layer: &SourceLayer,
        source: u32,
        map: &mut DedupMap,
    ) -> Result<bool, LookError> {
        let Some(toc) = self.open_source_data(layer, TOC_KEY)? else { return Ok(false) };
        chunked::read_candidates(BufReader::new(toc), source, map)?;
        Ok(true)
    }

    /// Opens the files that candidates name.
    pub(crate) fn sources<'a>(&'a self, candidates: &'a Candidates) -> LayerSources<'a> {
        LayerSources { store: self, layers: &candidates.layers, last: Mutex::default() }
    }
}

/// The trees of the layers that candidates come from.
#[derive(Debug)]
pub(crate) struct LayerSources<'a> {
    store: &'a Store,
    layers: &'a [SourceLayer],
    /// The tree that was opened last: neighbours in a layer mostly come from one other layer.
    last: Mutex<Option<(u32, Arc<OwnedFd>)>>,
}

impl LayerSources<'_> {
    fn diff(&self, source: u32) -> io::Result<Arc<OwnedFd>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, diff)) = &*last
            && *number == source
        {
            return Ok(diff.clone());
        }
        let layer = usize::try_from(source).ok().and_then(|number| self.layers.get(number));
        let layer = layer.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let diff = Arc::new(self.store.open_source_tree(layer).map_err(|error| error.source)?);
        *last = Some((source, diff.clone()));
        Ok(diff)
    }
}

impl Sources for LayerSources<'_> {
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        chunked::open_below(self.diff(candidate.source)?, &candidate.path)
    }
}
