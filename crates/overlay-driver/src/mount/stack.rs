//! The directories that make up a mount, the top first.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage_core::{FsError, LayerId};

use super::MountError;
use crate::driver::{Driver, Found, Home};
use crate::layout::{self, COMPOSEFS, DIFF, EMPTY, PRIVATE_MODE};
use crate::link::LinkId;
use crate::lower;
use crate::trees::LayerTrees;

/// The lower directories of a mount, the top first.
pub(super) struct Stack {
    pub(super) parts: Vec<Part>,
}

/// One directory of a layer.
pub(super) struct Part {
    layer: LayerId,
    name: String,
    /// The layer's short link, if it leads to this directory.
    link: Option<LinkId>,
    /// The store that the layer is in, if it is another one.
    elsewhere: Option<Arc<LayerTrees>>,
}

impl Stack {
    /// The layer `top` and all below it.
    ///
    /// For a read-only mount overlayfs wants two directories at least, so the
    /// lowest layer has an empty one below it.
    pub(super) fn of(driver: &Driver, top: &LayerId, read_only: bool) -> Result<Self, MountError> {
        let mut parts = Vec::new();
        for layer in std::iter::once(top.clone()).chain(driver.lowers(top)?) {
            let found = driver.home.expect(&layer)?;
            if found.dir.has(COMPOSEFS)? {
                return Err(MountError::Composefs(layer));
            }
            push_layer(&mut parts, &layer, &found)?;
        }
        if read_only && parts.len() == 1 {
            let found = driver.home.expect(top)?;
            // In another store nothing is made; who wrote it has made this one.
            if found.elsewhere.is_none() {
                found.dir.ensure(EMPTY, PRIVATE_MODE)?;
            }
            let (layer, elsewhere) = (top.clone(), found.elsewhere);
            parts.push(Part { layer, name: EMPTY.into(), link: None, elsewhere });
        }
        Ok(Self { parts })
    }
}

fn push_layer(parts: &mut Vec<Part>, layer: &LayerId, found: &Found) -> Result<(), FsError> {
    let Found { dir, elsewhere } = found;
    let part = |name, link| {
        let (layer, elsewhere) = (layer.clone(), elsewhere.clone());
        Part { layer, name, link, elsewhere }
    };
    // A damaged link is no reason not to mount: the layer has a longer name.
    let link = lower::read_link_name(dir).ok().flatten();
    parts.push(part(DIFF.into(), link));
    for number in 1.. {
        let name = layout::rotated_diff(number);
        if !dir.has(&name)? {
            break;
        }
        parts.push(part(name, None));
    }
    Ok(())
}

impl Part {
    pub(super) fn locate(&self, home: &Home) -> Result<OwnedFd, FsError> {
        home.expect(&self.layer)?.dir.locate(&self.name)
    }

    /// The whole path, where that of the driver's directory is `home`.
    pub(super) fn path(&self, home: &Path) -> Result<PathBuf, FsError> {
        let layer = match &self.elsewhere {
            None => home.join(self.layer.as_str()),
            Some(other) => other.path_of(&self.layer)?,
        };
        Ok(layer.join(&self.name))
    }

    /// The shortest path from the driver's directory.
    pub(super) fn shortest(&self, home: &Home) -> Result<PathBuf, FsError> {
        let relative = || self.path(Path::new(""));
        let Some(link) = self.link.as_ref().filter(|_| self.elsewhere.is_none()) else {
            return relative();
        };
        let target = home.links.read_link(link.as_str())?;
        let leads_here = target == Some(layout::link_target(&self.layer));
        if leads_here { Ok(layout::lower_item(link).into()) } else { relative() }
    }
}
