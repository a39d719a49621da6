use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use reflayer::{
    CheckLevel, GarbageOptions, Problem, PullOptions, RepairOptions, RepairReport, Store,
    StoreOptions,
};
use serde_json::Value;
use transport::Reference;

use crate::world::{FORMS, Form, World, pull_into};

const LAYERS: &str = "root/overlay-layers/layers.json";
const IMAGES: &str = "root/overlay-images/images.json";
const CONTAINERS: &str = "root/overlay-containers/containers.json";

fn repair(world: &World) -> RepairReport {
    let nowhere = |reference: &Reference| Err(format!("{reference} is not to be asked").into());
    world.store().repair(&RepairOptions::default(), &nowhere).unwrap()
}

/// A store with two images, one of two layers.
fn two_images(form: Form) -> World {
    let world = World::new(form);
    if form == Form::Plain {
        world.build_two("two");
    } else {
        world.build("two", |at| fs::write(at.join("other"), vec![3; 5000]).unwrap());
    }
    world.pull("two");
    world
}

/// Records by id, without what is nowhere else on disk.
fn records(world: &World, file: &str, lost: &[&str]) -> Vec<Value> {
    let mut records: Vec<Value> =
        serde_json::from_slice(&fs::read(world.path(file)).unwrap()).unwrap();
    for record in &mut records {
        let record = record.as_object_mut().unwrap();
        record.retain(|key, _| !lost.contains(&key.as_str()));
        for value in record.values_mut() {
            if let Some(list) = value.as_array_mut() {
                list.sort_by_key(ToString::to_string);
            }
        }
    }
    records.sort_by_key(|record| record["id"].to_string());
    records
}

#[test]
fn r6_records_are_rebuilt_where_images_have_their_layers() {
    let world = World::new(Form::Chunked);
    let mut options = StoreOptions::default();
    options.image_store = Some(world.path("images"));
    let (root, run) = (world.path("containers"), world.path("run-containers"));
    let store = || Store::open_with(&root, &run, &options).unwrap();
    pull_into(&store(), &world.layout("v1"), &PullOptions::default()).unwrap();
    let (file, own) = (LAYERS.replace("root", "images"), LAYERS.replace("root", "containers"));
    let ids = |file: &str| -> Vec<String> {
        let records = fs::read(world.path(file)).unwrap_or_else(|_| b"[]".into());
        let records: Vec<Value> = serde_json::from_slice(&records).unwrap();
        records.iter().map(|record| record["id"].to_string()).collect()
    };
    // A container's layer is not where those of images are.
    let container = "c".repeat(64);
    let (home, link) = (root.join("overlay"), "A".repeat(26));
    fs::create_dir_all(home.join(&container).join("diff")).unwrap();
    fs::create_dir_all(home.join("l")).unwrap();
    fs::write(home.join(&container).join("link"), &link).unwrap();
    symlink(format!("../{container}/diff"), home.join("l").join(&link)).unwrap();
    fs::write(world.path(&own), format!("[{{\"id\":\"{container}\"}}]")).unwrap();
    let (layers, of_container) = (ids(&file), ids(&own));
    assert_eq!((layers.len(), of_container.len()), (1, 1));
    fs::write(world.path(&file), "").unwrap();
    let nowhere = |reference: &Reference| Err(format!("{reference} is not to be asked").into());
    let report = store().repair(&RepairOptions::default(), &nowhere).unwrap();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!((ids(&file), ids(&own)), (layers.clone(), of_container.clone()));
    assert!(store().check(CheckLevel::Content).unwrap().is_empty());
    // A layer with a parent that is none: records and directories are looked at under a lock.
    let text = fs::read_to_string(world.path(&file)).unwrap();
    let parent = format!("{{\"parent\":\"{}\",", "7".repeat(64));
    fs::write(world.path(&file), text.replacen('{', &parent, 1)).unwrap();
    let report = store().repair(&RepairOptions::default(), &nowhere).unwrap();
    assert!(!report.findings.is_empty());
    assert_eq!((ids(&file), ids(&own)), (layers, of_container));
}

#[test]
fn r6_records_are_rebuilt_from_what_is_on_disk() {
    for form in FORMS {
        let world = two_images(form);
        let lost_of_layers = ["created", "metadata"];
        let lost_of_images = ["names", "names-history", "created"];
        let layers = records(&world, LAYERS, &lost_of_layers);
        let images = records(&world, IMAGES, &lost_of_images);
        for file in [LAYERS, IMAGES] {
            let whole = fs::read(world.path(file)).unwrap();
            for length in [0, 1, 40, whole.len() / 2, whole.len() - 1] {
                fs::write(world.path(file), &whole[..length]).unwrap();
                let found = world.check(CheckLevel::Records);
                let named = |problem: &Problem| match problem {
                    Problem::DamagedRecords { file: named, .. } => {
                        PathBuf::from("root").join(named) == Path::new(file)
                    }
                    _ => false,
                };
                assert!(matches!(&found[..], [one] if named(&one.problem)), "{found:?}");
                let report = repair(&world);
                assert!(report.is_whole(), "{form:?} {file} {length} {report:#?}");
                assert!(
                    report.findings[0].repaired && report.findings[0].reason.contains("damaged-")
                );
                assert_eq!(records(&world, LAYERS, &lost_of_layers), layers);
                assert_eq!(records(&world, IMAGES, &lost_of_images), images);
            }
        }
        assert_eq!(world.found(CheckLevel::Content), [""; 0]);
        // The names come back without a byte of a layer.
        assert_eq!(world.pull("v1").bytes.fetched + world.pull("two").bytes.fetched, 0);
        assert_eq!(world.store().images().unwrap().len(), 2);
    }
}

#[test]
fn r6_layers_without_their_records_are_not_taken_for_garbage() {
    let world = two_images(Form::Chunked);
    let layers = world.store().layers().unwrap().len();
    fs::remove_file(world.path(LAYERS)).unwrap();
    let error = world.store().collect_garbage(GarbageOptions::default()).unwrap_err();
    assert!(error.to_string().contains("layers.json is missing"), "{error}");
    assert!(world.found(CheckLevel::Records)[0].contains("layers.json"));
    assert!(repair(&world).is_whole());
    assert_eq!(world.store().layers().unwrap().len(), layers);
}

#[test]
fn r6_layers_are_missed_though_there_are_records_of_containers() {
    let world = two_images(Form::Chunked);
    fs::remove_file(world.path(LAYERS)).unwrap();
    fs::write(world.path(LAYERS.replace("layers.json", "volatile-layers.json").as_str()), "[]")
        .unwrap();
    let error = world.store().collect_garbage(GarbageOptions::default()).unwrap_err();
    assert!(error.to_string().contains("layers.json is missing"), "{error}");
    assert!(world.try_pull("v1").unwrap_err().to_string().contains("layers.json is missing"));
}

/// Changes the first digit of what a record of a layer has under a key.
fn flip_digit(world: &World, layer: &str, key: &str) {
    let mut records: Vec<Value> =
        serde_json::from_slice(&fs::read(world.path(LAYERS)).unwrap()).unwrap();
    let record = records.iter_mut().find(|record| record["id"] == layer).unwrap();
    let old = record[key].as_str().unwrap();
    let first = if old.starts_with('0') { "1" } else { "0" };
    record[key] = format!("{first}{}", &old[1..]).into();
    fs::write(world.path(LAYERS), serde_json::to_vec(&records).unwrap()).unwrap();
}

#[test]
fn r6_nothing_that_an_image_tells_of_is_collected_or_removed() {
    for (key, remove) in [("parent", false), ("id", false), ("parent", true)] {
        let world = two_images(Form::Plain);
        let layers = world.layers("two");
        assert_eq!(layers[0], world.layer("v1"));
        // The base looks unneeded where nothing names it, or it has another name.
        let flipped = if key == "id" { &layers[0] } else { &layers[1] };
        flip_digit(&world, flipped, key);
        let store = world.store();
        if remove {
            let removed = store.remove_image("localhost/app:v1", false).unwrap();
            assert!(removed.layers.is_empty(), "{removed:?}");
        }
        let garbage = store.collect_garbage(GarbageOptions::default()).unwrap();
        assert!(garbage.orphans.is_empty(), "{key} {garbage:?}");
        for layer in &layers {
            assert!(world.path("root/overlay").join(layer).join("diff").exists(), "{key} {layer}");
        }
        let report = repair(&world);
        assert!(report.is_whole(), "{key} {report:#?}");
        assert_eq!(world.found(CheckLevel::Content), [""; 0]);
        assert_eq!(world.pull("two").bytes.fetched, 0);
    }
}

#[test]
fn r6_a_layer_of_which_no_image_told_is_brought_again() {
    let world = World::new(Form::Plain);
    let layer = world.layer("v1");
    let text = fs::read_to_string(world.path(LAYERS)).unwrap();
    let mut records: Vec<Value> = serde_json::from_str(&text).unwrap();
    records[0].as_object_mut().unwrap().remove("diff-digest");
    fs::write(world.path(LAYERS), serde_json::to_vec(&records).unwrap()).unwrap();
    fs::write(world.path("root/overlay").join(&layer).join("diff/foreign"), "x").unwrap();
    assert!(world.pull("v1").bytes.fetched > 0);
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    assert!(!world.file("foreign").exists());
}

#[test]
fn r6_images_without_their_records_are_not_taken_for_none() {
    let world = two_images(Form::Chunked);
    let lost = ["names", "names-history", "created"];
    let images = records(&world, IMAGES, &lost);
    fs::remove_file(world.path(IMAGES)).unwrap();
    let error = world.store().collect_garbage(GarbageOptions::default()).unwrap_err();
    assert!(said(&error).contains("images.json is missing"), "{error:?}");
    let error = world.try_pull("v1").unwrap_err();
    assert!(said(&error).contains("images.json is missing"), "{error:?}");
    assert!(!world.path(IMAGES).exists());
    let found = world.found(CheckLevel::Records);
    assert!(matches!(&found[..], [one] if one.contains("images.json")), "{found:?}");
    let report = repair(&world);
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(records(&world, IMAGES, &lost), images);
    assert_eq!(world.pull("v1").bytes.fetched, 0);
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn r6_fields_that_documents_repeat_are_set_right() {
    let world = two_images(Form::Chunked);
    let sound = seen(&world.store()).unwrap();
    for (file, key) in [
        (LAYERS, "diff-digest"),
        (LAYERS, "big-data-names"),
        (IMAGES, "layer"),
        (IMAGES, "big-data-names"),
    ] {
        let text = fs::read_to_string(world.path(file)).unwrap();
        fs::write(world.path(file), text.replacen(key, &key.to_uppercase(), 1)).unwrap();
        assert!(world.found(CheckLevel::Records)[0].ends_with(&format!("wrong {key}")));
        let report = repair(&world);
        assert!(report.is_whole(), "{key} {report:#?}");
        assert_eq!(seen(&world.store()).unwrap(), sound);
    }
}

#[test]
fn r6_a_layer_whose_id_was_flipped_is_found_again() {
    let world = two_images(Form::Plain);
    let sound = seen(&world.store()).unwrap();
    let id = world.layers("two").remove(1);
    let text = fs::read_to_string(world.path(LAYERS)).unwrap();
    let other = if id.starts_with('0') { "1" } else { "0" };
    fs::write(world.path(LAYERS), text.replacen(&id, &format!("{other}{}", &id[1..]), 1)).unwrap();
    let report = repair(&world);
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(seen(&world.store()).unwrap(), sound);
}

#[test]
fn r6_records_of_containers_are_named_and_left_alone() {
    let world = World::new(Form::Chunked);
    fs::write(world.path(CONTAINERS), "[{\"id").unwrap();
    let report = repair(&world);
    assert!(!report.is_whole());
    assert!(report.findings[0].reason.contains("left alone"), "{report:?}");
    assert_eq!(fs::read(world.path(CONTAINERS)).unwrap(), b"[{\"id");
}

/// All that a person or a tool goes by, but for free text.
fn seen(store: &Store) -> Option<String> {
    let mut layers = store.layers().ok()?;
    for layer in &mut layers {
        layer.created.clear();
    }
    let images = store.images().ok()?;
    Some(format!("{layers:?} {images:?}"))
}
