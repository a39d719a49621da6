//! OCI layouts: directories of blobs, written and read without ceremony.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::digest::{sha256, sha256_of_file};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const TAG: &str = "org.opencontainers.image.ref.name";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// An OCI layout.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

/// One image of a layout.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the manifest, as 64 hex digits.
    pub manifest: String,
    /// Digest of the config, as 64 hex digits: the image's id in a store.
    pub config: String,
    /// Base first.
    pub layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Digest of the blob, as 64 hex digits.
    pub digest: String,
    /// Length of the blob.
    pub size: u64,
    /// Digest of the tar stream, as 64 hex digits.
    pub diff_id: String,
    /// The id that the layer gets in a store of containers/storage.
    pub layer_id: String,
    /// Its media type.
    pub media_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Layout {
    /// Makes an empty layout at `dir`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        let layout = Self { dir: dir.to_owned() };
        fs::create_dir_all(dir.join("blobs/sha256")).context("make a layout")?;
        write_json(&dir.join("oci-layout"), &json!({"imageLayoutVersion": "1.0.0"}))?;
        let empty = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
        write_json(&layout.index_file(), &empty)?;
        Ok(layout)
    }

    /// Takes the layout at `dir`.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a blob, whether or not it exists.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest)
    }

    /// Adds an image of uncompressed layers, base first, and tags it.
    ///
    /// The tars become blobs by hard links, or by copies across filesystems.
    ///
    /// # Errors
    ///
    /// If the layout cannot be read or written.
    pub fn add_image(&self, tag: &str, tars: &[PathBuf]) -> Result<Image> {
        let mut diff_ids = Vec::new();
        let mut layers = Vec::new();
        for tar in tars {
            let digest = sha256_of_file(tar)?;
            let blob = self.blob(&digest);
            if !blob.exists() && fs::hard_link(tar, &blob).is_err() {
                fs::copy(tar, &blob).with_context(|| format!("copy {}", tar.display()))?;
            }
            let size = blob.metadata().context("stat a blob")?.len();
            diff_ids.push(format!("sha256:{digest}"));
            layers.push(descriptor(TAR, &digest, size));
        }
        let history: Vec<Value> =
            tars.iter().map(|_| json!({"created": CREATED, "created_by": "testkit"})).collect();
        let config = json!({
            "created": CREATED, "architecture": architecture(), "os": "linux",
            "config": {
                "Cmd": ["/bin/sh"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        let (config, size) = self.add_blob(&serde_json::to_vec(&config)?)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config, size), "layers": layers,
        });
        self.tag(tag, &manifest)?;
        self.image(tag)
    }

    /// Writes a manifest and points a tag at it, in place of what it pointed at.
    ///
    /// # Errors
    ///
    /// If the layout cannot be read or written.
    pub fn tag(&self, tag: &str, manifest: &Value) -> Result<()> {
        let (digest, size) = self.add_blob(&serde_json::to_vec(manifest)?)?;
        let mut entry = descriptor(MANIFEST, &digest, size);
        entry["annotations"] = json!({TAG: tag});
        let mut index = read_json(&self.index_file())?;
        let list = index["manifests"].as_array_mut().context("an index without manifests")?;
        list.retain(|known| known["annotations"][TAG] != tag);
        list.push(entry);
        write_json(&self.index_file(), &index)
    }

    /// Adds a blob; gives its digest and length.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add_blob(&self, bytes: &[u8]) -> Result<(String, u64)> {
        let digest = sha256(bytes);
        fs::write(self.blob(&digest), bytes).with_context(|| format!("write blob {digest}"))?;
        Ok((digest, bytes.len() as u64))
    }

    /// The manifest that a tag points at.
    ///
    /// # Errors
    ///
    /// If there is no such tag, or the layout cannot be read.
    pub fn manifest(&self, tag: &str) -> Result<(String, Value)> {
        let index = read_json(&self.index_file())?;
        let list = index["manifests"].as_array().context("an index without manifests")?;
        let entry = list.iter().find(|entry| entry["annotations"][TAG] == tag);
        let entry = entry.with_context(|| format!("no tag {tag} in {}", self.dir.display()))?;
        let digest = hex_of(&entry["digest"])?;
        let manifest = read_json(&self.blob(&digest))?;
        Ok((digest, manifest))
    }

    /// What a tag points at, with the layers' `DiffID`s.
    ///
    /// # Errors
    ///
    /// If there is no such tag, or the layout cannot be read.
    pub fn image(&self, tag: &str) -> Result<Image> {
        let (digest, manifest) = self.manifest(tag)?;
        let config = hex_of(&manifest["config"]["digest"])?;
        let diff_ids = read_json(&self.blob(&config))?["rootfs"]["diff_ids"].take();
        let mut layers = Vec::<Layer>::new();
        for (index, layer) in manifest["layers"].as_array().into_iter().flatten().enumerate() {
            let diff_id = hex_of(&diff_ids[index])?;
            let layer_id = match layers.last() {
                None => diff_id.clone(),
                Some(below) => chain(&below.layer_id, &diff_id),
            };
            layers.push(Layer {
                digest: hex_of(&layer["digest"])?,
                size: layer["size"].as_u64().context("a layer without a size")?,
                diff_id,
                layer_id,
                media_type: layer["mediaType"].as_str().unwrap_or_default().into(),
                annotations: serde_json::from_value(layer["annotations"].clone())
                    .unwrap_or_default(),
            });
        }
        Ok(Image { manifest: digest, config, layers })
    }

    fn index_file(&self) -> PathBuf {
        self.dir.join("index.json")
    }
}

/// The id of a layer on top of another.
fn chain(below: &str, diff_id: &str) -> String {
    sha256(format!("{below}+{diff_id}").as_bytes())
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex_of(digest: &Value) -> Result<String> {
    let text = digest.as_str().and_then(|text| text.strip_prefix("sha256:"));
    Ok(text.with_context(|| format!("not a digest: {digest}"))?.into())
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, serde_json::to_vec(value)?).with_context(|| format!("write {}", path.display()))
}
