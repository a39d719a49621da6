//! Images that are written as blobs at once, without their files: made once, and kept.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use chunked::write::{WriteOptions, WrittenBlob, write_blob};
use serde_json::{Value, json};
use testkit::layout::Layout;
use testkit::tar::TarWriter;
use testkit::versions::Content;

use crate::say::step;

/// Where they are kept.
const PLACE: &str = "/var/cache/reflayer-bench";
/// Counted up when images made before would no longer do.
const RECIPE: u32 = 1;

/// What layers are written to.
pub(crate) type Tar = TarWriter<BufWriter<PipeWriter>>;

/// Images of a layout that is not there yet.
pub(crate) struct Making {
    layout: Layout,
}

/// A layout with tags v1 and v2 of some content.
pub(crate) fn versions(content: Content) -> Result<Layout> {
    let name = match content {
        Content::Insertions(bytes) => format!("insertions-{bytes}"),
        Content::Changes(bytes) => format!("changes-{bytes}"),
        Content::Tiny { files, every } => format!("tiny-{files}-{every}"),
        Content::Repeated => "repeated".into(),
    };
    layout(&name, |making| {
        for (tag, updated) in [("v1", false), ("v2", true)] {
            let layers = content.layers(updated);
            making.image(tag, layers, |layer, tar| content.write(updated, layer, tar))?;
        }
        Ok(())
    })
}

/// The layout `name`, made by `make` where that was not done yet.
pub(crate) fn layout(name: &str, make: impl FnOnce(&Making) -> Result<()>) -> Result<Layout> {
    let place = PathBuf::from(PLACE).join(format!("{name}.{RECIPE}"));
    if place.exists() {
        return Ok(Layout::open(&place));
    }
    step(&format!("make {}", place.display()), || {
        let new = place.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).context("remove what was half made")?;
        }
        make(&Making { layout: Layout::create(&new)? })?;
        fs::rename(&new, &place).context("put a layout in its place")
    })?;
    Ok(Layout::open(&place))
}

impl Making {
    /// Adds an image of `layers` layers, each filled by `fill`.
    pub(crate) fn image(
        &self,
        tag: &str,
        layers: u64,
        fill: impl Fn(u64, &mut Tar) -> std::io::Result<()> + Sync,
    ) -> Result<()> {
        let mut written = Vec::new();
        for layer in 0..layers {
            written.push(self.blob(|tar| fill(layer, tar))?);
        }
        let diff_ids: Vec<String> = written.iter().map(|blob| blob.diff_id.to_string()).collect();
        let config = json!({
            "architecture": oci_architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let (config, size) = self.layout.add_blob(&serde_json::to_vec(&config)?)?;
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{config}"), "size": size,
        });
        let layers: Vec<Value> = written.iter().map(descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers,
        });
        self.layout.tag(tag, &manifest)
    }

    /// The tar goes through a pipe: it is nowhere as a whole.
    fn blob(
        &self,
        fill: impl FnOnce(&mut Tar) -> std::io::Result<()> + Send,
    ) -> Result<WrittenBlob> {
        let unnamed = self.layout.dir().join("blob");
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        let written = thread::scope(|scope| -> Result<WrittenBlob> {
            let tar = scope.spawn(move || {
                let mut tar = TarWriter::new(BufWriter::new(writer));
                fill(&mut tar)?;
                tar.finish().map(drop)
            });
            let mut out = BufWriter::new(create(&unnamed)?);
            let written = write_blob(BufReader::new(reader), &mut out, &WriteOptions::default());
            // A pipe that nobody reads any more is the effect of an error, not its cause.
            let filled = tar.join().expect("writing a tar does not panic");
            let written = written.context("write a blob")?;
            filled.context("write a tar")?;
            out.flush().context("write a blob")?;
            Ok(written)
        })?;
        let name = written.digest.to_string();
        let name = name.strip_prefix("sha256:").context("a digest of another kind")?;
        fs::rename(&unnamed, self.layout.blob(name)).context("name a blob")?;
        Ok(written)
    }
}

fn create(file: &Path) -> Result<File> {
    File::create(file).with_context(|| format!("create {}", file.display()))
}

fn descriptor(blob: &WrittenBlob) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
        "digest": blob.digest.to_string(), "size": blob.size, "annotations": blob.annotations,
    })
}

fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
