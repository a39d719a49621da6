//! Killed in front of every single change: the layer is there or it is not.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use storage_core::Durability;

use super::process::run;
use super::store::{Store, file_of, id};
use crate::fault::armed;

/// Stages, seals and commits two layers, and is killed in front of the `n`-th change.
pub(super) fn commit(root: &Path, n: u64) {
    let store = Store::at(root);
    armed::arm(n);
    let base = store.staged(&file_of(&id(0))).finish().unwrap();
    let mut top = store.staged(&file_of(&id(1)));
    top.set_place(&id(1), Some(&id(0)));
    let layers = vec![base, top.finish().unwrap()];
    let mut sealed = store.driver.seal(layers, Durability::Volatile).unwrap().into_iter();
    let base = store.driver.commit(sealed.next().unwrap(), &id(0), None).unwrap();
    let top = store.driver.commit(sealed.next().unwrap(), &id(1), Some(&id(0))).unwrap();
    drop((base, top));
    assert!(armed::seen() > 30, "the hook saw next to nothing");
}

/// Removes the upper of two layers, and is killed in front of the `n`-th change.
pub(super) fn remove(root: &Path, n: u64) {
    let store = Store::at(root);
    armed::arm(n);
    store.driver.remove(&id(1)).unwrap().delete().unwrap();
}

/// Recovers from a pull that was killed, and is killed in turn.
pub(super) fn recover(root: &Path, n: u64) {
    let store = Store::at(root);
    armed::arm(n);
    store.driver.recover().unwrap();
}

/// Calls `check` for a store in which `role` was killed in front of each of its changes;
/// tells how many there were.
fn at_every_change(role: &str, prepare: impl Fn(&Store), check: impl Fn(&Store)) -> u64 {
    for n in 0.. {
        let store = Store::new();
        prepare(&store);
        let status = run(&[], role, &store.root, n);
        check(&store);
        if status.success() {
            return n;
        }
        assert_eq!(status.signal(), Some(9), "change {n}: {status}");
    }
    unreachable!("some run comes to its end")
}

/// What a store with no record of any layer does when it is opened, and then by `gc`.
fn recover_and_clear(store: &Store) {
    store.driver.recover().unwrap();
    for id in store.driver.layer_dirs().unwrap() {
        store.driver.remove(&id).unwrap().delete().unwrap();
    }
    store.driver.remove_dangling_links().unwrap();
    store.assert_tidy();
    assert!(store.names("").iter().all(|name| ["l", "staging", "tempdirs"].contains(&&**name)));
}

#[test]
fn a_commit_that_is_killed_leaves_whole_layers_or_none() {
    let changes = at_every_change(
        "commit",
        |_| {},
        |store| {
            store.driver.recover().unwrap();
            // No link dangles, without any help from `remove_dangling_links`.
            store.assert_tidy();
            for id in store.driver.layer_dirs().unwrap() {
                store.assert_whole(&id);
            }
            recover_and_clear(store);
        },
    );
    assert!(changes > 30, "only {changes}");
}

#[test]
fn a_removal_that_is_killed_can_be_repeated() {
    let changes = at_every_change(
        "remove",
        |store| drop(store.chain(2)),
        |store| {
            store.driver.recover().unwrap();
            store.assert_whole(&id(0));
            store.driver.remove(&id(1)).unwrap().delete().unwrap();
            store.assert_tidy();
            assert_eq!(store.driver.layer_dirs().unwrap(), [id(0)]);
        },
    );
    assert!(changes >= 3, "only {changes}");
}

#[test]
fn a_recovery_that_is_killed_can_be_repeated() {
    let kill_a_pull = |store: &Store| {
        // Between the short link and the layer's own name, which is the last change but
        // those that tidy up.
        let mut left = None;
        for n in 0.. {
            let killed = !run(&[], "commit", &store.root, n).success();
            left = left.or(Some(n));
            if !killed || store.names("l").len() > store.driver.layer_dirs().unwrap().len() {
                assert!(killed, "no change left a dangling link");
                return;
            }
            recover_and_clear(store);
        }
    };
    let changes = at_every_change("recover", kill_a_pull, |store| {
        store.driver.recover().unwrap();
        store.assert_tidy();
    });
    assert!(changes >= 3, "only {changes}");
}
