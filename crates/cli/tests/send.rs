//! `reflayer push` and `reflayer convert`, as a script sees them.

mod common;

use std::fs;

use common::{Place, said};

/// A place with the image `built`.
fn built() -> Place {
    let place = Place::new();
    let tree = place.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), vec![7; 300_000]).unwrap();
    place.document(&["build-image", tree.to_str().unwrap(), &layout(&place, "built")]);
    place
}

fn layout(place: &Place, name: &str) -> String {
    format!("oci:{}:v1", place.path(name).display())
}

#[test]
fn an_image_goes_in_and_out_and_stays_the_same() {
    let place = built();
    let archive = format!("oci-archive:{}:v1", place.path("image.tar").display());
    let converted = place.document(&["convert", &layout(&place, "built"), &archive]);
    assert_eq!(converted["layers"][0]["action"], "copied");
    let pulled = place.document(&["pull", &archive, "--name", "localhost/app:v1"]);
    assert_eq!(pulled["digest"], converted["digest"]);

    let pushed = place.document(&["push", "app:v1", &layout(&place, "pushed")]);
    let layer = &pushed["layers"][0];
    assert_eq!(layer["action"], "written");
    // Made anew, it is the same blob, so it is the same image to the last byte.
    assert_eq!(layer["digest"], converted["layers"][0]["digest"]);
    assert_eq!(pushed["digest"], converted["digest"]);
    assert_eq!(pushed["image_id"], pulled["image_id"]);
    assert_eq!(pushed["sent"], layer["size"]);
    assert!(layer["uncompressed"].as_u64().unwrap() > 300_000);

    let text =
        place.run(&["push", "containers-storage:localhost/app:v1", &layout(&place, "pushed")]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("present") && text.contains("sent 0 B of"), "{text}");
    let harder = ["--compression-level", "19"];
    let to = layout(&place, "harder");
    let args = [&["convert", "containers-storage:app:v1", &to], &harder[..]].concat();
    assert_ne!(place.document(&args)["layers"][0]["digest"], layer["digest"]);
}

#[test]
fn what_cannot_be_is_told_by_the_exit_code() {
    let place = built();
    let (built, to) = (layout(&place, "built"), layout(&place, "to"));
    for (args, code, message) in [
        (["push", "nothing", &to], 4, "no image is called"),
        (["push", &built, &to], 1, "use `reflayer convert`"),
        (["push", "app", "app"], 2, "does not begin with docker://"),
        (["convert", "app", &to], 2, "does not begin with docker://"),
        (["convert", &layout(&place, "missing"), &to], 4, "missing"),
        (["convert", &built, "containers-storage:app"], 1, "is in a store"),
        (["convert", "containers-storage:app", &to], 4, "no image is called"),
    ] {
        let output = place.run(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(message), "{args:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
    let output = place.run(&["push", "app", &to, "--compression-level", "23"]);
    assert_eq!(output.status.code(), Some(2));
}
