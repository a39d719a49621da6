//! The damage that a victim mends, or does not.

use std::fs;

use anyhow::{Context, Result};

use super::Scene;
use crate::repair::damage;

/// Files of the base layer, and in which way each is damaged: bytes, size, existence, kind,
/// mode, owner.
const DAMAGES: [(&str, u64); 6] = [
    ("usr/lib/big", 0),
    ("var/sparse", 1),
    ("gone", 2),
    ("etc/os-release", 3),
    ("opt/owned", 4),
    ("usr/bin/tool", 5),
];

impl Scene {
    /// Damages v2, which is whole.
    pub(super) fn damage(&self) -> Result<()> {
        let image = self.small.layout(self.form).image("v2")?;
        let base = self.store.diff(&image.layers[0].layer_id);
        for (name, way) in DAMAGES {
            damage(&base.join(name), way).with_context(|| format!("damage {name}"))?;
        }
        fs::write(base.join("var/more"), "more").context("add a file")
    }

    /// Mends it, wholly.
    pub(super) fn mend(&self) -> Result<()> {
        self.succeed(&["check", "--repair", "--from", &self.reference("v2")])
    }
}
