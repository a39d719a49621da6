use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::store::Store;

/// The small files of a layer.
fn files(dir: &Path) -> BTreeMap<String, String> {
    ["link", "lower", "lower-layers"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(dir.join(name)).ok()?)))
        .collect()
}

#[test]
fn what_was_lost_is_as_before() {
    let store = Store::new();
    let ids = store.chain(3);
    let before: Vec<_> = ids.iter().map(|id| files(&store.overlay(id.as_str()))).collect();
    for (id, parent) in ids.iter().zip([None, Some(&ids[0]), Some(&ids[1])]) {
        for name in ["link", "lower", "lower-layers"] {
            drop(fs::remove_file(store.overlay(id.as_str()).join(name)));
        }
        assert!(!store.driver.has_link(id).unwrap());
        store.driver.restate(id, parent).unwrap();
        assert!(store.driver.has_link(id).unwrap());
    }
    let after: Vec<_> = ids.iter().map(|id| files(&store.overlay(id.as_str()))).collect();
    assert_eq!(before, after);
    assert_eq!(store.driver.lowers(&ids[2]).unwrap(), [ids[1].clone(), ids[0].clone()]);
}

#[test]
fn a_new_link_is_told_to_the_layers_above() {
    let store = Store::new();
    let ids = store.chain(2);
    let link = store.overlay(ids[0].as_str()).join("link");
    let old = fs::read_to_string(&link).unwrap();
    fs::write(&link, "damaged").unwrap();
    fs::remove_file(store.overlay("l").join(&old)).unwrap();
    store.driver.restate(&ids[0], None).unwrap();
    store.driver.restate(&ids[1], Some(&ids[0])).unwrap();
    let new = fs::read_to_string(&link).unwrap();
    assert_ne!(old, new);
    let lower = fs::read_to_string(store.overlay(ids[1].as_str()).join("lower")).unwrap();
    assert_eq!(lower, format!("l/{new}"));
}
