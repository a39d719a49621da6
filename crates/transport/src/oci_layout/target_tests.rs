//! Images written into layouts and archives, and read back.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use storage_core::{Digest, RangeReader};

use crate::{
    Found, ImageTarget, LayoutError, Options, Platform, StoredBlob, TransportError, media_type,
    open, open_target,
};

fn blob(content: &[u8]) -> (StoredBlob, File) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    (StoredBlob { digest: Digest::of(content).into(), size: content.len() as u64 }, file)
}

fn target(reference: &str) -> Box<dyn ImageTarget> {
    open_target(&reference.parse().unwrap(), None, &Options::default()).unwrap()
}

fn put(target: &dyn ImageTarget, blob: &StoredBlob, file: &File) -> Result<(), TransportError> {
    let told: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
    target.put_blob(blob, file, &told)
}

/// Writes an image of one layer; its manifest.
fn write(reference: &str, layer: &[u8]) -> (StoredBlob, String) {
    let target = target(reference);
    let diff_id = Digest::of(layer);
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let (config, config_file) = blob(config.as_bytes());
    let (layer, layer_file) = blob(layer);
    for (blob, file) in [(&config, &config_file), (&layer, &layer_file), (&layer, &layer_file)] {
        let found = target.find_blob(blob).unwrap();
        if found == Found::Absent {
            put(&*target, blob, file).unwrap();
        }
        assert_eq!(target.find_blob(blob).unwrap(), Found::Present);
    }
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
        media_type::OCI_CONFIG,
        config.digest,
        config.size,
        media_type::OCI_LAYER,
        layer.digest,
        layer.size,
    );
    (target.finish(manifest.as_bytes(), media_type::OCI_MANIFEST).unwrap(), manifest)
}

fn read(reference: &str) -> (String, Vec<u8>) {
    let image = open(&reference.parse().unwrap(), &Options::default()).unwrap();
    let resolved = image.resolve(&Platform::of_machine()).unwrap();
    let layer = &resolved.layers[0];
    let source = image.blob(&layer.digest, layer.size).unwrap();
    let mut content = Vec::new();
    RangeReader::new(&*source, 0..layer.size).read_to_end(&mut content).unwrap();
    (String::from_utf8(resolved.manifest.bytes).unwrap(), content)
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for (transport, name) in [("oci", "layout"), ("oci-archive", "file.oci.tar")] {
        let place = dir.path().join(name);
        for layer in [b"one".to_vec(), vec![7; 700_000], Vec::new()] {
            let reference = format!("{transport}:{}:v1", place.display());
            let (stored, manifest) = write(&reference, &layer);
            assert_eq!(stored.digest, Digest::of(manifest.as_bytes()).into());
            assert_eq!(read(&reference), (manifest, layer));
        }
    }
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2, "nothing is left beside them");
}

#[test]
fn gnu_tar_makes_a_layout_of_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, layout) = (dir.path().join("a.tar"), dir.path().join("layout"));
    let (_, manifest) = write(&format!("oci-archive:{}:v1", archive.display()), b"layer");
    fs::create_dir(&layout).unwrap();
    let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout).status();
    assert!(status.unwrap().success());
    assert_eq!(read(&format!("oci:{}:v1", layout.display())), (manifest, b"layer".to_vec()));
}

#[test]
fn an_archive_that_is_not_finished_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let reference = format!("oci-archive:{}:v1", dir.path().join("a.tar").display());
    write(&reference, b"old");
    let unfinished = target(&reference);
    let (layer, file) = blob(b"new");
    put(&*unfinished, &layer, &file).unwrap();
    drop(unfinished);
    assert_eq!(read(&reference).1, b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_blob_is_what_its_digest_says_or_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    for reference in ["oci:layout", "oci-archive:a.tar"] {
        let (transport, name) = reference.split_once(':').unwrap();
        let target = target(&format!("{transport}:{}:v1", dir.path().join(name).display()));
        let (mut wrong, file) = blob(b"content");
        wrong.digest = Digest::of(b"other").into();
        let error = put(&*target, &wrong, &file).unwrap_err();
        let TransportError::Layout { source, .. } = error else { panic!("{error}") };
        assert!(matches!(*source, LayoutError::Blob { .. }), "{source}");
        assert_eq!(target.find_blob(&wrong).unwrap(), Found::Absent);
    }
}

#[test]
fn there_are_places_that_nothing_is_written_to() {
    let opened =
        |text: &str| open_target(&text.parse().unwrap(), None, &Options::default()).unwrap_err();
    assert!(matches!(opened("containers-storage:app"), TransportError::NotATarget(_)));
    let missing = Path::new("/nonexistent/below/dir");
    assert!(matches!(opened(&format!("oci:{}", missing.display())), TransportError::Layout { .. }));
}
