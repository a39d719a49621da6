//! Taking layers away.

use std::fs;
use std::os::unix::fs::symlink;

use super::store::{Store, id};

#[test]
fn a_removed_layer_is_gone_at_once_and_deleted_later() {
    let store = Store::new();
    store.chain(2);
    let link = store.read(format!("{}/link", id(1)));
    let removed = store.driver.remove(&id(1)).unwrap();
    assert_eq!(store.driver.layer_dirs().unwrap(), [id(0)]);
    assert!(!store.names("l").contains(&link));
    let [lock, dir] = &store.names("tempdirs")[..] else { panic!("one temp dir") };
    assert_eq!(lock.strip_prefix("lock-"), dir.strip_prefix("temp-dir-"));
    let moved = [format!("0-{link}"), format!("1-{}", id(1))];
    assert_eq!(store.names(format!("tempdirs/{dir}")), moved);
    removed.delete().unwrap();
    store.assert_tidy();
    store.assert_whole(&id(0));
}

#[test]
fn several_layers_go_into_one_temp_dir() {
    let store = Store::new();
    store.chain(3);
    let mut removed = store.driver.remove(&id(2)).unwrap();
    removed.add(&id(1)).unwrap();
    removed.add(&id(0)).unwrap();
    assert_eq!(store.names("tempdirs").len(), 2);
    drop(removed);
    store.assert_tidy();
    assert_eq!(store.driver.layer_dirs().unwrap(), []);
}

#[test]
fn what_is_not_there_is_removed_already() {
    let store = Store::new();
    store.driver.remove(&id(1)).unwrap().delete().unwrap();
    store.assert_tidy();
}

#[test]
fn what_is_left_of_a_layer_is_removed_too() {
    let store = Store::new();
    fs::create_dir(store.overlay(id(1))).unwrap();
    store.driver.remove(&id(1)).unwrap().delete().unwrap();
    // Its link file names the link of another layer.
    store.chain(1);
    let link = store.read(format!("{}/link", id(0)));
    fs::create_dir(store.overlay(id(1))).unwrap();
    fs::write(store.overlay(id(1)).join("link"), &link).unwrap();
    store.driver.remove(&id(1)).unwrap().delete().unwrap();
    store.assert_whole(&id(0));
    store.assert_tidy();
}

#[test]
fn an_open_handle_outlives_the_removal() {
    let store = Store::new();
    store.chain(1);
    let diff = store.driver.diff(&id(0)).unwrap();
    let removed = store.driver.remove(&id(0)).unwrap();
    let name = super::store::file_of(&id(0));
    assert!(rustix::fs::statat(&diff, &name, rustix::fs::AtFlags::empty()).is_ok());
    removed.delete().unwrap();
    assert!(rustix::fs::statat(&diff, &name, rustix::fs::AtFlags::empty()).is_err());
}

#[test]
fn only_links_of_layers_that_are_gone_dangle() {
    let store = Store::new();
    store.chain(2);
    symlink(format!("../{}/diff", id(7)), store.overlay("l/AAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    symlink("somewhere/else", store.overlay("l/foreign")).unwrap();
    // A layer in the making by another tool has a directory before it has a tree.
    fs::create_dir(store.overlay(id(8))).unwrap();
    symlink(format!("../{}/diff", id(8)), store.overlay("l/BBBBBBBBBBBBBBBBBBBBBBBBBB")).unwrap();
    assert_eq!(store.driver.remove_dangling_links().unwrap(), 1);
    assert_eq!(store.names("l").len(), 4);
    assert!(!store.names("l").contains(&"AAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()));
}
