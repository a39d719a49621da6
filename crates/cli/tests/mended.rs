//! What `reflayer pull` says of damaged files that it finds and mends.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, said};

#[test]
fn a_pull_says_what_it_mended_unless_it_is_told_not_to_look() {
    let place = Place::new();
    let (tree, layout) = (place.path("tree"), place.path("layout"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    let reference = format!("oci:{}:v1", layout.display());
    place.document(&["build-image", tree.to_str().unwrap(), &reference]);
    let first = place.document(&["pull", &reference]);
    assert_eq!(first["mended"]["findings"], serde_json::json!([]), "{first}");
    let layer = first["layers"][0]["layer_id"].as_str().unwrap();
    let file: PathBuf = place.path("root/overlay").join(layer).join("diff/file");

    let pull = |more: &[&str]| {
        let output = place.run(&[&["pull", &reference], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    fs::write(&file, "").unwrap();
    let text = pull(&["--trust-present"]);
    assert!(!text.contains("damaged"), "{text}");
    assert_eq!(fs::read(&file).unwrap(), b"");
    let text = pull(&[]);
    assert!(text.contains("1 damaged files mended"), "{text}");
    assert!(text.contains("1 damaged files in layers that were there, 0 left; fetched"), "{text}");
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert!(!pull(&[]).contains("damaged"));
}
