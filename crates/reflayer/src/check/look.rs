//! What is kept beside a layer and tells what should be in it.

use std::fs::File;
use std::io::{BufReader, Read as _};

use chunked::{Index, IndexError, Toc};
use flate2::bufread::GzDecoder;
use storage_core::{LayerId, LayerRecord, RecordError};
use tarball::{Limits, SplitLimits, SplitPart, TarSplitEntries};
use tree::{Maker, Model, Privileges};

use crate::Store;
use crate::memory::Memory;
use crate::pull::{FORMAT_DIRECTORY, FORMAT_KEY, INDEX_KEY, TOC_KEY, error_chain, pull_of};

/// A tar-split that is being read.
pub(crate) type Parts = TarSplitEntries<BufReader<GzDecoder<BufReader<File>>>>;

/// Opens what is kept beside one layer, without a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerData<'a> {
    store: &'a Store,
    id: &'a LayerId,
}

impl<'a> LayerData<'a> {
    pub(crate) fn new(store: &'a Store, id: &'a LayerId) -> Self {
        Self { store, id }
    }

    /// The tar-split, from its beginning; `None` if there is none.
    pub(crate) fn tar_split(&self) -> Result<Option<Parts>, RecordError> {
        let Some(file) = self.store.layers.peek_tar_split(self.id)? else { return Ok(None) };
        let lines = BufReader::new(GzDecoder::new(BufReader::new(file)));
        Ok(Some(TarSplitEntries::new(lines, SplitLimits::default(), Limits::default())))
    }

    /// The TOC, if there is one that can be read; or why not.
    pub(crate) fn toc(&self) -> Result<Option<Result<Toc, String>>, RecordError> {
        let mut limits = chunked::Limits::default();
        // Another tool may have made the layer, which keeps any.
        limits.text = u64::MAX;
        self.toc_within(&limits)
    }

    /// The same; one that is beyond the limits is as good as none.
    pub(crate) fn toc_within(
        &self,
        limits: &chunked::Limits,
    ) -> Result<Option<Result<Toc, String>>, RecordError> {
        let Some(file) = self.store.layers.peek_big_data(self.id, TOC_KEY)? else {
            return Ok(None);
        };
        Ok(match Toc::read(BufReader::new(file), limits) {
            Err(error) if error.is_limit() => None,
            toc => Some(toc.map_err(|error| error_chain(&error))),
        })
    }

    /// The index, likewise. One of a version that is not ours is as good as none.
    pub(crate) fn index(&self) -> Result<Option<Result<Index, String>>, RecordError> {
        Ok(match self.index_file()?.map(Index::open) {
            None | Some(Err(IndexError::Version(_) | IndexError::Algorithm)) => None,
            Some(index) => Some(index.map_err(|error| error_chain(&error))),
        })
    }

    /// The file of the index, whatever is in it.
    pub(crate) fn index_file(&self) -> Result<Option<File>, RecordError> {
        self.store.layers.peek_big_data(self.id, INDEX_KEY)
    }

    /// Whether the note that other tools go by says that the layer is a tree of files, or
    /// there is none.
    pub(crate) fn is_noted_as_tree(&self) -> Result<bool, RecordError> {
        let note = self.store.layers.peek_big_data(self.id, FORMAT_KEY)?;
        let Some(note) = note else { return Ok(true) };
        let mut text = Vec::new();
        // One byte more tells that there is too much.
        let read = note.take(FORMAT_DIRECTORY.len() as u64 + 1).read_to_end(&mut text);
        Ok(read.is_ok() && text == FORMAT_DIRECTORY)
    }
}

/// The tree that a tar-split describes, unless it takes more memory than that of so many
/// entries may; or what is wrong with the tar-split.
pub(crate) fn model_of(
    parts: Parts,
    privileges: Privileges,
    memory: Option<Memory>,
) -> Result<Option<Model>, String> {
    let mut model = Model::new(privileges);
    let mut number = 0;
    for part in parts {
        if let SplitPart::File { entry, .. } = part.map_err(|error| error_chain(&error))? {
            model.add(&entry, number).map_err(|error| error_chain(&error))?;
            number += 1;
        }
        if memory.is_some_and(|memory| model.bytes() as u64 > memory.for_a_look(number)) {
            return Ok(None);
        }
    }
    Ok(Some(model))
}

/// Who made the layer's tree, as its record tells.
pub(crate) fn maker_of(record: &LayerRecord) -> Maker {
    match (pull_of(&record.metadata), &record.toc_digest) {
        (Some(_), _) => Maker::Writer,
        (None, None) => Maker::Other,
        (None, Some(_)) => Maker::OtherByToc,
    }
}
