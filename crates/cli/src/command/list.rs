//! `images`, `layers`, `inspect`

use reflayer::Store;

use crate::units::{bytes, short};
use crate::{exit, report};

pub(crate) fn images(store: &Store, json: bool) -> anyhow::Result<u8> {
    let images = store.images()?;
    if json {
        report::json(&images)?;
    } else {
        let row = |image: &reflayer::ImageInfo| {
            let name = if image.names.is_empty() { "<none>".into() } else { image.names.join(" ") };
            let id = short(image.id.as_str()).to_owned();
            let read_only = if image.read_only { "yes" } else { "" };
            let count = image.layers.len().to_string();
            vec![name, id, count, bytes(image.size), image.created.clone(), read_only.into()]
        };
        let rows: Vec<_> = images.iter().map(row).collect();
        report::table(&["NAME", "ID", "LAYERS", "SIZE", "CREATED", "READ-ONLY"], &rows);
    }
    Ok(exit::SUCCESS)
}

pub(crate) fn layers(store: &Store, json: bool) -> anyhow::Result<u8> {
    let layers = store.layers()?;
    if json {
        report::json(&layers)?;
    } else {
        let row = |layer: &reflayer::LayerInfo| {
            let parent = layer.parent.as_ref().map_or("-", |parent| short(parent.as_str()));
            let way = if layer.toc_digest.is_some() { "toc" } else { "blob" };
            let size = layer.size.map_or_else(|| "?".into(), bytes);
            let id = short(layer.id.as_str()).to_owned();
            let read_only = if layer.read_only { "yes" } else { "" };
            vec![id, parent.into(), way.into(), size, read_only.into(), layer.images.join(" ")]
        };
        let rows: Vec<_> = layers.iter().map(row).collect();
        report::table(&["ID", "PARENT", "CAME BY", "SIZE", "READ-ONLY", "IMAGES"], &rows);
    }
    Ok(exit::SUCCESS)
}

/// Always JSON: what is known of an image has no shorter form.
pub(crate) fn inspect(store: &Store, image: &str) -> anyhow::Result<u8> {
    report::json(&store.inspect(image)?)?;
    Ok(exit::SUCCESS)
}
