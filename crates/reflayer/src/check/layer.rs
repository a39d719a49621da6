//! The files of one layer against what its tar-split says.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use storage_core::{LayerId, LayerPath, LayerRecord};
use tree::{Aspect, Difference, Maker, Model, WalkError};

use super::beside::look_beside;
use super::content::{look_at_content, name_changed};
use super::look::{LayerData, maker_of, model_of};
use super::problem::TAR_SPLIT;
use super::{CheckError, CheckLevel, Problem};
use crate::Store;
use crate::memory::Memory;
use crate::pull::{FORMAT_KEY, INDEX_KEY, TOC_KEY};

/// What was found in a layer.
#[derive(Debug)]
pub(crate) struct LayerLook {
    pub(crate) layer: LayerId,
    /// What should be in it; `None` if nothing tells.
    pub(crate) model: Option<Model>,
    /// In what its files differ from that, by path.
    pub(crate) differences: BTreeMap<LayerPath, Vec<Aspect>>,
    /// What else is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Whether what should be in it takes more memory than there is for it.
    pub(crate) is_too_large: bool,
}

impl LayerLook {
    fn new(layer: &LayerId) -> Self {
        let (differences, problems) = (BTreeMap::new(), Vec::new());
        let layer = layer.clone();
        Self { layer, model: None, differences, problems, is_too_large: false }
    }

    /// Notes in what the tree differs from what it should be.
    fn compare(
        &mut self,
        record: &LayerRecord,
        model: Model,
        diff: BorrowedFd<'_>,
    ) -> Result<(), CheckError> {
        match model.compare(diff, maker_of(record)) {
            Ok(found) => self.differences = by_path(found, record),
            Err(WalkError::Fs(error)) if error.is_for_want_of_room() => return Err(error.into()),
            Err(error) => {
                let (layer, reason) = (self.layer.clone(), crate::pull::error_chain(&error));
                self.problems.push(Problem::Unreadable { layer, reason });
            }
        }
        self.model = Some(model);
        Ok(())
    }

    /// Notes that the content of a file differs, unless it is said already that it
    /// is not there, or has another length.
    pub(super) fn blame(&mut self, path: &LayerPath) {
        let Some(model) = &self.model else { return };
        let path = model.resolve(path);
        // One file is blamed once, by the name at which its attributes were compared.
        let names = model.names_of(&path);
        let said = |name: &&LayerPath| {
            self.differences.get(name).is_some_and(|aspects| {
                let content = [Aspect::Missing, Aspect::Kind, Aspect::HardLink, Aspect::Size];
                aspects.iter().any(|aspect| content.contains(aspect))
            })
        };
        let there = names.iter().find(|name| !said(name)).cloned();
        match there {
            Some(name) if !names.iter().any(|name| self.has(name, Aspect::Size)) => {
                self.add(name, Aspect::Content);
            }
            _ => {}
        }
    }

    fn has(&self, path: &LayerPath, aspect: Aspect) -> bool {
        self.differences.get(path).is_some_and(|aspects| aspects.contains(&aspect))
    }

    pub(super) fn add(&mut self, path: LayerPath, aspect: Aspect) {
        let aspects = self.differences.entry(path).or_default();
        if !aspects.contains(&aspect) {
            aspects.push(aspect);
            aspects.sort_unstable();
        }
    }

    pub(crate) fn has_found(&self) -> bool {
        !(self.differences.is_empty() && self.problems.is_empty())
    }

    pub(super) fn into_problems(self) -> impl Iterator<Item = Problem> {
        let layer = self.layer;
        let files = self.differences.into_iter();
        let files =
            files.map(move |(path, differs)| Problem::File { layer: layer.clone(), path, differs });
        self.problems.into_iter().chain(files)
    }

    pub(super) fn damaged(&mut self, key: &str) {
        let (id, key) = (self.layer.to_string(), key.into());
        self.problems.push(Problem::DamagedBigData { id, key });
    }
}

impl Store {
    /// Looks into a layer, with as much memory as is given or is needed; `None` if there is
    /// nothing to look into, or it was removed meanwhile.
    pub(crate) fn look_at_layer(
        &self,
        record: &LayerRecord,
        level: CheckLevel,
        memory: Option<Memory>,
    ) -> Result<Option<LayerLook>, CheckError> {
        if record.is_incomplete() {
            return Ok(None);
        }
        let mut look = LayerLook::new(&record.id);
        let diff = match self.driver.diff(&record.id) {
            Ok(diff) => diff,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.is_for_want_of_room() => return Err(error.into()),
            Err(error) => {
                let (layer, reason) = (record.id.clone(), crate::pull::error_chain(&error));
                look.problems.push(Problem::Unreadable { layer, reason });
                return Ok(Some(look));
            }
        };
        let data = LayerData::new(self, &record.id);
        let toc = match memory {
            Some(memory) => data.toc_within(&memory.toc_limits(1))?,
            None => data.toc()?,
        };
        if let Some(Err(reason)) = &toc {
            tracing::warn!(layer = %record.id, reason, "its TOC cannot be read");
            look.damaged(TOC_KEY);
        }
        let toc = toc.filter(|_| level == CheckLevel::Content);
        if let Some(Err(reason)) = data.index()? {
            tracing::warn!(layer = %record.id, reason, "its index cannot be read");
            look.damaged(INDEX_KEY);
        }
        if maker_of(record) == Maker::Writer && !data.is_noted_as_tree()? {
            look.damaged(FORMAT_KEY);
        }
        match data.tar_split()?.map(|parts| model_of(parts, self.privileges, memory)) {
            None => {}
            Some(Err(reason)) => {
                tracing::warn!(layer = %record.id, reason, "its tar-split cannot be read");
                look.damaged(TAR_SPLIT);
            }
            Some(Ok(None)) => look.is_too_large = true,
            Some(Ok(Some(model))) => {
                look.compare(record, model, diff.as_fd())?;
                look_at_content(record, diff.as_fd(), &data, level, &mut look)?;
                if let Some(Ok(toc)) = &toc {
                    name_changed(&mut look, diff.as_fd(), toc)?;
                }
                if level == CheckLevel::Content && !look.has_found() {
                    look_beside(record, diff.as_fd(), &data, &mut look)?;
                }
            }
        }
        if look.has_found() && self.layers.read()?.get(&record.id).is_none() {
            return Ok(None);
        }
        Ok(Some(look))
    }
}

/// The differences, but for owners that a map of ids changed.
fn by_path(found: Vec<Difference>, record: &LayerRecord) -> BTreeMap<LayerPath, Vec<Aspect>> {
    let mapped = !(record.uid_map.is_empty() && record.gid_map.is_empty());
    let keep = |aspect: &Aspect| !(mapped && *aspect == Aspect::Owner);
    let kept = |found: Difference| (found.path, found.aspects.into_iter().filter(keep).collect());
    found.into_iter().map(kept).filter(|(_, aspects): &(_, Vec<_>)| !aspects.is_empty()).collect()
}
