//! Modes are those of the layout, whatever the umask (which belongs to a process).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use storage_core::{
    ContainerStore, ImageId, ImageRecord, ImageStore, LayerFile, LayerId, LayerRecord, LayerStore,
    MountRecord, MountStore, TempDir,
};

use crate::child;

/// Makes one of everything.
pub(crate) fn populate(root: &Path, umask: u32) {
    rustix::process::umask(Mode::from_raw_mode(umask));
    let dir = File::open(root).unwrap();
    let id: LayerId = "1".repeat(64).parse().unwrap();
    let image: ImageId = "2".repeat(64).parse().unwrap();
    std::fs::write(root.join("a"), "").unwrap();
    std::fs::write(root.join("b"), "").unwrap();

    let layers = LayerStore::open(&dir).unwrap();
    let mut layers = layers.write().unwrap();
    layers.records_mut().push(LayerRecord::new(id.clone()));
    let volatile = LayerRecord::new("3".repeat(64).parse().unwrap());
    layers.records_mut().push(LayerRecord { file: LayerFile::Volatile, ..volatile });
    layers.adopt_big_data(&id, "key", &dir, "a").unwrap();
    layers.adopt_tar_split(&id, &dir, "b").unwrap();
    layers.save().unwrap();
    std::fs::create_dir(root.join("run")).unwrap();
    let mounts = MountStore::open(File::open(root.join("run")).unwrap()).unwrap();
    let mut mounts = mounts.write(&layers).unwrap();
    mounts.records_mut().push(MountRecord::new(id.clone(), "/mnt"));
    mounts.save().unwrap();

    let images = ImageStore::open(&dir).unwrap();
    let mut images = images.write().unwrap();
    images.records_mut().push(ImageRecord::new(image.clone()));
    images.write_big_data(&image, "manifest", b"{}").unwrap();
    images.save().unwrap();
    drop(ContainerStore::open(&dir).unwrap().hold().unwrap());

    std::fs::create_dir(root.join("temp")).unwrap();
    // Left behind, as by a process that is killed.
    std::mem::forget(TempDir::create(File::open(root.join("temp")).unwrap()).unwrap());
}

fn modes(dir: &Path, prefix: &str, found: &mut BTreeMap<String, u32>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = format!("{prefix}{}", name.trim_end_matches(|c: char| c.is_ascii_digit()));
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            modes(&entry.path(), &format!("{name}/"), found);
        }
        found.insert(name, metadata.permissions().mode() & 0o7777);
    }
}

/// Compares what a process in this role makes with the layout.
pub(crate) fn check(role: &str) {
    let root = tempfile::tempdir().unwrap();
    child::join([child::start(role, root.path())]);
    let mut found = BTreeMap::new();
    modes(root.path(), "", &mut found);
    for not_ours in ["run", "temp"] {
        found.remove(not_ours);
    }
    let expected = [
        ("overlay-containers", 0o700),
        ("overlay-containers/containers.lock", 0o644),
        ("overlay-images", 0o700),
        ("overlay-images/", 0o700),
        ("overlay-images//manifest", 0o600),
        ("overlay-images/images.json", 0o600),
        ("overlay-images/images.lock", 0o644),
        ("overlay-layers", 0o700),
        ("overlay-layers/", 0o700),
        ("overlay-layers//key", 0o600),
        ("overlay-layers/layers.json", 0o600),
        ("overlay-layers/layers.lock", 0o644),
        ("overlay-layers/volatile-layers.json", 0o600),
        ("run/overlay-layers", 0o700),
        ("run/overlay-layers/mountpoints.json", 0o600),
        ("run/overlay-layers/mountpoints.lock", 0o644),
        ("temp/lock-", 0o644),
        ("temp/temp-dir-", 0o700),
    ];
    let mut expected: BTreeMap<String, u32> =
        expected.into_iter().map(|(name, mode)| (name.to_owned(), mode)).collect();
    expected.insert(format!("overlay-layers/{}.tar-split.gz", "1".repeat(64)), 0o600);
    assert_eq!(found, expected);
}
