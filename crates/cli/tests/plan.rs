//! `reflayer plan` says what `reflayer pull` then does.

mod common;

use std::fs;

use common::Place;

/// Bytes that look like nothing, another sequence for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_pull_does_what_was_planned_and_a_plan_does_nothing() {
    let place = Place::new();
    let (tree, layout) = (place.path("tree"), place.path("layout"));
    fs::create_dir(&tree).unwrap();
    for seed in 0..20 {
        fs::write(tree.join(format!("file{seed}")), noise(seed, 30_000)).unwrap();
    }
    let mut large = noise(100, 600_000);
    fs::write(tree.join("large"), &large).unwrap();
    let reference = |tag: &str| format!("oci:{}:{tag}", layout.display());
    let build =
        |tag: &str| place.document(&["build-image", tree.to_str().unwrap(), &reference(tag)]);
    build("v1");
    large.splice(300_000..300_000, noise(101, 5_000));
    fs::write(tree.join("large"), &large).unwrap();
    fs::write(tree.join("file3"), noise(102, 30_000)).unwrap();
    build("v2");

    for tag in ["v1", "v2"] {
        let plan = place.document(&["plan", &reference(tag)]);
        let images = place.document(&["images"]);
        assert_eq!(images.as_array().unwrap().len(), usize::from(tag == "v2"), "{images}");
        let staging = place.path("root/overlay/staging");
        let left = fs::read_dir(staging).map_or(0, Iterator::count);
        assert_eq!(left, 0, "a plan leaves nothing in staging");
        let pull = place.document(&["pull", &reference(tag)]);
        let (planned, done) = (&plan["bytes"], &pull["bytes"]);
        assert_eq!(planned["to_fetch"], done["fetched"], "{tag}");
        for key in ["reused_files", "reused_chunks", "holes"] {
            assert_eq!(planned[key], done[key], "{tag} {key}");
        }
        assert_eq!(planned["missing"], done["written"], "{tag}");
        assert_eq!(planned["shared"], done["shared"], "{tag}");
        let count = |key: &str| planned[key].as_u64().unwrap();
        let apart = count("missing") + count("reused_files") + count("reused_chunks");
        let rounding = 21 * 4096;
        assert!(count("disk") + count("shared") >= apart, "{planned}");
        assert!(count("disk") + count("shared") <= apart + rounding, "{planned}");
        let layer = &plan["layers"][0];
        assert_eq!(layer["path"], "partial");
        if tag == "v2" {
            assert_eq!(layer["reused_files"], 19);
            assert!(planned["reused_chunks"].as_u64().unwrap() > 300_000, "{planned}");
            assert_eq!(layer["from"][0]["files"], 19);
            assert_eq!(layer["from"][0]["chunk_bytes"], planned["reused_chunks"]);
        }
    }
    let plan = place.document(&["plan", &reference("v2")]);
    assert_eq!(
        (&plan["layers"][0]["path"], &plan["bytes"]["to_fetch"]),
        (&"present".into(), &0.into())
    );
}
