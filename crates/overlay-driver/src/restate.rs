//! The small files of a layer that is there, written again.

use std::io;

use storage_core::{Durability, FsError, LayerId, replace_file};

use crate::below::Below;
use crate::dir::Dir;
use crate::driver::Driver;
use crate::layout::{
    self, EMPTY, FILE_MODE, LINK, LOWER, LOWER_LAYERS, MERGED, PRIVATE_MODE, WORK,
};
use crate::link::LinkId;
use crate::lower;

impl Driver {
    /// Whether a layer has a short link that leads to it.
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or that cannot be told.
    pub fn has_link(&self, id: &LayerId) -> Result<bool, FsError> {
        let dir = self.home.expect(id)?.dir;
        let link = match lower::read_link_name(&dir) {
            // A damaged name is no name.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            read => read?,
        };
        let Some(link) = link else { return Ok(false) };
        Ok(self.home.layer_of_link(&link)?.as_ref() == Some(id))
    }

    /// Whether the two files that tell which layers are below a layer say the same, where
    /// it has both.
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or a file cannot be read or is damaged.
    pub fn lowers_agree(&self, id: &LayerId) -> Result<bool, FsError> {
        lower::agree(&self.home.expect(id)?.dir, &self.home)
    }

    /// Writes again what a layer's directory says beside its tree: its short link, and
    /// the layers below it, which are `parent` and what that says of itself.
    ///
    /// Call it under the store's layers lock; a layer comes after its parent. Each
    /// file is replaced as a whole and durably.
    ///
    /// # Errors
    ///
    /// If the layer or its parent has no directory, the parent's files are damaged,
    /// or a file cannot be written.
    pub fn restate(&self, id: &LayerId, parent: Option<&LayerId>) -> Result<(), FsError> {
        let dir = self.home.layer(id)?;
        // What cannot be read is replaced.
        if !self.has_link(id).unwrap_or(false) {
            self.restate_link(id, &dir)?;
        }
        let below = match parent {
            None => Below::Nothing,
            Some(parent) => {
                Below::of_parent(&self.home, parent)?
                    .ok_or_else(|| FsError::new("find the parent", parent.as_str(), missing()))?
                    .0
            }
        };
        match below {
            Below::Nothing => {
                dir.unlink(LOWER)?;
                dir.unlink(LOWER_LAYERS)?;
                dir.ensure(EMPTY, PRIVATE_MODE)?;
            }
            Below::Layers(lowers) => {
                dir.remove_dir(EMPTY)?;
                replace(&dir, LOWER, &lowers.lower())?;
                replace(&dir, LOWER_LAYERS, &lowers.lower_layers())?;
            }
        }
        dir.ensure(WORK, PRIVATE_MODE)?;
        dir.ensure(MERGED, PRIVATE_MODE)?;
        dir.sync()
    }

    /// The link that the layer names, if it leads to no other; else the one that leads there
    /// already, or a new one.
    fn restate_link(&self, id: &LayerId, dir: &Dir) -> Result<(), FsError> {
        let links = &self.home.links;
        if let Ok(Some(link)) = lower::read_link_name(dir)
            && !self.is_of_another(&link, id)?
        {
            links.unlink(link.as_str())?;
            links.symlink(&layout::link_target(id), link.as_str())?;
            return links.sync();
        }
        for name in links.names()? {
            if let Ok(link) = name.parse::<LinkId>()
                && links.read_link(&name)? == Some(layout::link_target(id))
            {
                return replace(dir, LINK, link.as_str());
            }
        }
        let link = LinkId::random()?;
        links.symlink(&layout::link_target(id), link.as_str())?;
        replace(dir, LINK, link.as_str())?;
        links.sync()
    }

    /// Whether another layer goes by that link.
    fn is_of_another(&self, link: &LinkId, id: &LayerId) -> Result<bool, FsError> {
        let target = self.home.links.read_link(link.as_str())?;
        let Some(other) = target.as_deref().and_then(layout::layer_of_link_target) else {
            return Ok(false);
        };
        Ok(other != *id && self.home.dir.has(other.as_str())?)
    }
}

fn replace(dir: &Dir, name: &str, content: &str) -> Result<(), FsError> {
    let replaced = replace_file(dir, name, content.as_bytes(), FILE_MODE, Durability::Durable);
    replaced.map_err(|error| dir.below(error))
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}
