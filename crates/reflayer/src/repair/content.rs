//! The content of damaged files: from other files of the store, else from the blob.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write as _};

use chunked::{Candidate, DedupMap, Sources as _, Toc, TocFile, TocLocation, Wanted, extract};
use storage_core::{ChunkDigest, DiffId, Digest, Hasher, LayerPath, LayerRecord, RangeReader};
use storage_core::{RangeSource, Verified};
use tarball::{Crc64, SplitPart, TarReader};
use tree::{Expected, Model, NewFile};

use super::error::MendError;
use super::origin::Origin;
use super::report::Got;
use super::stage::Stage;
use crate::Store;
use crate::check::{LayerData, each_piece};
use crate::pull::{WantedLayer, error_chain};
use crate::unpack::decompress;

/// Files that are filled from one fetch; each is open meanwhile.
const AT_ONCE: usize = 64;

/// What is read at once.
const BUFFER: usize = 256 << 10;

/// A file whose content is to be had.
#[derive(Debug, Clone)]
pub(super) struct Need<'m> {
    pub(super) number: u64,
    /// As the layer names it.
    pub(super) name: LayerPath,
    pub(super) node: &'m Expected,
    /// What the tar-split says of the content.
    pub(super) crc64: u64,
}

/// What is needed, with the checksums of the tar-split.
pub(super) fn needs<'m>(
    data: &LayerData<'_>,
    model: &'m Model,
    make: &BTreeMap<u64, LayerPath>,
) -> Result<Vec<Need<'m>>, MendError> {
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
        needs: &[Need<'_>],
        stage: &mut Stage<'_>,
    ) -> Result<Brought, MendError> {
        let digests = self.digests(record, needs)?;
        let size: HashMap<&LayerPath, u64> =
            needs.iter().map(|need| (&need.name, need.node.entry.size)).collect();
        let wanted = digests.iter().map(|(name, digest)| (*digest, size[name]));
        let candidates = self.candidates(wanted.collect::<Wanted>());
        let sources = self.sources(&candidates);
        let mut brought = Brought::new();
        for need in needs {
            let own = digests.iter().filter(|(name, _)| *name == need.name);
            for (_, digest) in own {
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
        needs: &[Need<'_>],
    ) -> Result<Vec<(LayerPath, Digest)>, MendError> {
        let data = LayerData::new(self, &record.id);
        let wanted: HashMap<LayerPath, u64> =
            needs.iter().map(|need| (need.name.clone(), need.node.entry.size)).collect();
        if let Some(Ok(toc)) = data.toc()? {
            let of_file = |file: TocFile<'_>| (file.path(), *file.digest().digest());
            let found = toc.files().map(of_file);
            return Ok(found.filter(|(path, _)| wanted.contains_key(path)).collect());
        }
        match data.index()? {
            Some(Ok(index)) => Ok(index.digests_of(&wanted)?),
            _ => Ok(Vec::new()),
        }
    }
}

/// Makes a file from the first that has the digest; `false` if none has.
fn copy_first(
    files: impl Iterator<Item = File>,
    digest: Digest,
    need: &Need<'_>,
    stage: &mut Stage<'_>,
) -> Result<bool, MendError> {
    for file in files {
        let target = stage.create(need.number, need.node)?;
        let mut hash = Hasher::new();
        let copied = fill(file, &target, need, |bytes| hash.update(bytes));
        if copied.unwrap_or(false) && hash.finish() == digest {
            stage.complete(need.number, target, need.node)?;
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
fn fill(
    from: File,
    to: &NewFile,
    need: &Need<'_>,
    mut take: impl FnMut(&[u8]),
) -> io::Result<bool> {
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

/// Makes the needed files from the layer's blob; tells what each took, and what was
/// received in all.
pub(super) fn bring_from_blob(
    origin: &Origin,
    layer: &WantedLayer,
    kept_toc: Option<Toc>,
    needs: &[Need<'_>],
    stage: &mut Stage<'_>,
) -> Result<(Brought, u64), MendError> {
    let blob = origin.source.blob(&layer.blob.digest, layer.blob.size)?;
    let mut brought = Brought::new();
    let by_toc = by_tocs(&*blob, layer, kept_toc, needs, stage, &mut brought);
    if let Err(error) = by_toc {
        let error = error_chain(&error);
        tracing::info!(layer = %layer.blob.digest, error, "taking the whole blob");
    }
    let left: Vec<Need<'_>> =
        needs.iter().filter(|need| !brought.contains_key(&need.number)).cloned().collect();
    if !left.is_empty() {
        whole(&*blob, layer, &left, stage)?;
        brought.extend(left.iter().map(|need| (need.number, Got::default())));
    }
    Ok((brought, blob.usage().bytes))
}

/// By the TOC that is kept, which costs nothing; else by the one in the blob.
fn by_tocs(
    blob: &dyn RangeSource,
    layer: &WantedLayer,
    kept: Option<Toc>,
    needs: &[Need<'_>],
    stage: &mut Stage<'_>,
    brought: &mut Brought,
) -> Result<(), MendError> {
    if let Some(toc) = kept
        && by_toc(blob, &toc, needs, stage, brought).is_ok()
    {
        return Ok(());
    }
    let annotations = layer.blob.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let Ok(Some(location)) = TocLocation::from_annotations(annotations) else { return Ok(()) };
    let toc = Toc::fetch(blob, &location, &chunked::Limits::default())?;
    by_toc(blob, &toc, needs, stage, brought)
}

fn by_toc(
    blob: &dyn RangeSource,
    toc: &Toc,
    needs: &[Need<'_>],
    stage: &mut Stage<'_>,
    brought: &mut Brought,
) -> Result<(), MendError> {
    let files: HashMap<LayerPath, TocFile<'_>> =
        toc.files().map(|file| (file.path(), file)).collect();
    let missing = needs.iter().filter(|need| !brought.contains_key(&need.number));
    let found = missing.filter_map(|need| Some((need.clone(), *files.get(&need.name)?)));
    let found: Vec<(Need<'_>, TocFile<'_>)> =
        found.filter(|(need, file)| need.node.entry.size == file.size()).collect();
    for group in found.chunks(AT_ONCE) {
        let targets: Vec<NewFile> = group
            .iter()
            .map(|(need, _)| stage.create(need.number, need.node))
            .collect::<Result<_, _>>()?;
        let files: Vec<_> =
            group.iter().zip(&targets).map(|((_, f), t)| (*f, t.as_file())).collect();
        let fetched = extract(blob, &files)?;
        for (((need, _), target), fetched) in group.iter().zip(targets).zip(fetched) {
            // The TOC that is kept may be damaged; the tar-split has its own word.
            if has_checksum(target.as_file(), need.crc64)? {
                stage.complete(need.number, target, need.node)?;
                brought.insert(need.number, Got { fetched, reused: 0 });
            }
        }
    }
    Ok(())
}

fn has_checksum(file: &File, crc64: u64) -> Result<bool, MendError> {
    use std::os::unix::fs::FileExt as _;
    let (mut buffer, mut at, mut crc) = (vec![0; BUFFER], 0, Crc64::new());
    loop {
        let count = file.read_at(&mut buffer, at);
        let count =
            count.map_err(|error| storage_core::FsError::new("read", "a new file", error))?;
        if count == 0 {
            return Ok(crc.value() == crc64);
        }
        crc.update(&buffer[..count]);
        at += count as u64;
    }
}

/// From the whole blob, whose tar is the proof: it must have the layer's DiffID.
fn whole(
    blob: &dyn RangeSource,
    layer: &WantedLayer,
    needs: &[Need<'_>],
    stage: &mut Stage<'_>,
) -> Result<(), MendError> {
    let made = unpack_needed(blob, layer, needs, stage);
    if made.is_err() {
        // Without the proof none of it may be used.
        for need in needs {
            stage.forget(need.number);
        }
    }
    made
}

fn unpack_needed(
    blob: &dyn RangeSource,
    layer: &WantedLayer,
    needs: &[Need<'_>],
    stage: &mut Stage<'_>,
) -> Result<(), MendError> {
    let size = layer.blob.size;
    let raw = Verified::new(RangeReader::new(blob, 0..size), *layer.blob.digest.digest(), size);
    let stream = decompress(raw, layer.blob.compression).map_err(MendError::Blob)?;
    let hashed = Hashed { stream, hash: Hasher::new() };
    let by_number: HashMap<u64, &Need<'_>> = needs.iter().map(|need| (need.number, need)).collect();
    let mut tar = TarReader::new(hashed, tarball::Limits::default(), ());
    let mut number = 0;
    while let Some(entry) = tar.next_entry().map_err(MendError::Tar)? {
        if let Some(need) = by_number.get(&number) {
            let target = stage.create(need.number, need.node)?;
            io::copy(&mut tar.content(), &mut target.as_file()).map_err(MendError::Blob)?;
            if entry.size == need.node.entry.size && has_checksum(target.as_file(), need.crc64)? {
                stage.complete(need.number, target, need.node)?;
            }
        }
        number += 1;
    }
    let (mut hashed, ()) = tar.finish().map_err(MendError::Tar)?;
    io::copy(&mut hashed, &mut io::sink()).map_err(MendError::Blob)?;
    let actual = DiffId::from(hashed.hash.finish());
    if actual != layer.blob.diff_id {
        return Err(MendError::DiffId { expected: layer.blob.diff_id, actual });
    }
    Ok(())
}

struct Hashed<R> {
    stream: R,
    hash: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}
