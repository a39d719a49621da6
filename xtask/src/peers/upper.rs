//! Overlay's upper directories, turned into layers.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Spells what the upper directory `top` deletes as layers do: `.wh.NAME` and `.wh..wh..opq`.
pub(super) fn spell_as_layer(top: &Path) -> Result<()> {
    let mut todo = vec![top.to_owned()];
    while let Some(directory) = todo.pop() {
        let list = || directory.read_dir()?.collect::<std::io::Result<Vec<_>>>();
        for entry in list().with_context(|| format!("list {}", directory.display()))? {
            let meta = entry.metadata().context("stat a file of a layer")?;
            if meta.is_dir() {
                todo.push(entry.path());
            } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
                let name = entry.file_name();
                fs::remove_file(entry.path()).context("remove a whiteout")?;
                mark(&directory, &format!(".wh.{}", name.to_string_lossy()))?;
            }
        }
        if is_opaque(&directory)? {
            mark(&directory, ".wh..wh..opq")?;
        }
    }
    Ok(())
}

fn mark(directory: &Path, name: &str) -> Result<()> {
    File::create_new(directory.join(name)).map(drop).with_context(|| format!("make {name}"))
}

fn is_opaque(directory: &Path) -> Result<bool> {
    testkit::xattr::get(directory, "trusted.overlay.opaque").map(|value| value == Some(b"y".into()))
}
