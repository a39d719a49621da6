//! `export`

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use reflayer::{ExportedLayer, Store};

use crate::args::Export;
use crate::printable::say;
use crate::units::{bytes, short};
use crate::{exit, report};

/// Bytes that are written at once.
const BLOCK: usize = 256 * 1024;

pub(crate) fn run(store: &Store, args: &Export, json: bool) -> anyhow::Result<u8> {
    let Some(file) = &args.output else {
        ensure!(!json, "the tar goes to standard output: --json needs --output");
        let out = io::stdout().lock();
        ensure!(
            !out.is_terminal(),
            "a tar is not for a terminal: redirect it, or name a file with --output"
        );
        let out = BufWriter::with_capacity(BLOCK, out);
        store.export(&args.layer, out)?;
        return Ok(exit::SUCCESS);
    };
    let exported = to_file(store, &args.layer, file)?;
    if json {
        report::json(&exported)?;
    } else {
        let ExportedLayer { layer, diff_id, size, .. } = &exported;
        say!("layer {}: {} of tar with digest {diff_id}", short(layer.as_str()), bytes(*size));
    }
    Ok(exit::SUCCESS)
}

/// The file has its name only once it is whole and right.
fn to_file(store: &Store, layer: &str, path: &Path) -> anyhow::Result<ExportedLayer> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".reflayer-export-")
        // Less what the process's mask forbids, as for any new file.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .with_context(|| format!("create a file in {}", directory.display()))?;
    let mut out = BufWriter::with_capacity(BLOCK, file.as_file_mut());
    let exported = store.export(layer, &mut out)?;
    out.flush().and_then(|()| out.get_ref().sync_data()).with_context(|| flushing(path))?;
    drop(out);
    file.persist(path).with_context(|| format!("give the tar the name {}", path.display()))?;
    Ok(exported)
}

fn flushing(path: &Path) -> String {
    format!("flush the tar for {}", path.display())
}
