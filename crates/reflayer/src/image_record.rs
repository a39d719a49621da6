//! An image's record and the documents beside it.

use serde::Deserialize;
use storage_core::{ImageId, LayerId};
use storage_core::{ImageRecord, ImagesWrite, Layers, RecordError, RecordTime};
use transport::ResolvedImage;

use crate::check::has_wrong_top;

/// The manifest that an image was last pulled by.
const MANIFEST_KEY: &str = "manifest";

#[derive(Deserialize)]
struct Config {
    created: Option<String>,
}

/// Adds the image, or the name to the image that is there, and writes its
/// documents; the caller saves the record.
///
/// One that is there keeps its layer, if that is among `layers`.
pub(crate) fn prepare(
    images: &mut ImagesWrite<'_>,
    image: &ResolvedImage,
    name: &str,
    top: Option<&LayerId>,
    layers: &Layers<'_>,
) -> Result<ImageId, RecordError> {
    let id = ImageId::of_config(&image.config.digest);
    let documents = documents(image);
    let items: Vec<_> = documents.iter().map(|(key, bytes)| (key.as_str(), *bytes)).collect();
    // The same image by another manifest.
    if images.unsay_big_data(&id, &items) {
        images.save()?;
    }
    if images.get(&id).is_none() {
        let mut record = ImageRecord::new(id.clone());
        record.layer = top.cloned();
        record.metadata = "{}".into();
        if let Some(created) = created(image) {
            record.created = created;
        }
        images.records_mut().push(record);
    }
    if let Some(record) = images.get_mut(&id) {
        record.digest = Some(image.manifest.digest);
        if has_wrong_top(record, top, layers) {
            record.layer = top.cloned();
        }
    }
    images.write_all_big_data(&id, &items)?;
    images.forget_missing_big_data(&id)?;
    images.add_name(&id, name)?;
    Ok(id)
}

/// Keys and contents, in the order in which other tools write them.
fn documents(image: &ResolvedImage) -> Vec<(String, &[u8])> {
    let by_digest = |digest: &storage_core::BlobDigest| format!("{MANIFEST_KEY}-{digest}");
    let mut documents = vec![(image.config.digest.to_string(), &image.config.bytes[..])];
    if let Some(index) = &image.index {
        documents.push((by_digest(&index.digest), &index.bytes));
    }
    documents.push((by_digest(&image.manifest.digest), &image.manifest.bytes));
    documents.push((MANIFEST_KEY.into(), &image.manifest.bytes));
    documents
}

/// When the image was built, if its config says so.
fn created(image: &ResolvedImage) -> Option<RecordTime> {
    let config: Config = serde_json::from_slice(&image.config.bytes).ok()?;
    config.created?.parse().ok()
}
