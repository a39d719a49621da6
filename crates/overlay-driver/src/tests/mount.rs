//! Mounts, each in a mount namespace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use storage_core::LayerId;

use super::process::run;
use super::store::{Store, file_of, id};
use crate::mount::How;
use crate::{Driver, MountError, MountOptions, RemoveError, UnmountError, Writable, unmount};

/// Everything, in a process that has root's rights over its mounts.
pub(super) fn all(root: &Path, with_many: bool) {
    let dir = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let store = Store::at(&dir("a graph, root:"));
    let target = dir("target");
    let writable = Writable { upper: dir("upper,1:2"), work: dir("work\\") };
    for how in [How::Handles, How::Paths, How::Text] {
        read_only(&store, &target, how);
        single(&store, &target, how);
        writable_mount(&store, &target, how, &writable);
    }
    if with_many {
        many(&store, &target);
    }
    refusals(&store, &target);
    at_home(&store, &target);
    in_another_namespace(&store, root, &target);
    podman_comes_and_goes(&store, &target);
}

/// As the first user of the machine where the tests run as that, and always as root of a
/// user namespace, which nearly any user may be.
#[test]
fn layers_are_mounted_in_every_way_the_kernel_has() {
    let mut ways = vec![vec!["unshare", "--user", "--map-root-user", "--mount"]];
    if rustix::process::geteuid().is_root() {
        ways.push(vec!["unshare", "--mount"]);
    }
    for (n, before) in ways.into_iter().enumerate() {
        let dir = tempfile::TempDir::new().unwrap();
        // Once is enough for what takes long.
        let with_many = u64::from(n == 0);
        assert!(run(&before, "mount", dir.path(), with_many).success(), "{before:?}");
    }
}

fn clear(store: &Store) {
    let ids = store.driver.layer_dirs().unwrap();
    let mut removed = store.driver.remove(&ids[0]).unwrap();
    for id in &ids[1..] {
        removed.add(id).unwrap();
    }
    removed.delete().unwrap();
    store.assert_tidy();
}

/// Mounts in this one way, of which the kernel must be capable.
fn mount(
    store: &Store,
    how: How,
    top: &LayerId,
    target: &Path,
    options: &MountOptions,
) -> Result<(), MountError> {
    store.driver.mount_by(&[how], top, target, options)
}

fn read_only(store: &Store, target: &Path, how: How) {
    let ids = store.chain(3);
    mount(store, how, &ids[1], target, &MountOptions::read_only()).unwrap();
    assert_eq!(super::store::names(target), [file_of(&ids[0]), file_of(&ids[1])]);
    let denied = fs::write(target.join("new"), "").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read_to_string(target.join(file_of(&ids[0]))).unwrap(), file_of(&ids[0]));

    let using = store.driver.mounts_using().unwrap();
    assert_eq!(using.keys().cloned().collect::<Vec<_>>(), ids[..2]);
    assert_eq!(using[&ids[0]], [target]);
    let error = store.driver.remove(&ids[0]).unwrap_err();
    assert!(matches!(&error, RemoveError::Mounted { at, .. } if at == target), "{error}");
    store.assert_whole(&ids[0]);

    let held = fs::File::open(target.join(file_of(&ids[0]))).unwrap();
    assert!(matches!(unmount(target), Err(UnmountError::Busy(_))));
    drop(held);
    unmount(target).unwrap();
    assert_eq!(store.driver.mounts_using().unwrap().len(), 0);
    clear(store);
}

fn single(store: &Store, target: &Path, how: How) {
    let ids = store.chain(1);
    mount(store, how, &ids[0], target, &MountOptions::read_only()).unwrap();
    assert_eq!(super::store::names(target), [file_of(&ids[0])]);
    assert_eq!(store.driver.mounts_using().unwrap().len(), 1);
    unmount(target).unwrap();
    clear(store);
}

/// What is mounted elsewhere is mounted, but not at home.
fn at_home(store: &Store, target: &Path) {
    let ids = store.chain(2);
    let home = store.overlay(&ids[1]).join("merged");
    let read_only = MountOptions::read_only();
    store.driver.mount(&ids[0], target, &read_only).unwrap();
    assert_eq!(store.driver.mounted_at_home().unwrap(), BTreeMap::new());
    store.driver.mount(&ids[1], &home, &read_only).unwrap();
    let found = store.driver.mounted_at_home().unwrap();
    assert_eq!(found, BTreeMap::from([(ids[1].clone(), home.clone())]));
    unmount(&home).unwrap();
    unmount(target).unwrap();
    clear(store);
}

/// podman mounts the driver's directory on itself while it runs: a driver that was opened
/// in that time holds a mount that is gone.
fn podman_comes_and_goes(store: &Store, target: &Path) {
    let ids = store.chain(2);
    let home = store.overlay("");
    rustix::mount::mount_bind(&home, &home).unwrap();
    let driver = Driver::open(fs::File::open(&store.root).unwrap()).unwrap();
    rustix::mount::unmount(&home, rustix::mount::UnmountFlags::DETACH).unwrap();
    let options = MountOptions::read_only();
    let stale = driver.mount_by(&[How::Handles], &ids[1], target, &options);
    assert!(stale.is_err() && !driver.is_current().unwrap(), "the mount is not gone: {stale:?}");
    driver.mount(&ids[1], target, &options).unwrap();
    assert_eq!(super::store::names(target).len(), 2);
    unmount(target).unwrap();
    clear(store);
}

/// A mount that is left in a copy of our namespace alone: an overlay elsewhere, which its
/// options betray; something in a layer's directory; and that with another path than here.
fn in_another_namespace(store: &Store, root: &Path, target: &Path) {
    let ids = store.chain(3);
    let inside = store.overlay(&ids[1]).join("merged");
    fs::create_dir_all(&inside).unwrap();
    let read_only = MountOptions::read_only();
    let bind = || rustix::mount::mount_bind(target, &inside).unwrap();
    let overlay = || store.driver.mount(&ids[1], target, &read_only).unwrap();
    let ways: [(&dyn Fn(), _, _); 3] = [
        (&overlay, target, "true"),
        (&bind, &inside, "true"),
        (&bind, &inside, "mount --rbind \"$0\" /mnt && umount \"$1\""),
    ];
    for (mount, point, script) in ways {
        mount();
        let mut other = Command::new("unshare")
            .args(["--mount", "sh", "-c", &format!("{script} && echo && read end")])
            .args([root, point])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = other.stdout.take().unwrap().read(&mut [0]).unwrap();
        unmount(point).unwrap();
        let here = store.driver.mounts_using().unwrap();
        let anywhere = store.driver.layers_mounted_anywhere().unwrap();
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!((ready, here.len()), (1, 0), "{script}");
        assert_eq!(anywhere, BTreeSet::from([ids[0].clone(), ids[1].clone()]), "{script}");
        assert_eq!(store.driver.layers_mounted_anywhere().unwrap(), BTreeSet::new());
    }
    clear(store);
}

fn writable_mount(store: &Store, target: &Path, how: How, writable: &Writable) {
    let ids = store.chain(2);
    let options = MountOptions::writable(writable.clone());
    mount(store, how, &ids[1], target, &options).unwrap();
    fs::write(target.join("new"), "n").unwrap();
    fs::remove_file(target.join(file_of(&ids[0]))).unwrap();
    assert_eq!(super::store::names(target), [file_of(&ids[1]), "new".into()]);
    assert_eq!(store.driver.mounts_using().unwrap().len(), 2);
    unmount(target).unwrap();
    // The layers are as they were.
    store.assert_whole(&ids[0]);
    assert_eq!(super::store::names(&writable.upper), [file_of(&ids[0]), "new".into()]);
    for name in super::store::names(&writable.upper) {
        fs::remove_file(writable.upper.join(name)).unwrap();
    }
    clear(store);
}

/// More layers than fit into a page, by whatever name.
fn many(store: &Store, target: &Path) {
    let ids = store.chain(200);
    for (how, layers) in [(How::Handles, 200), (How::Paths, 200), (How::Text, 120)] {
        let top = &ids[layers - 1];
        mount(store, how, top, target, &MountOptions::read_only()).unwrap();
        assert_eq!(super::store::names(target).len(), layers);
        assert_eq!(store.driver.mounts_using().unwrap().len(), layers);
        let refused = store.driver.remove(&ids[0]);
        assert!(matches!(refused, Err(RemoveError::Mounted { .. })));
        unmount(target).unwrap();
    }
    let read_only = MountOptions::read_only();
    let error = mount(store, How::Text, &ids[179], target, &read_only).unwrap_err();
    assert!(matches!(error, MountError::TooManyLayers { layers: 180 }), "{error}");
    clear(store);
}

fn refusals(store: &Store, target: &Path) {
    let ids = store.chain(2);
    let missing = store.driver.mount(&id(99), target, &MountOptions::read_only());
    assert!(matches!(missing, Err(MountError::Fs(e)) if e.path.ends_with(id(99).as_str())));

    let nowhere = target.join("missing");
    let error = store.driver.mount(&ids[1], &nowhere, &MountOptions::read_only()).unwrap_err();
    assert!(matches!(&error, MountError::Fs(e) if e.path == nowhere), "{error}");

    let inside = |work: &str| {
        let upper = target.parent().unwrap().join("upper2");
        fs::create_dir_all(upper.join("work")).unwrap();
        let options = MountOptions::writable(Writable { work: upper.join(work), upper });
        store.driver.mount(&ids[1], target, &options).unwrap_err()
    };
    for work in ["work", "", ".."] {
        assert!(matches!(inside(work), MountError::UnfitWork { .. }));
    }
    assert!(matches!(inside("/dev/shm"), MountError::UnfitWork { why, .. } if why.contains("one")));

    let composefs: PathBuf = store.overlay(&ids[0]).join("composefs-data");
    fs::create_dir(composefs).unwrap();
    let error = store.driver.mount(&ids[1], target, &MountOptions::read_only()).unwrap_err();
    assert!(matches!(error, MountError::Composefs(id) if id == ids[0]));

    assert!(matches!(unmount(target), Err(UnmountError::NotMounted(_))));
    clear(store);
}
