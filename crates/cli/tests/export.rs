//! `reflayer export`, by sha256sum.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Place;

/// A store with one layer of two small files and a larger one.
fn pulled() -> Place {
    let place = Place::new();
    let tree = place.path("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["a", "b"] {
        fs::write(tree.join(name), name.repeat(1000)).unwrap();
    }
    fs::write(tree.join("large"), vec![7; 300_000]).unwrap();
    let layout = format!("oci:{}:v1", place.path("layout").display());
    place.document(&["build-image", tree.to_str().unwrap(), &layout]);
    place.document(&["pull", &layout]);
    place
}

/// Id and DiffID of its layer.
fn layer(place: &Place) -> (String, String) {
    let layers = place.document(&["layers"]);
    let text = |key: &str| layers[0][key].as_str().unwrap().to_owned();
    (text("id"), text("diff_id"))
}

fn sha256(path: &Path) -> String {
    let out = Command::new("sha256sum").arg(path).output().unwrap();
    format!("sha256:{}", String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_tar_has_the_digest_that_is_the_diff_id() {
    let place = pulled();
    let (id, diff_id) = layer(&place);
    for name in [&id[..], &id[..8], &diff_id] {
        let tar = place.path("piped.tar");
        let file = fs::File::create(&tar).unwrap();
        assert!(place.command(&["export", name]).stdout(file).status().unwrap().success());
        assert_eq!(sha256(&tar), diff_id, "{name}");
    }
    let tar = place.path("named.tar");
    let report = place.document(&["export", &id, "--output", tar.to_str().unwrap()]);
    assert_eq!(sha256(&tar), diff_id);
    assert_eq!((&report["diff_id"], &report["layer"]), (&diff_id.into(), &id.into()));
    assert_eq!(report["size"], fs::metadata(&tar).unwrap().len());
}

#[test]
fn a_layer_that_is_not_what_it_was_is_no_tar() {
    let place = pulled();
    let (id, _) = layer(&place);
    let diff = place.path("root/overlay").join(&id).join("diff");
    let spoiled: [fn(&Path); 3] = [
        |file| fs::write(file, "A".repeat(1000)).unwrap(),
        |file| fs::write(file, "short").unwrap(),
        |file| fs::remove_file(file).unwrap(),
    ];
    for spoil in spoiled {
        spoil(&diff.join("b"));
        let tar = place.path("spoiled.tar");
        let output = place.run(&["export", &id, "--output", tar.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("\"b\""), "the file is named: {}", said(&output));
        assert!(!tar.exists());
        assert_eq!(place.run(&["export", &id]).status.code(), Some(1));
        let left = fs::read_dir(place.path("")).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| !name.contains("export")), "nothing is left");
    }
}

#[test]
fn what_there_is_no_layer_for_says_so() {
    let place = pulled();
    for (name, code) in [("5f5f", 4), ("nonsense", 4)] {
        let output = place.command(&["export", name]).stdout(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}
