use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
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

#[test]
fn r6_a_damaged_link_is_made_again_with_its_name() {
    let store = Store::new();
    let ids = store.chain(2);
    let name = fs::read_to_string(store.overlay(ids[0].as_str()).join("link")).unwrap();
    let link = store.overlay("l").join(&name);
    let elsewhere = format!("../{}/diff", "f".repeat(64));
    for target in ["../", &elsewhere, ""] {
        fs::remove_file(&link).unwrap();
        if !target.is_empty() {
            symlink(target, &link).unwrap();
        }
        assert!(!store.driver.has_link(&ids[0]).unwrap());
        store.driver.restate(&ids[0], None).unwrap();
        store.assert_whole(&ids[0]);
        store.assert_whole(&ids[1]);
        store.assert_tidy();
    }
}

#[test]
fn r6_the_link_of_another_layer_is_left_to_it() {
    let store = Store::new();
    let ids = store.chain(2);
    let [other, own] = [&ids[0], &ids[1]].map(|id| store.overlay(id.as_str()).join("link"));
    let name = fs::read_to_string(&own).unwrap();
    fs::copy(other, &own).unwrap();
    assert!(!store.driver.has_link(&ids[1]).unwrap());
    store.driver.restate(&ids[1], Some(&ids[0])).unwrap();
    assert_eq!(fs::read_to_string(own).unwrap(), name);
    store.assert_whole(&ids[0]);
    store.assert_whole(&ids[1]);
    store.assert_tidy();
}

#[test]
fn r6_the_files_that_tell_what_is_below_are_compared() {
    let store = Store::new();
    let ids = store.chain(3);
    let lower = store.overlay(ids[2].as_str()).join("lower");
    let whole = fs::read_to_string(&lower).unwrap();
    let (first, second) = whole.split_once(':').unwrap();
    let agree = || store.driver.lowers_agree(&ids[2]).unwrap();
    assert!(agree() && store.driver.lowers_agree(&ids[0]).unwrap());
    let unknown = format!("{first}:l/{:A<26}", "");
    for text in ["", first, &format!("{second}:{first}"), &unknown, &whole[1..]] {
        fs::write(&lower, text).unwrap();
        assert!(!agree(), "{text}");
    }
    // One of the two is enough.
    fs::remove_file(&lower).unwrap();
    assert!(agree());
}
