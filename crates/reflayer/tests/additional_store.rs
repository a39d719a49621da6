//! Layers of a store that may only be read serve pulls into another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sched::{CloneFlags, unshare};
use reflayer::{
    BuildOptions, CheckLevel, LayerWay, MountOptions, Progress, PullOptions, PullReport,
    RemoveError, Store, StoreOptions,
};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use transport::{ImageSource as _, LayerDescriptor, LayoutWriter, ManifestDescriptor};
use transport::{OciLayout, Platform, media_type};

const COMMON: usize = 200_000;

/// Two images with one file in common, and places for stores.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("layout")).unwrap();
        let layout = LayoutWriter::create(File::open(world.path("layout")).unwrap()).unwrap();
        for tag in ["v1", "v2"] {
            let tree = world.path(tag);
            fs::create_dir(&tree).unwrap();
            let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
            fs::write(tree.join("common"), (0..COMMON).map(noise).collect::<Vec<_>>()).unwrap();
            fs::write(tree.join("own"), tag).unwrap();
            let mut options = BuildOptions::default();
            options.tag = Some(tag.into());
            reflayer::build_image(File::open(tree).unwrap(), &layout, &options).unwrap();
        }
        world.stack(&layout);
        world
    }

    /// An image `both`, whose layers are that of `v1` and on it that of `v2`.
    fn stack(&self, layout: &LayoutWriter) {
        let layers = ["v1", "v2"].map(|tag| self.layer(tag));
        let diff_ids = layers.each_ref().map(|layer| format!("\"{}\"", layer.diff_id)).join(",");
        let config =
            format!(r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#);
        let config = layout.put_bytes(config.as_bytes()).unwrap();
        let described = layers.each_ref().map(|layer| {
            let annotations = serde_json::to_string(&layer.annotations).unwrap();
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{},"annotations":{annotations}}}"#,
                media_type::OCI_LAYER_ZSTD,
                layer.digest,
                layer.size,
            )
        });
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}",
                "config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{}]}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG,
            config.digest,
            config.size,
            described.join(","),
        );
        let stored = layout.put_bytes(manifest.as_bytes()).unwrap();
        let manifest = ManifestDescriptor::new(media_type::OCI_MANIFEST, stored);
        layout.set_manifest(Some("both"), &manifest).unwrap();
    }

    fn layer(&self, tag: &str) -> LayerDescriptor {
        let layout = File::open(self.path("layout")).unwrap();
        let source = OciLayout::open(layout, Some(tag)).unwrap();
        source.resolve(&Platform::of_machine()).unwrap().layers.remove(0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self, name: &str, additional: &[PathBuf]) -> Store {
        let mut options = StoreOptions::default();
        options.additional = additional.to_vec();
        let run = self.path(&format!("{name}-run"));
        Store::open_with(&self.path(name), &run, &options).unwrap()
    }

    fn pull(&self, store: &Store, tag: &str) -> PullReport {
        let layout = File::open(self.path("layout")).unwrap();
        let source = OciLayout::open(layout, Some(tag)).unwrap();
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let mut options = PullOptions::default();
        options.name = Some(format!("localhost/app:{tag}"));
        let reference = format!("oci:layout:{tag}").parse().unwrap();
        store.pull(&source, &reference, &options, &quiet).unwrap()
    }
}

/// Every name below a directory, with what changes when somebody writes there.
fn state(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (stat.ino(), stat.ctime(), stat.ctime_nsec()));
    }
    found
}

/// Makes `dir` read-only for this thread and those that it starts, if it may.
///
/// Others cannot; for them the store is one that could be written, and is not.
fn make_read_only(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    mount_bind(dir, dir).unwrap();
    mount_remount(dir, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    assert!(fs::write(dir.join("file"), "").is_err(), "the store is read-only");
}

/// Runs on a thread of its own, since that gets mounts of its own.
fn pulls_from_a_read_only_store(prepare: impl Fn(&Path) + Send) {
    let world = World::new();
    world.pull(&world.store("old", &[]), "v1");
    let old = world.path("old");
    prepare(&old);
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            make_read_only(&old);
            let before = state(&old);
            let store = world.store("new", std::slice::from_ref(&old));
            let report = world.pull(&store, "v2");
            assert_eq!(report.layers[0].path, LayerWay::Partial);
            assert_eq!(report.bytes.reused_files, COMMON as u64);
            assert!(report.bytes.fetched < 10_000, "{} bytes fetched", report.bytes.fetched);
            assert_eq!(store.check(CheckLevel::Content).unwrap(), []);
            let theirs = &store.layers().unwrap()[1];
            let exported = store.export(theirs.id.as_str(), std::io::sink()).unwrap();
            assert_eq!(Some(exported.diff_id), theirs.diff_id);
            assert_eq!(state(&old), before);
            // What is the store's own comes first.
            let read_only = store.images().unwrap().iter().map(|i| i.read_only).collect::<Vec<_>>();
            assert_eq!(read_only, [false, true]);
            let read_only = store.layers().unwrap().iter().map(|l| l.read_only).collect::<Vec<_>>();
            assert_eq!(read_only, [false, true]);
        });
        test.join().unwrap();
    });
}

#[test]
fn a_read_only_store_serves_a_pull() {
    pulls_from_a_read_only_store(|_| {});
}

#[test]
fn a_store_without_a_lock_file_serves_a_pull() {
    pulls_from_a_read_only_store(|old| {
        fs::remove_file(old.join("overlay-layers/layers.lock")).unwrap();
    });
}

#[test]
fn what_is_no_store_costs_nothing_but_the_reuse() {
    let world = World::new();
    for name in ["empty", "broken/overlay-layers"] {
        fs::create_dir_all(world.path(name)).unwrap();
    }
    fs::write(world.path("broken/overlay-layers/layers.json"), "[{").unwrap();
    let additional = ["missing", "empty", "broken", "own"].map(|name| world.path(name));
    let store = world.store("own", &additional);
    let report = world.pull(&store, "v1");
    assert_eq!(report.bytes.reused_files, 0);
    // The store itself, named as an additional one, is none.
    let report = world.pull(&store, "v2");
    assert_eq!(report.bytes.reused_files, COMMON as u64);
    assert_eq!(fs::read_dir(world.path("empty")).unwrap().count(), 0);
    assert!(!world.path("missing").exists());
}

#[test]
fn a_layer_that_has_vanished_from_an_additional_store_is_fetched() {
    let world = World::new();
    world.pull(&world.store("old", &[]), "v1");
    let store = world.store("new", &[world.path("old")]);
    let overlay = world.path("old/overlay");
    fs::rename(&overlay, world.path("elsewhere")).unwrap();
    fs::remove_dir_all(world.path("elsewhere")).unwrap();
    // The first one of these still has a record there.
    for tag in ["v1", "v2"] {
        let report = world.pull(&store, tag);
        assert_eq!(report.layers[0].path, LayerWay::Partial);
    }
    assert_eq!(store.check(CheckLevel::Content).unwrap(), []);
}

/// The base of an image is in a store that nobody may write, its top is pulled.
#[test]
fn a_layer_that_an_additional_store_has_is_present() {
    let world = World::new();
    world.pull(&world.store("old", &[]), "v1");
    let old = world.path("old");
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            make_read_only(&old);
            let before = state(&old);
            let store = world.store("new", std::slice::from_ref(&old));
            let report = world.pull(&store, "both");
            let ways = report.layers.iter().map(|layer| layer.path).collect::<Vec<_>>();
            assert_eq!(ways, [LayerWay::Present, LayerWay::Partial]);
            assert_eq!(report.layers[0].reason, "in an additional store");
            let ids = report.layers.iter().map(|layer| layer.layer_id.clone()).collect::<Vec<_>>();
            assert_eq!(store.check(CheckLevel::Content).unwrap(), []);
            let details = store.inspect("localhost/app:both").unwrap();
            assert_eq!(details.image.layers, ids);
            let own = details.layer_details.iter().map(|l| l.read_only).collect::<Vec<_>>();
            assert_eq!(own, [true, false]);
            let directory = world.path("new/overlay").join(ids[1].as_str());
            let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
            assert_eq!(text("lower-layers"), ids[0].as_str());
            let link = old.join("overlay").join(ids[0].as_str()).join("link");
            assert_eq!(text("lower"), format!("l/{}", fs::read_to_string(link).unwrap()));
            mounts(&world, &store, "app:both", "v2");

            // An image whose layers are all elsewhere has a record of its own all the same.
            let report = world.pull(&store, "v1");
            assert_eq!(report.layers[0].path, LayerWay::Present);
            assert!(!store.inspect("localhost/app:v1").unwrap().image.read_only);
            mounts(&world, &store, "app:v1", "v1");
            store.remove_image("localhost/app:v1", false).unwrap();
            assert!(store.inspect("localhost/app:v1").unwrap().image.read_only);
            mounts(&world, &store, "app:v1", "v1");
            let refused = store.remove_image("app:v1", false).unwrap_err();
            assert!(matches!(&refused, RemoveError::ReadOnly { store, .. } if *store == old));
            let removed = store.remove_image("app:both", false).unwrap();
            assert_eq!(removed.layers, [ids[1].clone()]);
            assert_eq!(state(&old), before);
        });
        test.join().unwrap();
    });
}

/// Mounts an image, if this user may, and reads a file of it.
fn mounts(world: &World, store: &Store, image: &str, own: &str) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let target = world.path("mount");
    fs::create_dir_all(&target).unwrap();
    store.mount(image, &target, &MountOptions::read_only()).unwrap();
    assert_eq!(fs::read_to_string(target.join("own")).unwrap(), own);
    assert_eq!(fs::metadata(target.join("common")).unwrap().len(), COMMON as u64);
    reflayer::unmount(&target).unwrap();
}
