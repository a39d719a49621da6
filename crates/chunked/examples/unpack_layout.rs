//! Unpacks the zstd:chunked layers of an image in an OCI layout, each into a
//! directory of its own, and takes from earlier results what they already hold.
//!
//! ```text
//! unpack_layout LAYOUT TAG OUT [EARLIER…]
//! ```
//!
//! `OUT/0`, `OUT/1`, … get a tree in `dest`, and TOC and tar-split in `aside`.
//! Nothing of reflayer above this crate is needed.

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use chunked::{LocalLayer, TocLocation, UnpackOptions, unpack};
use serde_json::Value;
use storage_core::{Dirs, FileSource, RangeSource};
use tree::Privileges;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, tag, out, earlier @ ..] = &arguments[..] else {
        return Err("usage: unpack_layout LAYOUT TAG OUT [EARLIER…]".into());
    };
    let mut local = Vec::new();
    for earlier in earlier {
        for number in 0.. {
            let dir = Path::new(earlier).join(number.to_string());
            let (Ok(dest), Ok(aside)) =
                (File::open(dir.join("dest")), File::open(dir.join("aside")))
            else {
                break;
            };
            local.push((dest, aside));
        }
    }
    let layout = Path::new(layout);
    let (manifest, config) = image(layout, tag)?;
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    for (number, layer) in layers.iter().enumerate() {
        let out = Path::new(out).join(number.to_string());
        let diff_id = config["rootfs"]["diff_ids"][number].as_str().ok_or("no DiffID")?;
        let handles = unpack_layer(layout, layer, diff_id, &out, &local)?;
        local.push(handles);
    }
    Ok(())
}

fn unpack_layer(
    layout: &Path,
    layer: &Value,
    diff_id: &str,
    out: &Path,
    local: &[(File, File)],
) -> Outcome<(File, File)> {
    let annotations = layer["annotations"].as_object().ok_or("a layer without annotations")?;
    let annotations = annotations.iter().filter_map(|(k, v)| Some((&**k, v.as_str()?)));
    let location = TocLocation::from_annotations(annotations)?.ok_or("a layer without TOC")?;
    let source = FileSource::new(File::open(blob(layout, &layer["digest"])?)?)?;
    let open = |name: &str| -> Outcome<File> {
        std::fs::create_dir_all(out.join(name))?;
        Ok(File::open(out.join(name))?)
    };
    let (dest, aside, scratch) = (open("dest")?, open("aside")?, open("scratch")?);
    let dirs = Dirs { dest: dest.as_fd(), aside: aside.as_fd(), scratch: scratch.as_fd() };
    let root = rustix::process::geteuid().is_root();
    let privileges = if root { Privileges::Root } else { Privileges::Unprivileged };
    let mut options = UnpackOptions::new(privileges);
    options.local = local
        .iter()
        .map(|(dest, aside)| LocalLayer { dest: dest.as_fd(), aside: aside.as_fd() })
        .collect();
    let start = std::time::Instant::now();
    let proved = unpack(&source, &location, dirs, diff_id.parse()?, &options)?;
    let (report, usage) = (proved.report, source.usage());
    say(&format!(
        "{} in {:.2?}: tar {} bytes, blob {}, {report:?}, {} requests",
        out.display(),
        start.elapsed(),
        proved.diff_size,
        source.size(),
        usage.requests,
    ));
    Ok((dest, aside))
}

#[expect(clippy::print_stdout, reason = "an example talks")]
fn say(line: &str) {
    println!("{line}");
}

/// Manifest and config of the image with that tag.
fn image(layout: &Path, tag: &str) -> Outcome<(Value, Value)> {
    let read =
        |path: PathBuf| -> Outcome<Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let index = read(layout.join("index.json"))?;
    let manifests = index["manifests"].as_array().ok_or("no manifests")?;
    let name =
        |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == *tag;
    let descriptor = manifests.iter().find(name).ok_or("no such tag")?;
    let manifest = read(blob(layout, &descriptor["digest"])?)?;
    let config = read(blob(layout, &manifest["config"]["digest"])?)?;
    Ok((manifest, config))
}

fn blob(layout: &Path, digest: &Value) -> Outcome<PathBuf> {
    let digest: storage_core::BlobDigest = digest.as_str().ok_or("no digest")?.parse()?;
    Ok(layout.join("blobs/sha256").join(digest.digest().hex()))
}
