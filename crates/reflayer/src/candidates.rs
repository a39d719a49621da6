//! What the layers of the store can give to a pull.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use chunked::{Candidate, DedupMap, Sources, Wanted};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::Store;
use crate::pull::TOC_KEY;
use crate::sources::SourceLayer;

/// Digests that are wanted and that some layer has, and which layers those are.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) map: DedupMap,
    layers: Vec<SourceLayer>,
}

impl Store {
    /// Looks the wanted digests up in every layer that has a TOC.
    ///
    /// A layer that cannot be read, or goes away meanwhile, gives nothing: the
    /// map holds guesses, and whoever uses one checks it.
    pub(crate) fn candidates(&self, wanted: &Wanted) -> Candidates {
        let mut map = DedupMap::default();
        let mut layers = Vec::new();
        if wanted.is_empty() {
            return Candidates { map, layers };
        }
        for layer in self.source_layers(&[TOC_KEY]) {
            let Ok(source) = u32::try_from(layers.len()) else { break };
            let Ok(Some(toc)) = self.open_source_data(&layer, TOC_KEY) else { continue };
            if let Err(error) =
                chunked::read_candidates(BufReader::new(toc), wanted, source, &mut map)
            {
                tracing::warn!(layer = %layer.id, %error, "its TOC cannot be read, nothing is taken from it");
            }
            layers.push(layer);
        }
        Candidates { map, layers }
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
        let diff = self.diff(candidate.source)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = candidate.path.as_path();
        let file = File::from(openat2(diff.as_fd(), path, flags, Mode::empty(), resolve)?);
        if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
            Ok(file)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}
