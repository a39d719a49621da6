//! Telling the living from the dead.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::process::command;
use super::store::{Store, id};
use crate::layout;

/// Another process: stages a layer, tells that it has, and waits to be ended.
pub(super) fn hold(root: &Path) {
    let store = Store::at(root);
    let _staged = store.staged("held");
    let mut out = std::io::stderr();
    writeln!(out, "staged").unwrap();
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
}

fn start_holder(store: &Store) -> Child {
    let mut command = command(&[], "hold", &store.root, 0);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "staged\n");
    child
}

#[test]
fn the_slot_of_a_killed_process_goes_and_those_of_the_living_stay() {
    let store = Store::new();
    let mut dead = start_holder(&store);
    let mut alive = start_holder(&store);
    let own = store.staged("own");
    assert_eq!(store.names("staging").len(), 3);
    dead.kill().unwrap();
    dead.wait().unwrap();

    let recovered = store.driver.recover().unwrap();
    assert_eq!((recovered.slots, recovered.temp_dirs), (1, 0));
    assert_eq!(store.names("staging").len(), 2);
    assert_eq!(store.driver.recover().unwrap().slots, 0);

    drop(alive.stdin.take());
    assert!(alive.wait().unwrap().success());
    assert_eq!(store.names("staging").len(), 1);
    drop(own);
    store.assert_tidy();
}

#[test]
fn a_dead_slot_can_serve_as_a_source_before_it_goes() {
    let store = Store::new();
    let mut dead = start_holder(&store);
    assert!(store.driver.dead_slots(9).unwrap().is_empty());
    dead.kill().unwrap();
    dead.wait().unwrap();
    let mut slots = store.driver.dead_slots(9).unwrap();
    let slot = slots.pop().unwrap();
    let tree = slot.tree().unwrap().unwrap();
    assert!(rustix::fs::statat(&tree, "held", AtFlags::empty()).is_ok());
    assert!(slot.aside().unwrap().is_some());
    // It is ours as long as we look at it.
    assert_eq!(store.driver.recover().unwrap().slots, 0);
    drop(slot);
    store.assert_tidy();
}

/// What `podman pull` leaves when it is killed.
fn foreign_slot(store: &Store, name: &str, locked: bool) {
    let slot = store.overlay("staging").join(name);
    fs::create_dir_all(slot.join("dir/usr")).unwrap();
    if locked {
        fs::write(slot.join("staging.lock"), "").unwrap();
    }
}

#[test]
fn a_slot_of_another_tool_goes_when_its_lock_is_free() {
    let store = Store::new();
    foreign_slot(&store, "1234567890", true);
    let slot = store.driver.dead_slots(1).unwrap().pop().unwrap();
    assert!(rustix::fs::statat(slot.tree().unwrap().unwrap(), "usr", AtFlags::empty()).is_ok());
    assert!(slot.aside().unwrap().is_none());
    drop(slot);
    store.assert_tidy();
}

/// Between its making and its locking, a slot of another tool has no lock.
#[test]
fn a_young_slot_without_a_lock_is_left_to_other_tools_but_not_to_us() {
    let store = Store::new();
    foreign_slot(&store, "1234567890", false);
    foreign_slot(&store, &layout::slot_name(7), false);
    assert_eq!(store.driver.recover().unwrap().slots, 1);
    assert_eq!(store.names("staging"), ["1234567890"]);
    assert_eq!(store.names("staging/1234567890"), ["dir"]);
}

#[test]
fn a_file_in_staging_is_no_slot() {
    let store = Store::new();
    drop(store.staged("f"));
    fs::write(store.overlay("staging/notes"), "").unwrap();
    assert_eq!(store.driver.recover().unwrap().slots, 0);
    assert_eq!(store.names("staging"), ["notes"]);
}

#[test]
fn the_link_of_a_commit_that_was_cut_off_goes_with_its_slot() {
    let store = Store::new();
    let sealed = store.sealed("f");
    let [slot] = &store.names("staging")[..] else { panic!("one slot") };
    let link = store.read(format!("staging/{slot}/layer/link"));
    let target = format!("../{}/diff", id(1));
    std::os::unix::fs::symlink(target, store.overlay("l").join(&link)).unwrap();
    sealed.discard().unwrap();
    store.assert_tidy();
}

#[test]
fn recovery_of_a_new_store_finds_nothing_and_makes_nothing() {
    let store = Store::new();
    assert_eq!(store.driver.recover().unwrap(), crate::Recovered::default());
    assert_eq!(store.names(""), ["l"]);
}

/// Only the time that nobody can set counts, else a copied directory would look old.
#[test]
fn a_slot_with_an_old_mtime_is_not_old() {
    let store = Store::new();
    foreign_slot(&store, "1234567890", false);
    let past = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: past, last_modification: past };
    let path = store.overlay("staging/1234567890");
    rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    assert_eq!(store.driver.recover().unwrap().slots, 0);
}
