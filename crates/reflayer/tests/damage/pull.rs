use std::fs;
use std::os::unix::fs::MetadataExt as _;

use reflayer::{CheckLevel, LayerWay};

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
