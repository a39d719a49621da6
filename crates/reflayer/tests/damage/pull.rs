use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use reflayer::{CheckLevel, LayerWay, PullOptions, Store};
use testkit::kill::{self, Errno, Watch};
use transport::OciLayout;

use crate::world::{FORMS, Form, World};

#[test]
fn r7_a_layer_without_its_tree_is_pulled_again() {
    for form in FORMS {
        let world = World::new(form);
        fs::remove_dir_all(world.file("")).unwrap();
        let report = world.pull("v1");
        assert_ne!(report.layers[0].path, LayerWay::Present);
        assert_eq!(world.found(CheckLevel::Content), [""; 0], "{form:?}");
    }
}

#[test]
fn r7_a_layer_without_its_tar_split_takes_its_files_from_itself() {
    let world = World::new(Form::Chunked);
    let layer = world.layer("v1");
    fs::remove_file(world.path(&format!("root/overlay-layers/{layer}.tar-split.gz"))).unwrap();
    let report = world.pull("v1");
    assert_eq!(report.layers[0].path, LayerWay::Partial);
    assert_eq!(report.bytes.written, 0, "{report:?}");
    assert!(report.bytes.reused_files > 150_000, "{report:?}");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

#[test]
fn r7_a_pull_leaves_a_whole_layer_alone() {
    let world = World::new(Form::Chunked);
    let tree = fs::metadata(world.file("")).unwrap();
    let report = world.pull("v1");
    assert_eq!(report.layers[0].path, LayerWay::Present);
    assert_eq!(fs::metadata(world.file("")).unwrap().ino(), tree.ino());
}

#[test]
fn r7_a_layer_below_others_is_replaced_under_them() {
    let world = World::new(Form::Plain);
    world.build_two("two");
    world.pull("two");
    let layers = world.layers("two");
    let lower =
        |name| fs::read_to_string(world.path("root/overlay").join(&layers[1]).join(name)).unwrap();
    let link =
        || fs::read_to_string(world.path("root/overlay").join(&layers[0]).join("link")).unwrap();
    fs::remove_dir_all(world.path("root/overlay").join(&layers[0])).unwrap();
    let report = world.pull("two");
    assert_eq!(report.layers[1].path, LayerWay::Present);
    assert_eq!(lower("lower"), format!("l/{}", link()));
    assert_eq!(lower("lower-layers"), layers[0]);
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    fs::remove_file(world.path("root/overlay").join(&layers[1]).join("lower-layers")).unwrap();
    fs::write(world.path("root/overlay").join(&layers[1]).join("lower"), "l/x").unwrap();
    world.pull("two");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

#[test]
fn r7_documents_of_an_image_are_written_again() {
    let world = World::new(Form::Chunked);
    let images = world.store().images().unwrap();
    let manifest = world.path("root/overlay-images").join(images[0].id.as_str()).join("manifest");
    fs::write(&manifest, "{}").unwrap();
    assert_eq!(world.found(CheckLevel::Records).len(), 1);
    world.pull("v1");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

/// Where a process of its own pulls, and from which layout.
const PLACE: &str = "DAMAGE_PULL_PLACE";
const LAYOUT: &str = "DAMAGE_PULL_LAYOUT";

#[test]
fn r3_a_replaced_layer_is_marked_before_anything_of_it_moves() {
    if let (Some(at), Some(layout)) = (std::env::var_os(PLACE), std::env::var_os(LAYOUT)) {
        let at = Path::new(&at);
        let store = Store::open(&at.join("root"), &at.join("run")).unwrap();
        let layout = OciLayout::open(File::open(layout).unwrap(), Some("v1")).unwrap();
        let (reference, quiet) = ("oci:layout:v1".parse().unwrap(), Arc::new(()) as Arc<_>);
        store.pull(&layout, &reference, &PullOptions::default(), &quiet).unwrap();
        return;
    }
    let world = World::new(Form::Plain);
    let layer = world.layer("v1");
    fs::remove_file(world.path(&format!("root/overlay-layers/{layer}.tar-split.gz"))).unwrap();
    let case = || {
        let case = tempfile::tempdir_in(world.path("")).unwrap();
        let mut copy = Command::new("cp");
        assert!(
            copy.arg("-a").arg(world.path("root")).arg(case.path()).status().unwrap().success()
        );
        let mut pull = Command::new(std::env::current_exe().unwrap());
        let name = "pull::r3_a_replaced_layer_is_marked_before_anything_of_it_moves";
        pull.args(["--exact", name]).stdout(Stdio::null()).stderr(Stdio::null());
        pull.env(PLACE, case.path()).env(LAYOUT, world.path("plain"));
        (case, pull)
    };
    let (_whole, pull) = case();
    let calls = kill::calls(pull).unwrap();
    let renames = (1..).zip(&calls).filter(|(_, call)| call.name().starts_with("rename"));
    let renames: Vec<u64> = renames.map(|(number, _)| number).collect();
    assert!(renames.len() > 5, "{renames:?}");
    for number in renames {
        let (killed, pull) = case();
        kill::run_until(pull, number).unwrap();
        let said = !is_whole(&killed, &layer) || tree(&killed, &layer).is_some();
        assert!(said, "killed at call {number}: a record without its tree");

        let (failed, pull) = case();
        let old = tree(&failed, &layer);
        kill::run_failing(pull, &Watch::Changes, number..=number, Errno::ENOSPC).unwrap();
        let (whole, now) = (is_whole(&failed, &layer), tree(&failed, &layer));
        assert!(!whole || now.is_some(), "call {number} failed: a record without its tree");
        assert!(whole || now != old, "call {number} failed: the old tree has lost its record");
    }
}

/// The inode of a layer's tree.
fn tree(place: &tempfile::TempDir, layer: &str) -> Option<u64> {
    let tree = place.path().join("root/overlay").join(layer).join("diff");
    fs::metadata(tree).ok().map(|tree| tree.ino())
}

/// Whether the layer has a record that is not marked incomplete.
fn is_whole(place: &tempfile::TempDir, layer: &str) -> bool {
    let records = fs::read(place.path().join("root/overlay-layers/layers.json")).unwrap();
    let records: Vec<serde_json::Value> = serde_json::from_slice(&records).unwrap();
    let record = records.iter().find(|record| record["id"] == layer);
    record.is_some_and(|record| record["flags"]["incomplete"] != true)
}
