//! What a commit makes, and what it refuses.

use std::fs;
use std::io::Read;

use rustix::fs::{Mode, OFlags};
use storage_core::Durability;

use super::store::{Store, file_of, id};
use crate::CommitReason;

#[test]
fn a_layer_is_visible_only_after_its_commit() {
    let store = Store::new();
    let sealed = store.sealed(&file_of(&id(1)));
    assert_eq!(store.driver.layer_dirs().unwrap(), []);
    let aside = store.driver.commit(sealed, &id(1), None).unwrap();
    assert_eq!(store.driver.layer_dirs().unwrap(), [id(1)]);
    store.driver.sync_dirs().unwrap();
    store.assert_whole(&id(1));
    drop(aside);
    store.assert_tidy();
}

#[test]
fn what_is_kept_beside_the_layer_outlives_the_commit_and_scratch_does_not() {
    let store = Store::new();
    let aside = store.committed(&id(1), None);
    let toc = rustix::fs::openat(&aside, "toc", OFlags::RDONLY, Mode::empty()).unwrap();
    let mut text = String::new();
    fs::File::from(toc).read_to_string(&mut text).unwrap();
    assert_eq!(text, "toc");
    let [slot] = &store.names("staging")[..] else { panic!("one slot") };
    assert_eq!(store.names(format!("staging/{slot}")), ["aside", "staging.lock"]);
    aside.discard().unwrap();
    store.assert_tidy();
}

#[test]
fn the_layers_below_are_named_nearest_first_in_both_files() {
    let store = Store::new();
    let ids = store.chain(3);
    for id in &ids {
        store.assert_whole(id);
    }
    let link = |n: usize| store.read(format!("{}/link", ids[n]));
    let top = ids[2].to_string();
    assert_eq!(store.read(format!("{top}/lower")), format!("l/{}:l/{}", link(1), link(0)));
    assert_eq!(store.read(format!("{top}/lower-layers")), format!("{}:{}", ids[1], ids[0]));
    assert_eq!(store.driver.lowers(&ids[2]).unwrap(), [ids[1].clone(), ids[0].clone()]);
}

/// Old tools write only `lower`.
#[test]
fn a_parent_without_lower_layers_will_do() {
    let store = Store::new();
    store.chain(2);
    let list = store.overlay(id(1)).join("lower-layers");
    fs::remove_file(list).unwrap();
    drop(store.committed(&id(2), Some(&id(1))));
    assert_eq!(store.driver.lowers(&id(2)).unwrap(), [id(1), id(0)]);
    store.assert_whole(&id(2));
}

#[test]
fn a_parent_with_nothing_but_lower_layers_will_do() {
    let store = Store::new();
    store.chain(2);
    fs::remove_file(store.overlay(id(1)).join("lower")).unwrap();
    drop(store.committed(&id(2), Some(&id(1))));
    store.assert_whole(&id(2));
    assert_eq!(store.read(id(2).to_string() + "/lower").split(':').count(), 2);
}

#[test]
fn a_commit_goes_by_its_own_word_not_by_what_was_foreseen() {
    let store = Store::new();
    store.chain(2);
    let mut staged = store.staged(&file_of(&id(9)));
    staged.set_place(&id(8), None);
    let layers = vec![staged.finish().unwrap()];
    let sealed = store.driver.seal(layers, Durability::Volatile).unwrap().pop().unwrap();
    drop(store.driver.commit(sealed, &id(9), Some(&id(1))).unwrap());
    store.assert_whole(&id(9));
    assert_eq!(store.driver.lowers(&id(9)).unwrap(), [id(1), id(0)]);
}

#[test]
fn an_existing_layer_is_in_the_way_and_the_new_one_comes_back() {
    let store = Store::new();
    drop(store.committed(&id(1), None));
    let before = store.read(format!("{}/link", id(1)));
    let error = store.driver.commit(store.sealed(&file_of(&id(2))), &id(1), None).unwrap_err();
    assert!(matches!(error.reason, CommitReason::AlreadyExists), "{error:?}");
    assert_eq!(store.read(format!("{}/link", id(1))), before);
    // Under another id it goes.
    drop(store.driver.commit(error.layer, &id(2), Some(&id(1))).unwrap());
    store.assert_whole(&id(1));
    store.assert_whole(&id(2));
    store.assert_tidy();
}

#[test]
fn a_missing_parent_is_named_and_a_layer_given_back_can_be_discarded() {
    let store = Store::new();
    let error = store.driver.commit(store.sealed("f"), &id(2), Some(&id(1))).unwrap_err();
    assert!(matches!(&error.reason, CommitReason::ParentMissing(p) if *p == id(1)), "{error:?}");
    error.layer.discard().unwrap();
    store.assert_tidy();
}

#[test]
fn a_damaged_parent_is_an_error_and_not_a_shorter_chain() {
    let store = Store::new();
    store.chain(2);
    let list = store.overlay(id(1)).join("lower-layers");
    fs::write(list, "../../etc").unwrap();
    let error = store.driver.commit(store.sealed("f"), &id(2), Some(&id(1))).unwrap_err();
    assert!(matches!(&error.reason, CommitReason::Fs(e) if e.path.ends_with("lower-layers")));
    assert!(store.driver.lowers(&id(1)).is_err());
}

#[test]
fn more_than_500_layers_below_are_refused() {
    let store = Store::new();
    drop(store.committed(&id(1), None));
    let link = store.read(format!("{}/link", id(1)));
    let write = |n: usize| {
        let list = |item: String| vec![item; n].join(":");
        fs::write(store.overlay(id(1)).join("lower"), list(format!("l/{link}"))).unwrap();
        fs::write(store.overlay(id(1)).join("lower-layers"), list(id(0).to_string())).unwrap();
    };
    write(500);
    let error = store.driver.commit(store.sealed("f"), &id(2), Some(&id(1))).unwrap_err();
    assert!(matches!(error.reason, CommitReason::TooDeep(501)), "{error:?}");
    write(499);
    drop(store.driver.commit(error.layer, &id(2), Some(&id(1))).unwrap());
}

#[test]
fn the_root_has_the_mode_it_was_given_or_that_of_its_parent() {
    let store = Store::new();
    let commit = |n: u8, mode: Option<u32>, foreseen: bool| {
        let mut staged = store.staged(&file_of(&id(n)));
        let (own, below) = (id(n), n.checked_sub(1).map(id));
        if let Some(mode) = mode {
            staged.set_root_mode(mode);
        }
        if foreseen {
            staged.set_place(&own, below.as_ref());
        }
        let layers = vec![staged.finish().unwrap()];
        let sealed = store.driver.seal(layers, Durability::Durable).unwrap().pop().unwrap();
        drop(store.driver.commit(sealed, &own, below.as_ref()).unwrap());
        store.mode(format!("{own}/diff"))
    };
    assert_eq!(commit(0, None, false), 0o555);
    assert_eq!(commit(1, Some(0o1751), false), 0o1751);
    assert_eq!(commit(2, None, false), 0o1751);
    assert_eq!(commit(3, None, true), 0o1751);
    assert_eq!(commit(4, Some(0o700), true), 0o700);
}

#[test]
fn a_dropped_layer_leaves_nothing_at_any_stage() {
    let store = Store::new();
    drop(store.staged("f"));
    store.assert_tidy();
    drop(store.filled("f"));
    store.assert_tidy();
    drop(store.sealed("f"));
    store.assert_tidy();
    store.staged("f").discard().unwrap();
    store.filled("f").discard().unwrap();
    store.sealed("f").discard().unwrap();
    store.assert_tidy();
}

/// The root of a tree may be one that its owner cannot write to, or not even read.
#[test]
fn a_layer_with_a_closed_root_can_be_dropped() {
    let store = Store::new();
    for mode in [0o555, 0o000] {
        let mut staged = store.staged("f");
        staged.set_root_mode(mode);
        let layers = vec![staged.finish().unwrap()];
        let sealed = store.driver.seal(layers, Durability::Volatile).unwrap();
        drop(sealed);
        store.assert_tidy();
    }
}

#[test]
fn an_error_names_the_place_from_the_graph_root() {
    let store = Store::new();
    let error = store.driver.diff(&id(1)).unwrap_err();
    assert_eq!(error.path, format!("overlay/{}", id(1)));
}
