//! `build-image`

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use reflayer::{BuildOptions, BuiltImage};
use storage_core::LayerPath;
use transport::{LayoutWriter, Reference};

use crate::args::BuildImage;
use crate::printable::say;
use crate::units::{bytes, short};
use crate::{exit, report};

pub(crate) fn run(args: &BuildImage, json: bool) -> anyhow::Result<u8> {
    let Reference::OciLayout { dir, tag } = args.reference.parse()? else {
        bail!("{} is no layout: an image can be built as oci:DIR:TAG", args.reference);
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let place = File::open(&dir).with_context(|| format!("open {}", dir.display()))?;
    let layout = LayoutWriter::create(&place)?;
    let directory = File::open(&args.directory)
        .with_context(|| format!("open {}", args.directory.display()))?;
    let mut options = BuildOptions::default();
    options.tag = tag;
    options.owner = args.owner.as_deref().map(owner).transpose()?;
    options.exclude = args.exclude.iter().map(|path| below(path)).collect::<Result<_, _>>()?;
    options.skip_unreadable = args.skip_unreadable;
    let built: BuiltImage = reflayer::build_image(&directory, &layout, &options)?;
    if json {
        report::json(&summary(&built))?;
    } else {
        say!(
            "image {}: {} of tar became a layer of {}, {} entries, {} left out",
            short(&built.config.digest.digest().hex()),
            bytes(built.layer.diff_size),
            bytes(built.layer.size),
            built.contents.entries,
            built.contents.skipped + built.contents.sockets,
        );
    }
    Ok(exit::SUCCESS)
}

fn owner(text: &str) -> anyhow::Result<(u32, u32)> {
    let parsed = text.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
    parsed.with_context(|| format!("{text:?} is not UID:GID"))
}

/// A path below the directory that becomes the image.
fn below(path: &Path) -> anyhow::Result<LayerPath> {
    let name = path.as_os_str().as_bytes();
    LayerPath::parse(name).with_context(|| format!("leave out {}", path.display()))
}

fn summary(built: &BuiltImage) -> serde_json::Value {
    serde_json::json!({
        "image_id": built.config.digest.digest().hex(),
        "digest": built.manifest.digest.to_string(),
        "layer": {
            "digest": built.layer.digest.to_string(),
            "diff_id": built.layer.diff_id.to_string(),
            "blob": built.layer.size,
            "uncompressed": built.layer.diff_size,
        },
        "entries": built.contents.entries,
        "skipped": built.contents.skipped,
        "sockets": built.contents.sockets,
    })
}
