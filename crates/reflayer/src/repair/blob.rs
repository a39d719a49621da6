//! The content of damaged files from the layer's blob: its ranges, or all of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use chunked::{Toc, TocFile, TocLocation, extract};
use storage_core::{
    DiffId, FsResultExt as _, Hasher, LayerPath, RangeReader, RangeSource, Verified,
};
use tarball::{Crc64, TarReader};
use tree::NewFile;

use super::content::{BUFFER, Brought, Need};
use super::error::MendError;
use super::report::Got;
use super::stage::Stage;
use crate::pull::{WantedLayer, error_chain};
use crate::unpack::decompress;

/// Files that are filled from one fetch; each is open meanwhile, within what a pull may
/// have open.
const AT_ONCE: usize = 32;

/// Makes the needed files from the layer's blob; tells what each took.
pub(super) fn bring_from_blob(
    blob: &dyn RangeSource,
    layer: &WantedLayer,
    kept_toc: Option<Toc>,
    needs: &[Need],
    stage: &mut Stage<'_>,
) -> Result<Brought, MendError> {
    let mut brought = Brought::new();
    let by_toc = by_tocs(blob, layer, kept_toc, needs, stage, &mut brought);
    if let Err(error) = by_toc {
        let error = error_chain(&error);
        tracing::info!(layer = %layer.blob.digest, error, "taking the whole blob");
    }
    let left: Vec<Need> =
        needs.iter().filter(|need| !brought.contains_key(&need.number)).cloned().collect();
    if !left.is_empty() {
        whole(blob, layer, &left, stage)?;
        brought.extend(left.iter().map(|need| (need.number, Got::default())));
    }
    Ok(brought)
}

/// By the TOC that is kept, which costs nothing; else by the one in the blob.
fn by_tocs(
    blob: &dyn RangeSource,
    layer: &WantedLayer,
    kept: Option<Toc>,
    needs: &[Need],
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
    needs: &[Need],
    stage: &mut Stage<'_>,
    brought: &mut Brought,
) -> Result<(), MendError> {
    let files: HashMap<LayerPath, TocFile<'_>> =
        toc.files().map(|file| (file.path(), file)).collect();
    let missing = needs.iter().filter(|need| !brought.contains_key(&need.number));
    let found = missing.filter_map(|need| Some((need.clone(), *files.get(&need.name)?)));
    let found: Vec<(Need, TocFile<'_>)> =
        found.filter(|(need, file)| need.node.entry.size == file.size()).collect();
    for group in found.chunks(AT_ONCE) {
        let targets: Vec<NewFile> = group
            .iter()
            .map(|(need, _)| stage.create(need.number, &need.node))
            .collect::<Result<_, _>>()?;
        let files: Vec<_> =
            group.iter().zip(&targets).map(|((_, f), t)| (*f, t.as_file())).collect();
        let fetched = extract(blob, &files)?;
        for (((need, _), target), fetched) in group.iter().zip(targets).zip(fetched) {
            // The TOC that is kept may be damaged; the tar-split has its own word.
            if has_checksum(target.as_file(), need.crc64)? {
                stage.complete(need.number, target, &need.node)?;
                brought.insert(need.number, Got { fetched, reused: 0 });
            }
        }
    }
    Ok(())
}

fn has_checksum(file: &File, crc64: u64) -> Result<bool, MendError> {
    let (mut buffer, mut at, mut crc) = (vec![0; BUFFER], 0, Crc64::new());
    loop {
        let count = file.read_at(&mut buffer, at).during("read", "a mended file")?;
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
    needs: &[Need],
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
    needs: &[Need],
    stage: &mut Stage<'_>,
) -> Result<(), MendError> {
    let size = layer.blob.size;
    let raw = Verified::new(RangeReader::new(blob, 0..size), *layer.blob.digest.digest(), size);
    let stream = decompress(raw, layer.blob.compression).map_err(MendError::Blob)?;
    let hashed = Hashed { stream, hash: Hasher::new() };
    let by_number: HashMap<u64, &Need> = needs.iter().map(|need| (need.number, need)).collect();
    let mut tar = TarReader::new(hashed, tarball::Limits::default(), ());
    let mut number = 0;
    while let Some(entry) = tar.next_entry().map_err(MendError::Tar)? {
        if let Some(need) = by_number.get(&number) {
            let target = stage.create(need.number, &need.node)?;
            io::copy(&mut tar.content(), &mut target.as_file()).map_err(MendError::Blob)?;
            if entry.size == need.node.entry.size && has_checksum(target.as_file(), need.crc64)? {
                stage.complete(need.number, target, &need.node)?;
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
