//! Layouts written and read, with GNU tar for archives.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use storage_core::{BlobDigest, Digest, RangeReader, RangeSource};
use tempfile::TempDir;

use super::*;
use crate::{ImageSource, Options, Platform, ResolvedImage, TransportError, media_type};

const TAR: &[u8] = b"stands for a tar";

/// A manifest of one layer of `kind`, and what it needs.
fn put_image(layout: &LayoutWriter, kind: &str) -> ManifestDescriptor {
    let layer = layout.put_bytes(TAR).unwrap();
    let diff_id = Digest::of(TAR);
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let config = layout.put_bytes(config.as_bytes()).unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"{kind}","digest":"{}","size":{}}}]}}"#,
        media_type::OCI_CONFIG,
        config.digest,
        config.size,
        layer.digest,
        layer.size,
    );
    let blob = layout.put_bytes(manifest.as_bytes()).unwrap();
    ManifestDescriptor::new(media_type::OCI_MANIFEST, blob)
}

fn layout() -> (TempDir, LayoutWriter) {
    let dir = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::create(File::open(dir.path()).unwrap()).unwrap();
    (dir, writer)
}

fn open(reference: &str) -> Result<Box<dyn ImageSource>, TransportError> {
    crate::open(&reference.parse().unwrap(), &Options::default())
}

fn resolve(dir: &Path, tag: &str) -> Result<ResolvedImage, String> {
    open(&format!("oci:{}{tag}", dir.display()))
        .and_then(|image| image.resolve(&Platform::new("linux", "amd64")))
        .map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        })
}

fn read_all(source: &Arc<dyn RangeSource>) -> Vec<u8> {
    let mut content = Vec::new();
    RangeReader::new(&**source, 0..source.size()).read_to_end(&mut content).unwrap();
    content
}

#[test]
fn what_was_written_is_read() {
    let (dir, writer) = layout();
    writer
        .set_manifest(Some("docker.io/library/app:v1"), &put_image(&writer, media_type::OCI_LAYER))
        .unwrap();
    let resolved = resolve(dir.path(), "").unwrap();
    assert_eq!(resolved, resolve(dir.path(), ":docker.io/library/app:v1").unwrap());
    assert_eq!(resolved.ref_annotation.as_deref(), Some("docker.io/library/app:v1"));
    assert_eq!(resolved.index, None);
    let layer = &resolved.layers[0];
    let image = open(&format!("oci:{}", dir.path().display())).unwrap();
    let blob = image.blob(&layer.digest, layer.size).unwrap();
    assert_eq!(read_all(&blob), TAR);
    assert_eq!(blob.usage().bytes, TAR.len() as u64);
    assert!(image.blob(&layer.digest, layer.size + 1).is_err());
    assert!(image.blob(&Digest::of(b"missing").into(), 7).is_err());
}

#[test]
fn a_layout_is_what_the_specification_says() {
    let (dir, writer) = layout();
    let mut manifest = put_image(&writer, media_type::OCI_LAYER);
    manifest.platform =
        Some(Platform { variant: Some("v8".into()), ..Platform::new("linux", "arm64") });
    manifest.annotations.insert("a".into(), "b".into());
    writer.set_manifest(Some("v1"), &manifest).unwrap();
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(dir.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("oci-layout"), serde_json::json!({"imageLayoutVersion": "1.0.0"}));
    assert_eq!(
        json("index.json"),
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest.blob.digest.to_string(),
                "size": manifest.blob.size,
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
                "annotations": {"a": "b", "org.opencontainers.image.ref.name": "v1"},
            }],
        })
    );
    // Each blob is what sha256sum says it is.
    let blobs: Vec<_> = fs::read_dir(dir.path().join("blobs/sha256")).unwrap().collect();
    assert_eq!(blobs.len(), 3);
    for blob in blobs {
        let blob = blob.unwrap();
        let sum = Command::new("sha256sum").arg(blob.path()).output().unwrap().stdout;
        assert!(sum.starts_with(blob.file_name().as_encoded_bytes()));
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing but the layout: {names:?}");
}

#[test]
fn a_tag_means_one_manifest_and_others_stay() {
    let (dir, writer) = layout();
    let first = put_image(&writer, media_type::OCI_LAYER);
    let second = put_image(&writer, media_type::OCI_LAYER_GZIP);
    writer.set_manifest(Some("v1"), &first).unwrap();
    writer.set_manifest(Some("v2"), &first).unwrap();
    writer.set_manifest(None, &first).unwrap();
    writer.set_manifest(None, &first).unwrap();
    // Another tool's fields survive.
    let path = dir.path().join("index.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("\"schemaVersion\"", "\"x\":1,\"schemaVersion\"");
    fs::write(&path, text).unwrap();
    let again = LayoutWriter::create(File::open(dir.path()).unwrap()).unwrap();
    again.set_manifest(Some("v1"), &second).unwrap();

    assert_eq!(resolve(dir.path(), ":v1").unwrap().manifest.digest, second.blob.digest);
    assert_eq!(resolve(dir.path(), ":v2").unwrap().manifest.digest, first.blob.digest);
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&index["x"], index["manifests"].as_array().unwrap().len()), (&1.into(), 3));
    let error = resolve(dir.path(), "").unwrap_err();
    assert!(error.contains("3 images, so a tag must say which; tags: v2, v1"), "{error}");
    let error = resolve(dir.path(), ":v3").unwrap_err();
    assert!(error.contains("no image is tagged \"v3\"; tags: v2, v1"), "{error}");
}

#[test]
fn writers_side_by_side_lose_no_tag() {
    let (dir, writer) = layout();
    let manifest = put_image(&writer, media_type::OCI_LAYER);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (dir, manifest) = (&dir, &manifest);
            scope.spawn(move || {
                let writer = LayoutWriter::create(File::open(dir.path()).unwrap()).unwrap();
                for i in 0..5 {
                    writer.set_manifest(Some(&format!("t{thread}.{i}")), manifest).unwrap();
                }
            });
        }
    });
    for thread in 0..4 {
        for i in 0..5 {
            resolve(dir.path(), &format!(":t{thread}.{i}")).unwrap();
        }
    }
}

/// A source that fails.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("broken"))
    }
}

#[test]
fn an_unfinished_blob_leaves_nothing() {
    let (dir, writer) = layout();
    let mut blob = writer.blob_writer().unwrap();
    std::io::Write::write_all(&mut blob, b"half").unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    drop(blob);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    assert_eq!(fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count(), 0);
    let content = Cursor::new(b"start").chain(Broken);
    assert!(matches!(writer.put_blob(content), Err(LayoutError::Content(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let stored = writer.put_bytes(b"whole").unwrap();
    assert_eq!(writer.blob_size(&stored.digest).unwrap(), Some(5));
    assert_eq!(writer.blob_size(&Digest::of(b"no").into()).unwrap(), None);
}

#[test]
fn every_byte_of_a_document_is_checked() {
    let (dir, writer) = layout();
    let manifest = put_image(&writer, media_type::OCI_LAYER);
    writer.set_manifest(Some("v1"), &manifest).unwrap();
    let config = resolve(dir.path(), "").unwrap().config.digest;
    let spoil = |digest: &BlobDigest, change: fn(&mut Vec<u8>)| {
        let path = dir.path().join(blob_path(digest));
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&path, bad).unwrap();
        let error = resolve(dir.path(), "").expect_err("a changed document");
        assert!(error.contains(&digest.to_string()), "{error}");
        fs::write(&path, good).unwrap();
    };
    for digest in [manifest.blob.digest, config] {
        spoil(&digest, |bytes| bytes[5] ^= 1);
        spoil(&digest, |bytes| bytes.truncate(bytes.len() - 1));
        spoil(&digest, |bytes| bytes.push(b' '));
    }
    resolve(dir.path(), "").unwrap();
}

#[test]
fn layers_that_are_no_tars_are_refused_by_name() {
    for (kind, expected) in [
        ("application/vnd.containers.zstd-chunked-sentinel", "not a tar"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
        ("application/vnd.oci.image.layer.v1.tar+brotli", "unknown media type"),
    ] {
        let (dir, writer) = layout();
        writer.set_manifest(None, &put_image(&writer, kind)).unwrap();
        let error = resolve(dir.path(), "").unwrap_err();
        assert!(error.contains(expected) && error.contains(kind), "{error}");
    }
}

#[test]
fn a_layer_without_its_diff_id_is_refused() {
    let (dir, writer) = layout();
    let config = writer.put_bytes(br#"{"rootfs":{"diff_ids":null}}"#).unwrap();
    let manifest = |layers: &str| {
        let text = format!(
            r#"{{"config":{{"digest":"{}","size":{}}},"layers":{layers}}}"#,
            config.digest, config.size
        );
        ManifestDescriptor::new(
            media_type::DOCKER_MANIFEST,
            writer.put_bytes(text.as_bytes()).unwrap(),
        )
    };
    let layer = format!(
        r#"[{{"mediaType":"{}","digest":"{}","size":0}}]"#,
        media_type::OCI_LAYER,
        config.digest
    );
    writer.set_manifest(Some("v1"), &manifest(&layer)).unwrap();
    writer.set_manifest(Some("v2"), &manifest("null")).unwrap();
    let error = resolve(dir.path(), ":v1").unwrap_err();
    assert!(error.contains("1 layers, but the config has 0 DiffIDs"), "{error}");
    assert!(resolve(dir.path(), ":v2").unwrap().layers.is_empty());
}

#[test]
fn what_is_no_layout_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = resolve(dir.path(), "").unwrap_err();
    assert!(error.contains("open oci-layout: No such file"), "{error}");
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(resolve(dir.path(), "").unwrap_err().contains("version \"2.0.0\""));
    assert!(LayoutWriter::create(File::open(dir.path()).unwrap()).is_err());
    fs::write(dir.path().join("oci-layout"), "{").unwrap();
    assert!(resolve(dir.path(), "").unwrap_err().contains("oci-layout is not valid"));
    fs::remove_file(dir.path().join("oci-layout")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("oci-layout"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(resolve(dir.path(), "").unwrap_err().contains("not a regular file"));
    let missing = open(&format!("oci:{}/missing", dir.path().display())).unwrap_err();
    assert!(missing.is_not_found());
}

#[test]
fn a_nested_index_leads_to_the_platform() {
    let (dir, writer) = layout();
    let image = put_image(&writer, media_type::OCI_LAYER);
    let index = format!(
        r#"{{"manifests":[{{"mediaType":"{}","digest":"{}","size":{},
            "platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        image.media_type, image.blob.digest, image.blob.size
    );
    let index =
        ManifestDescriptor::new(media_type::OCI_INDEX, writer.put_bytes(index.as_bytes()).unwrap());
    writer.set_manifest(Some("v1"), &index).unwrap();
    let resolved = resolve(dir.path(), ":v1").unwrap();
    assert_eq!(resolved.manifest.digest, image.blob.digest);
    assert_eq!(resolved.index.unwrap().digest, index.blob.digest);
}

#[test]
fn an_archive_by_gnu_tar_is_read_in_place() {
    let (dir, writer) = layout();
    writer.set_manifest(Some("v1"), &put_image(&writer, media_type::OCI_LAYER)).unwrap();
    let out = tempfile::tempdir().unwrap();
    for format in ["ustar", "gnu", "posix"] {
        let archive = out.path().join(format);
        let tar = Command::new("tar")
            .args(["--format", format, "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(dir.path())
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        let image = open(&format!("oci-archive:{}:v1", archive.display())).unwrap();
        let resolved = image.resolve(&Platform::of_machine()).unwrap();
        assert_eq!(resolved, resolve(dir.path(), ":v1").unwrap());
        let layer = &resolved.layers[0];
        assert_eq!(read_all(&image.blob(&layer.digest, layer.size).unwrap()), TAR);
        assert!(image.blob(&layer.digest, 1).is_err());
    }
}
