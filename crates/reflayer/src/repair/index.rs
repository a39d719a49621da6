//! The chunk index of a layer, made again from what it describes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};

use chunked::write::ContentDigests;
use chunked::{IndexBuilder, LayerIndex, Toc, aside};
use rustix::fs::syncfs;
use storage_core::{FsResultExt as _, Hasher, LayerId, LayerPath, LayerRecord};
use tarball::SplitPart;
use tree::TreeReader;

use super::error::MendError;
use super::report::Notes;
use crate::Store;
use crate::check::{LayerData, Problem, Survey, each_piece};
use crate::pull::{INDEX_KEY, error_chain};
use crate::unpack::write_index;

/// What is read at once.
const BUFFER: usize = 256 << 10;

impl Store {
    /// Makes the indexes again that were found to be missing or damaged.
    pub(super) fn mend_indexes(
        &self,
        survey: &Survey,
        mounted: &BTreeSet<LayerId>,
        notes: &mut Notes,
    ) {
        let of_index = |problem: &&Problem| match problem {
            Problem::MissingBigData { key, .. } | Problem::DamagedBigData { key, .. } => {
                key == INDEX_KEY
            }
            _ => false,
        };
        let layers: BTreeSet<LayerId> =
            survey.structural().filter(of_index).filter_map(Problem::layer).collect();
        for layer in layers.difference(mounted) {
            let record = survey.layers.iter().find(|record| record.id == *layer);
            if let Some(record) = record
                && let Err(error) = self.mend_index(record)
            {
                notes.failed(layer.as_str(), &error);
            }
        }
    }
}

impl Store {
    /// From the files as they are: what an index says of them is true then.
    fn mend_index(&self, record: &LayerRecord) -> Result<(), MendError> {
        let staged = self.driver.stage()?;
        let aside = staged.dirs().aside;
        let diff = self.driver.diff(&record.id)?;
        let data = LayerData::new(self, &record.id);
        let made = match data.toc()? {
            Some(Ok(toc)) => {
                expect_files_of(&toc, diff.as_fd())?;
                write_index(aside, |file| chunked::write_index(&toc, file))?;
                true
            }
            _ => match index_of_tree(&data, diff.as_fd())? {
                Some(index) => write_index(aside, |file| index.write(file)).map(|()| true)?,
                // No index can describe it.
                None => false,
            },
        };
        if made {
            syncfs(aside).during("flush", aside::INDEX)?;
        }
        let mut layers = self.layers.write()?;
        if made {
            layers.adopt_big_data(&record.id, INDEX_KEY, aside, aside::INDEX)?;
            layers.sync_layer(&record.id)?;
        } else {
            layers.remove_big_data(&record.id, INDEX_KEY)?;
        }
        Ok(layers.save()?)
    }
}

/// Sees that all files are those of the TOC.
pub(crate) fn expect_files_of(toc: &Toc, diff: BorrowedFd<'_>) -> Result<(), MendError> {
    let (mut tree, mut buffer) = (TreeReader::new(diff), vec![0; BUFFER]);
    for file in toc.files() {
        let (path, mut hash) = (file.path(), Hasher::new());
        let opened = tree.open(&path)?;
        let read = each_piece(opened, &mut buffer, file.size(), |bytes| hash.update(bytes));
        read.during("read", path.as_path())?;
        if hash.finish() != *file.digest().digest() {
            return Err(MendError::Changed(path));
        }
    }
    Ok(())
}

/// What an index of the layer says, from its files as they are; `None` if none can describe it.
pub(crate) fn index_of_tree(
    data: &LayerData<'_>,
    diff: BorrowedFd<'_>,
) -> Result<Option<LayerIndex>, MendError> {
    let Some(parts) = data.tar_split()? else { return Err(MendError::NoTarSplit) };
    let (mut tree, mut buffer) = (TreeReader::new(diff), vec![0; BUFFER]);
    let mut index = IndexBuilder::new();
    for part in parts {
        let part = part.map_err(|error| MendError::TarSplit(error_chain(&error)))?;
        let SplitPart::File { entry, .. } = part else { continue };
        if !tree::has_content(&entry) {
            index.add(&entry, None);
            continue;
        }
        let path = LayerPath::parse(&entry.name).map_err(tree::TreeError::from)?;
        let mut digests = ContentDigests::new(entry.size);
        let file = tree.open(&path)?;
        let length = each_piece(file, &mut buffer, entry.size, |bytes| digests.update(bytes));
        if length.during("read", path.as_path())? != entry.size {
            return Err(MendError::Changed(path));
        }
        index.add(&entry, Some(digests));
    }
    Ok(index.finish())
}
