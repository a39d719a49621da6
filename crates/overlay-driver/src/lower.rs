//! Which layers lie below a layer, as its directory tells.

use std::io;

use storage_core::{FsError, LayerId};

use crate::dir::Dir;
use crate::driver::Home;
use crate::layout::{self, LINK, LOWER, LOWER_LAYERS};
use crate::link::LinkId;

/// What a new layer's `lower` and `lower-layers` say: the same layers in two
/// languages, the nearest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lowers {
    /// Items of `lower`: `l/<link>`.
    links: Vec<String>,
    /// Items of `lower-layers`.
    ids: Vec<LayerId>,
}

impl Lowers {
    /// What lies below a layer on top of this one.
    pub(crate) fn with(&self, id: &LayerId, link: &LinkId) -> Self {
        let links = std::iter::once(layout::lower_item(link)).chain(self.links.iter().cloned());
        let ids = std::iter::once(id.clone()).chain(self.ids.iter().cloned());
        Self { links: links.collect(), ids: ids.collect() }
    }

    /// What lies below a layer on top of `parent`; `None` if there is no such directory.
    pub(crate) fn above(home: &Home, parent: &LayerId) -> Result<Option<Self>, FsError> {
        let Some(dir) = home.find(parent)?.map(|found| found.dir) else { return Ok(None) };
        let Some(link) = read_link_name(&dir)? else {
            return Err(invalid(&dir, LINK, "the layer has no short link"));
        };
        let ids = read_ids(&dir, home)?;
        let items = match dir.read(LOWER)? {
            Some(text) => items(&text).map(str::to_owned).collect(),
            None => links_of(home, &ids)?,
        };
        Ok(Some(Self { links: items, ids }.with(parent, &link)))
    }

    /// How many layers these are.
    pub(crate) fn count(&self) -> usize {
        self.ids.len().max(self.links.len())
    }

    /// Content of the file `lower`.
    pub(crate) fn lower(&self) -> String {
        self.links.join(":")
    }

    /// Content of the file `lower-layers`.
    pub(crate) fn lower_layers(&self) -> String {
        self.ids.iter().map(LayerId::as_str).collect::<Vec<_>>().join(":")
    }
}

/// The name in a layer's `link` file; `None` if there is no such file.
pub(crate) fn read_link_name(layer: &Dir) -> Result<Option<LinkId>, FsError> {
    let parse = |text: String| {
        text.trim_end_matches('\n').parse().map_err(|error| invalid(layer, LINK, error))
    };
    layer.read(LINK)?.map(parse).transpose()
}

/// The layers below the one whose directory `layer` is, the nearest first.
///
/// `lower-layers` is believed where it exists; older tools wrote only `lower`,
/// whose links are then resolved.
pub(crate) fn read_ids(layer: &Dir, home: &Home) -> Result<Vec<LayerId>, FsError> {
    if let Some(text) = layer.read(LOWER_LAYERS)? {
        let parse = |item: &str| item.parse().map_err(|e| invalid(layer, LOWER_LAYERS, e));
        return items(&text).map(parse).collect();
    }
    let Some(text) = layer.read(LOWER)? else { return Ok(Vec::new()) };
    items(&text).map(|item| resolve(layer, home, item)).collect()
}

/// Whether `lower`, where it exists, names the layers that [`read_ids`] gives: older tools
/// know no other file, and a layer that is put on top takes its own from it.
pub(crate) fn agree(layer: &Dir, home: &Home) -> Result<bool, FsError> {
    let Some(text) = layer.read(LOWER)? else { return Ok(true) };
    let (ids, items) = (read_ids(layer, home)?, items(&text).collect::<Vec<_>>());
    if ids.len() != items.len() {
        return Ok(false);
    }
    for (id, item) in ids.iter().zip(items) {
        let Some(link) = layout::link_of_lower_item(item) else { return Ok(false) };
        // Another store need not have the links themselves.
        if home.layer_of_link(&link)?.as_ref() != Some(id)
            && read_link_name(&home.expect(id)?.dir)?.as_ref() != Some(&link)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn resolve(layer: &Dir, home: &Home, item: &str) -> Result<LayerId, FsError> {
    let Some(link) = layout::link_of_lower_item(item) else {
        return Err(invalid(layer, LOWER, format!("{item:?} is not a short link")));
    };
    home.layer_of_link(&link)?
        .ok_or_else(|| invalid(layer, LOWER, format!("the short link {item} leads to no layer")))
}

/// Items of `lower` for layers whose ids are known.
fn links_of(home: &Home, ids: &[LayerId]) -> Result<Vec<String>, FsError> {
    let item = |id: &LayerId| {
        let dir = home.expect(id)?.dir;
        let link = read_link_name(&dir)?
            .ok_or_else(|| invalid(&dir, LINK, "the layer has no short link"))?;
        Ok(layout::lower_item(&link))
    };
    ids.iter().map(item).collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end_matches('\n').split(':').filter(|item| !item.is_empty())
}

fn invalid(
    dir: &Dir,
    name: &str,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> FsError {
    FsError::new("read", dir.shown(name), io::Error::new(io::ErrorKind::InvalidData, why))
}
