//! Records against directories, and the documents of images.

use storage_core::{
    BlobDigest, Digest, FsError, ImageRecord, Images, LayerId, LayerRecord, Layers, RecordError,
};

use super::containers::check_containers;
use super::harm::label;
use super::problem::TAR_SPLIT;
use super::{CheckError, Problem};
use crate::Store;
use crate::documents::Documents;
use crate::listing::chain;
use crate::pull::has_repeated_names;
use crate::sources::Elsewhere;

/// What was found, and the records that it was found in.
pub(super) type Checked = (Vec<Problem>, Vec<LayerRecord>, Vec<ImageRecord>);

impl Store {
    /// Record files that cannot be what a tool wrote.
    pub(crate) fn damaged_records(&self) -> Result<Vec<Problem>, CheckError> {
        let mut damaged = Vec::new();
        let layers = self.layers.read();
        if let Ok(layers) = &layers {
            note(self.mounts.read(layers).map(drop), &mut damaged)?;
            // Which layers are mounted tells whether there are any.
            if damaged.is_empty() && self.lacks_records(layers)? {
                let reason = "it is missing, though there are layers".into();
                damaged.push(Problem::DamagedRecords { file: layers.file(), reason });
            }
        }
        note(layers.map(drop), &mut damaged)?;
        note(self.images.read().map(drop), &mut damaged)?;
        note(self.containers.read().map(drop), &mut damaged)?;
        Ok(damaged)
    }

    /// Whether there is no file of layer records, and yet there are layers: the file
    /// always comes before the first of them. Lost records of images are an error of
    /// whoever reads them: [`RecordError::Lost`].
    pub(crate) fn lacks_records(&self, layers: &Layers<'_>) -> Result<bool, RecordError> {
        Ok(!layers.has_file()? && !self.orphans(layers)?.is_empty())
    }

    pub(super) fn check_records(&self) -> Result<Checked, CheckError> {
        let mut problems = Vec::new();
        let layers = self.layers.read()?;
        let images = self.images.read()?;
        let containers = self.containers.read()?;
        let Elsewhere { layers: other_layers, images: other_images } =
            self.elsewhere(layers.records(), images.records());
        let all = [layers.records(), &other_layers].concat();
        for record in layers.records() {
            problems.extend(self.check_layer_record(record, &layers, &all)?);
        }
        let orphans = self.orphans(&layers)?.into_iter();
        problems.extend(orphans.map(|id| Problem::Orphan { id: id.to_string() }));
        check_images(&all, &images, &mut problems)?;
        check_fields(&layers, &images, &mut problems)?;
        let other_images = other_images.into_iter().map(|(image, _)| image);
        let all_images: Vec<_> = images.records().iter().cloned().chain(other_images).collect();
        problems.extend(check_containers(&containers, &all, &all_images));
        Ok((problems, layers.records().to_vec(), images.records().to_vec()))
    }

    /// What is wrong with a layer as far as can be told without looking into it; `all`
    /// are the records of layers that it may stand on, those of additional stores included.
    pub(crate) fn check_layer_record(
        &self,
        record: &LayerRecord,
        layers: &Layers<'_>,
        all: &[LayerRecord],
    ) -> Result<Vec<Problem>, CheckError> {
        let layer = record.id.clone();
        if record.is_incomplete() {
            return Ok(vec![Problem::Incomplete { layer }]);
        }
        if let Err(error) = self.driver.diff(&layer) {
            if error.is_for_want_of_room() {
                return Err(error.into());
            }
            let reason = error.source.to_string();
            return Ok(vec![Problem::MissingTree { layer, reason }]);
        }
        let mut problems: Vec<_> = self.check_parents(record, all).into_iter().collect();
        let missing =
            |key: &str| Problem::MissingBigData { id: layer.to_string(), key: key.into() };
        for key in &record.big_data_names {
            if layers.open_big_data(&layer, key)?.is_none() {
                problems.push(missing(key));
            }
        }
        let has_tar_split = record.diff_digest.is_some() && !has_repeated_names(record);
        if has_tar_split && layers.open_tar_split(&layer)?.is_none() {
            problems.push(missing(TAR_SPLIT));
        }
        Ok(problems)
    }

    /// Compares the chain of records with the chain of directories.
    pub(crate) fn check_parents(
        &self,
        record: &LayerRecord,
        all: &[LayerRecord],
    ) -> Option<Problem> {
        let layer = record.id.clone();
        let known = |id: &LayerId| all.iter().any(|layer| layer.id == *id);
        if let Some(parent) = record.parent.clone().filter(|parent| !known(parent)) {
            return Some(Problem::MissingParent { layer, parent });
        }
        let mut expected: Vec<&LayerId> =
            chain(Some(&layer), all).into_iter().map(|l| &l.id).rev().collect();
        expected.remove(0);
        let found = match self.lowers_said(&layer) {
            Ok(lowers) if lowers.iter().eq(expected) => return None,
            Ok(lowers) => join(&lowers),
            Err(found) => found,
        };
        Some(Problem::WrongLowers { layer, found })
    }

    /// The layers below as the layer's directory says, or what is wrong with what it says.
    fn lowers_said(&self, layer: &LayerId) -> Result<Vec<LayerId>, String> {
        let said = |error: FsError| crate::pull::error_chain(&error);
        if !self.driver.has_link(layer).map_err(said)? {
            return Err("its short link leads elsewhere".into());
        }
        let lowers = self.driver.lowers(layer).map_err(said)?;
        if !self.driver.lowers_agree(layer).map_err(said)? {
            return Err(format!("{} by one of its files, other ones by another", join(&lowers)));
        }
        Ok(lowers)
    }
}

/// Notes a record file that is damaged; other failures stay errors.
fn note(read: Result<(), RecordError>, damaged: &mut Vec<Problem>) -> Result<(), RecordError> {
    match read {
        Err(error) => {
            let reason = match (&error, std::error::Error::source(&error)) {
                (RecordError::Damaged { .. }, Some(source)) => source.to_string(),
                (RecordError::Empty { .. }, _) => "it is empty".into(),
                (RecordError::Lost { .. }, _) => "it is missing, though there are images".into(),
                _ => crate::pull::error_chain(&error),
            };
            let file = error.damaged_file().map(Into::into).ok_or(error)?;
            damaged.push(Problem::DamagedRecords { file, reason });
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn check_images(
    layers: &[LayerRecord],
    images: &Images<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(), CheckError> {
    for record in images.records() {
        let known = |id: &LayerId| layers.iter().any(|layer| layer.id == *id);
        if let Some(layer) = record.layer.clone().filter(|layer| !known(layer)) {
            problems.push(Problem::MissingLayer { image: label(record), layer });
        }
        for key in &record.big_data_names {
            problems.extend(check_document(record, key, images)?);
        }
    }
    let orphans = images.orphans()?.into_iter();
    problems.extend(orphans.map(|id| Problem::Orphan { id: id.to_string() }));
    Ok(())
}

/// Compares records with what the configs of images say of the same layers, and with
/// the files that should be named in them.
fn check_fields(
    layers: &Layers<'_>,
    images: &Images<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(), CheckError> {
    let documents = Documents::of_recorded(images)?;
    let mut wrong = |id: &str, field: &'static str, is_wrong: bool| {
        let problem = || Problem::WrongRecord { id: id.into(), field };
        problems.extend(is_wrong.then(problem));
    };
    for record in layers.records().iter().filter(|record| !record.is_incomplete()) {
        if let Some(document) = documents.layers.get(&record.id) {
            let id = record.id.as_str();
            wrong(id, "diff-digest", record.diff_digest != Some(document.diff_id));
            wrong(id, "parent", record.parent != document.parent);
        }
        let unnamed =
            record.big_data_names.is_empty() && !layers.keys_on_disk(&record.id)?.is_empty();
        wrong(record.id.as_str(), "big-data-names", unnamed);
    }
    for record in images.records() {
        let Some(document) = documents.images.get(&record.id) else { continue };
        let id = record.id.as_str();
        wrong(id, "layer", has_wrong_top(record, document.top.as_ref(), layers));
        wrong(id, "big-data-names", record.big_data_names.is_empty() && !document.keys.is_empty());
        let keys = images.keys_on_disk(&record.id)?;
        wrong(id, "big-data-names", keys.iter().any(|key| is_unnamed(record, key)));
        let (sizes, digests) = (&record.big_data_sizes, &record.big_data_digests);
        let stray = |key: &String| !record.big_data_names.contains(key);
        let no_size = digests.keys().any(|key| !sizes.contains_key(key));
        let no_digest = sizes.keys().any(|key| !digests.contains_key(key));
        wrong(id, "big-data-sizes", no_size || sizes.keys().any(stray));
        wrong(id, "big-data-digests", no_digest || digests.keys().any(stray));
        let strange = |digest: &BlobDigest| !has_manifest(record, digest);
        wrong(id, "digest", document.manifest.is_some() && record.digest.iter().any(strange));
    }
    Ok(())
}

/// Whether an image's record names no layer, or one that has no record, where its config
/// leads to one.
pub(crate) fn has_wrong_top(
    record: &ImageRecord,
    top: Option<&LayerId>,
    layers: &Layers<'_>,
) -> bool {
    let is_known = |layer: &LayerId| layers.get(layer).is_some();
    match &record.layer {
        None => top.is_some(),
        Some(layer) => !is_known(layer) && top.is_some_and(|top| top != layer && is_known(top)),
    }
}

/// Whether a record knows size and digest of big data that it does not name.
pub(crate) fn is_unnamed(record: &ImageRecord, key: &String) -> bool {
    let is_known =
        record.big_data_sizes.contains_key(key) && record.big_data_digests.contains_key(key);
    is_known && !record.big_data_names.contains(key)
}

/// Whether one of the manifests that are kept beside an image has the digest.
pub(crate) fn has_manifest(record: &ImageRecord, digest: &BlobDigest) -> bool {
    let of_manifests =
        record.big_data_digests.iter().filter(|(key, _)| key.starts_with("manifest"));
    of_manifests.filter_map(|(_, known)| known.sha256()).any(|known| known == *digest.digest())
}

/// Compares one document of an image with its record.
fn check_document(
    record: &ImageRecord,
    key: &str,
    images: &Images<'_>,
) -> Result<Option<Problem>, CheckError> {
    let (id, key) = (record.id.to_string(), key.to_owned());
    let Some(content) = images.read_big_data(&record.id, &key)? else {
        return Ok(Some(Problem::MissingBigData { id, key }));
    };
    let size = record.big_data_sizes.get(&key).copied();
    let right_size = size.is_none_or(|size| u64::try_from(size) == Ok(content.len() as u64));
    let digest = record.big_data_digests.get(&key).map(ToString::to_string);
    let right_digest = digest.is_none_or(|digest| digest == Digest::of(&content).to_string());
    let good = right_size && right_digest;
    Ok((!good).then_some(Problem::DamagedBigData { id, key }))
}

fn join(ids: &[LayerId]) -> String {
    ids.iter().map(LayerId::as_str).collect::<Vec<_>>().join(":")
}
