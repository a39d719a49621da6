//! What a layer's directory says of the layers below it.

use storage_core::{FsError, LayerId};

use crate::dir::Dir;
use crate::driver::Home;
use crate::layout::{DIFF, EMPTY, FILE_MODE, LOWER, LOWER_LAYERS, PRIVATE_MODE};
use crate::lower::Lowers;

/// What lies below a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Below {
    /// It is the lowest one; an empty directory stands in for a lower layer.
    Nothing,
    /// Its parent and what lies below that.
    Layers(Lowers),
}

impl Below {
    /// What lies below a child of `parent`, and the mode that its root inherits; `None` if
    /// the parent has no directory.
    pub(crate) fn of_parent(home: &Home, parent: &LayerId) -> Result<Option<(Self, u32)>, FsError> {
        let Some(lowers) = Lowers::above(home, parent)? else { return Ok(None) };
        let mode = home.expect(parent)?.dir.mode_of(DIFF)?;
        Ok(Some((Self::Layers(lowers), mode)))
    }

    /// The layers, nearest first.
    pub(crate) fn lowers(&self) -> Lowers {
        match self {
            Self::Nothing => Lowers::default(),
            Self::Layers(lowers) => lowers.clone(),
        }
    }

    /// Makes the layer's directory say so, whatever it said before.
    pub(crate) fn write(&self, layer: &Dir, synced: bool) -> Result<(), FsError> {
        match self {
            Self::Nothing => {
                layer.unlink(LOWER)?;
                layer.unlink(LOWER_LAYERS)?;
                layer.ensure(EMPTY, PRIVATE_MODE)?;
            }
            Self::Layers(lowers) => {
                layer.remove_dir(EMPTY)?;
                layer.write(LOWER, &lowers.lower(), FILE_MODE, synced)?;
                layer.write(LOWER_LAYERS, &lowers.lower_layers(), FILE_MODE, synced)?;
            }
        }
        Ok(())
    }
}
