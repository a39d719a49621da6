//! The content of damaged files, from other files of the store.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write as _};

use chunked::{Candidate, DedupMap, Sources as _, Wanted};
use storage_core::{ChunkDigest, Digest, Hasher, LayerPath, LayerRecord};
use tarball::{Crc64, SplitPart};
use tree::{Expected, Model, NewFile};

use super::error::MendError;
use super::report::Got;
use super::stage::Stage;
use crate::Store;
use crate::check::{LayerData, each_piece};
use crate::pull::error_chain;

/// What is read at once.
pub(super) const BUFFER: usize = 256 << 10;

/// A file whose content is to be had.
#[derive(Debug, Clone)]
pub(super) struct Need {
    pub(super) number: u64,
    /// As the layer names it.
    pub(super) name: LayerPath,
    pub(super) node: Expected,
    /// What the tar-split says of the content.
    pub(super) crc64: u64,
}

/// What is needed, with the checksums of the tar-split.
pub(super) fn needs(
    data: &LayerData<'_>,
    model: &Model,
    make: &BTreeMap<u64, LayerPath>,
) -> Result<Vec<Need>, MendError> {
    let Some(parts) = data.tar_split()? else { return Ok(Vec::new()) };
    let (mut needs, mut number) = (Vec::new(), 0);
    for part in parts {
        let part = part.map_err(|error| MendError::TarSplit(error_chain(&error)))?;
        let SplitPart::File { entry, crc64 } = part else { continue };
        if let Some(path) = make.get(&number)
            && let Some(node) = model.get(path)
            && let Ok(name) = LayerPath::parse(&entry.name)
            && tree::has_content(&node.entry)
        {
            needs.push(Need { number, name, node, crc64 });
        }
        number += 1;
    }
    Ok(needs)
}

/// What came, by number in the tar.
pub(super) type Brought = BTreeMap<u64, Got>;

impl Store {
    /// Makes those of the needed files whose content some file of a layer has.
    pub(super) fn bring_from_layers(
        &self,
        record: &LayerRecord,
        needs: &[Need],
        stage: &mut Stage<'_>,
    ) -> Result<Brought, MendError> {
        let digests = self.digests(record, needs)?;
        let size: HashMap<&LayerPath, u64> =
            needs.iter().map(|need| (&need.name, need.node.entry.size)).collect();
        let wanted = digests.iter().flat_map(|(name, own)| own.iter().map(|d| (*d, size[name])));
        let candidates = self.candidates_of(wanted.collect::<Wanted>(), Vec::new());
        let sources = self.sources(&candidates);
        let mut brought = Brought::new();
        for need in needs {
            for digest in digests.get(&need.name).into_iter().flatten() {
                let opened = places(&candidates.map, *digest, need.node.entry.size).into_iter();
                let opened = opened.filter_map(|candidate| sources.open(&candidate).ok());
                if copy_first(opened, *digest, need, stage)? {
                    let got = Got { fetched: 0, reused: need.node.entry.size };
                    brought.insert(need.number, got);
                    break;
                }
            }
        }
        Ok(brought)
    }

    /// The digests that the TOC or the index of the layer gives the needed files.
    fn digests(
        &self,
        record: &LayerRecord,
        needs: &[Need],
    ) -> Result<HashMap<LayerPath, Vec<Digest>>, MendError> {
        let data = LayerData::new(self, &record.id);
        let wanted: HashMap<LayerPath, u64> =
            needs.iter().map(|need| (need.name.clone(), need.node.entry.size)).collect();
        let mut digests: HashMap<LayerPath, Vec<Digest>> = HashMap::new();
        if let Some(Ok(toc)) = data.toc()? {
            for file in toc.files() {
                let path = file.path();
                if wanted.contains_key(&path) {
                    digests.entry(path).or_default().push(*file.digest().digest());
                }
            }
        } else if let Some(Ok(index)) = data.index()? {
            for (path, digest) in index.digests_of(&wanted)? {
                digests.entry(path).or_default().push(digest);
            }
        }
        Ok(digests)
    }
}

/// Makes a file from the first that has the digest; `false` if none has.
fn copy_first(
    files: impl Iterator<Item = File>,
    digest: Digest,
    need: &Need,
    stage: &mut Stage<'_>,
) -> Result<bool, MendError> {
    for file in files {
        let target = stage.create(need.number, &need.node)?;
        let mut hash = Hasher::new();
        let copied = fill(file, &target, need, |bytes| hash.update(bytes));
        if copied.unwrap_or(false) && hash.finish() == digest {
            stage.complete(need.number, target, &need.node)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The whole files that may have a digest.
fn places(map: &DedupMap, digest: Digest, size: u64) -> Vec<Candidate> {
    let digest = ChunkDigest::from(digest);
    let found = map.get(&digest);
    found.filter(|place| place.offset == 0 && place.length == size).collect()
}

/// Copies what a file holds, and tells whether it is what the tar-split says.
fn fill(from: File, to: &NewFile, need: &Need, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    let (mut crc, mut outcome) = (Crc64::new(), Ok(()));
    let mut out = to.as_file();
    let length = each_piece(from, &mut vec![0; BUFFER], need.node.entry.size, |bytes| {
        crc.update(bytes);
        take(bytes);
        if outcome.is_ok() {
            outcome = out.write_all(bytes);
        }
    })?;
    outcome?;
    Ok(length == need.node.entry.size && crc.value() == need.crc64)
}
