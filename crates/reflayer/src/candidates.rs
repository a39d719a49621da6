//! What the layers of the store can give to a pull.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;

use chunked::{Candidate, DedupMap, Sources, Wanted};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use storage_core::LayerId;

use crate::Store;

/// Big data that lists a layer's files with their digests.
const TOC_KEY: &str = "zstd-chunked-manifest";

/// Digests that are wanted and that some layer has, and which layers those are.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) map: DedupMap,
    layers: Vec<LayerId>,
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
        for (id, toc) in self.tocs() {
            let Ok(source) = u32::try_from(layers.len()) else { break };
            if let Err(error) =
                chunked::read_candidates(BufReader::new(toc), wanted, source, &mut map)
            {
                tracing::warn!(layer = %id, %error, "its TOC cannot be read, nothing is taken from it");
            }
            layers.push(id);
        }
        Candidates { map, layers }
    }

    /// The open TOCs of all layers that have one; the lock is held only to open them.
    fn tocs(&self) -> Vec<(LayerId, File)> {
        let Ok(layers) = self.layers.read() else { return Vec::new() };
        let with_toc = layers.records().iter().filter(|record| !record.is_incomplete());
        let open = |id: &LayerId| layers.open_big_data(id, TOC_KEY).ok().flatten();
        with_toc.filter_map(|record| Some((record.id.clone(), open(&record.id)?))).collect()
    }

    /// Opens the files that candidates name.
    pub(crate) fn sources<'a>(&'a self, candidates: &'a Candidates) -> LayerSources<'a> {
        LayerSources { store: self, layers: &candidates.layers }
    }
}

/// The trees of the layers that candidates come from.
#[derive(Debug)]
pub(crate) struct LayerSources<'a> {
    store: &'a Store,
    layers: &'a [LayerId],
}

impl Sources for LayerSources<'_> {
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let layer = usize::try_from(candidate.source).ok().and_then(|i| self.layers.get(i));
        let diff = self.store.driver.diff(layer.ok_or_else(unknown)?).map_err(|e| e.source)?;
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
