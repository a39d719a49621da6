//! The directories that make up a mount, the top first.

use std::os::fd::OwnedFd;

use storage_core::{FsError, LayerId};

use super::MountError;
use crate::dir::Dir;
use crate::driver::Driver;
use crate::layout::{self, COMPOSEFS, DIFF, EMPTY, PRIVATE_MODE};
use crate::link::LinkId;
use crate::lower;

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
}

impl Stack {
    /// The layer `top` and all below it.
    ///
    /// For a read-only mount overlayfs wants two directories at least, so the
    /// lowest layer has an empty one below it.
    pub(super) fn of(driver: &Driver, top: &LayerId, read_only: bool) -> Result<Self, MountError> {
        let mut parts = Vec::new();
        for layer in std::iter::once(top.clone()).chain(driver.lowers(top)?) {
            let dir = driver.home.layer(&layer)?;
            if dir.has(COMPOSEFS)? {
                return Err(MountError::Composefs(layer));
            }
            push_layer(&mut parts, &layer, &dir)?;
        }
        if read_only && parts.len() == 1 {
            driver.home.layer(top)?.ensure(EMPTY, PRIVATE_MODE)?;
            parts.push(Part { layer: top.clone(), name: EMPTY.into(), link: None });
        }
        Ok(Self { parts })
    }
}

fn push_layer(parts: &mut Vec<Part>, layer: &LayerId, dir: &Dir) -> Result<(), FsError> {
    // A damaged link is no reason not to mount: the layer has a longer name.
    let link = lower::read_link_name(dir).ok().flatten();
    parts.push(Part { layer: layer.clone(), name: DIFF.into(), link });
    for number in 1.. {
        let name = layout::rotated_diff(number);
        if !dir.has(&name)? {
            break;
        }
        parts.push(Part { layer: layer.clone(), name, link: None });
    }
    Ok(())
}

impl Part {
    pub(super) fn locate(&self, home: &Dir) -> Result<OwnedFd, FsError> {
        home.open(self.layer.as_str())?.locate(&self.name)
    }

    /// The path from the driver's directory.
    pub(super) fn relative(&self) -> String {
        format!("{}/{}", self.layer, self.name)
    }

    /// The shortest path from the driver's directory.
    pub(super) fn shortest(&self, links: &Dir) -> Result<String, FsError> {
        let Some(link) = &self.link else { return Ok(self.relative()) };
        let leads_here = links.read_link(link.as_str())? == Some(layout::link_target(&self.layer));
        Ok(if leads_here { layout::lower_item(link) } else { self.relative() })
    }
}
