//! Content that an image has more than once is fetched once.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use reflayer::{BuildOptions, CheckLevel, ImagePlan, Progress, PullOptions, PullReport, Store};
use serde_json::json;
use testkit::tree::noise;
use transport::{LayoutWriter, ManifestDescriptor, OciLayout};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image whose layers are given by their files, and a store for it.
struct World(tempfile::TempDir);

impl World {
    fn new(layers: &[Vec<(&str, Vec<u8>)>]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("layout")).unwrap();
        let layout = LayoutWriter::create(File::open(world.path("layout")).unwrap()).unwrap();
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for (number, files) in layers.iter().enumerate() {
            let tree = world.path(&format!("tree-{number}"));
            fs::create_dir(&tree).unwrap();
            for (name, content) in files {
                fs::write(tree.join(name), content).unwrap();
            }
            let tree = File::open(tree).unwrap();
            let built = reflayer::build_image(tree, &layout, &BuildOptions::default()).unwrap();
            descriptors.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                "digest": built.layer.digest, "size": built.layer.size,
                "annotations": built.layer.annotations,
            }));
            diff_ids.push(built.layer.diff_id);
        }
        let platform = transport::Platform::of_machine();
        let config = json!({
            "os": platform.os, "architecture": platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = layout.put_bytes(config.to_string().as_bytes()).unwrap();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": descriptors,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.digest, "size": config.size,
            },
        });
        let manifest = layout.put_bytes(manifest.to_string().as_bytes()).unwrap();
        let entry = ManifestDescriptor::new(OCI_MANIFEST, manifest);
        layout.set_manifest(Some("v1"), &entry).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Plans, pulls into a new store and checks, with so many layers at a time.
    fn bring(&self, layers_at_once: usize) -> (ImagePlan, PullReport) {
        let place = tempfile::tempdir_in(&self.0).unwrap();
        let (root, run) = (place.path().join("root"), place.path().join("run"));
        let store = Store::open(&root, &run).unwrap();
        let source = OciLayout::open(File::open(self.path("layout")).unwrap(), Some("v1")).unwrap();
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let mut options = PullOptions::default();
        options.layers_at_once = layers_at_once;
        let reference = "oci:layout:v1".parse().unwrap();
        let plan = store.plan(&source, &reference, &options).unwrap();
        let report = store.pull(&source, &reference, &options, &quiet).unwrap();
        assert_eq!(store.check(CheckLevel::Content).unwrap(), []);
        (plan, report)
    }

    /// That content of so many bytes is written, and all that is left reused; by plan
    /// and by pull alike, whatever comes at the same time.
    fn expect(&self, written: u64, chunks: u64, files: u64) {
        for layers_at_once in [1, 2, 8] {
            let (plan, report) = self.bring(layers_at_once);
            assert_eq!(plan.bytes.to_fetch, report.bytes.fetched);
            assert_eq!(plan.bytes.shared, report.bytes.shared);
            let planned = (plan.bytes.missing, plan.bytes.reused_chunks, plan.bytes.reused_files);
            let bytes = report.bytes;
            let done = (bytes.written, bytes.reused_chunks, bytes.reused_files);
            assert_eq!((planned, done), (done, (written, chunks, files)), "{layers_at_once}");
        }
    }
}

#[test]
fn equal_files_of_one_layer_are_fetched_once() {
    let (small, large) = (noise(3000, 1), noise(3_000_000, 2));
    let world = World::new(&[vec![
        ("a", small.clone()),
        ("b", large.clone()),
        ("c", large),
        ("d", small.clone()),
        ("e", small),
    ]]);
    world.expect(3_003_000, 3_006_000, 0);
}

#[test]
fn equal_chunks_of_one_layer_are_fetched_once() {
    let (x, y, z) = (noise(900_000, 1), noise(700_000, 2), noise(900_000, 3));
    let world =
        World::new(&[vec![("a", [&x[..], &y, &z].concat()), ("b", [&z[..], &y, &x].concat())]]);
    let (_, report) = world.bring(1);
    // Chunks on the seams differ.
    assert!(report.bytes.written < 3_500_000, "{:?}", report.bytes);
    assert_eq!(report.bytes.written + report.bytes.reused_chunks, 5_000_000);
}

#[test]
fn what_layers_of_one_image_have_in_common_is_fetched_once() {
    let (small, large) = (noise(3000, 1), noise(3_000_000, 2));
    let world = World::new(&[
        vec![("a", small.clone()), ("b", large.clone())],
        vec![("own", noise(5000, 9)), ("c", large.clone()), ("d", large[..2_900_000].to_vec())],
        vec![("e", small), ("f", noise(1000, 4))],
    ]);
    let (_, report) = world.bring(2);
    // For a few bytes of the third layer nobody waits.
    let own = 3_003_000 + 5000 + 3000 + 1000;
    // The last chunk of what was cut differs.
    assert!((own..own + 200_000).contains(&report.bytes.written), "{:?}", report.bytes);
    assert_eq!(report.bytes.reused_files, 3_000_000);
    world.expect(report.bytes.written, report.bytes.reused_chunks, 3_000_000);
}

/// Only so many are staged at once; what was made before that is known all the same.
#[test]
fn a_layer_takes_from_one_that_was_made_long_before_it() {
    let large = noise(300_000, 2);
    let mut layers: Vec<_> = (0..12).map(|seed| vec![("own", noise(2000, 100 + seed))]).collect();
    layers[0].push(("a", large.clone()));
    layers[11].push(("b", large));
    World::new(&layers).expect(12 * 2000 + 300_000, 0, 300_000);
}
