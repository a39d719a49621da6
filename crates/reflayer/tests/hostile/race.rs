//! Another process that swaps directories for links in a layer that is being made (R16).

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use reflayer::{Durability, Progress, PullOptions, Store};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use testkit::forged::{Item, Recipe, add_image, dir, file};
use testkit::layout::Layout;
use transport::OciLayout;

use crate::canary;

const ROUNDS: usize = 6;

/// Between two swaps; without it renames keep the pull from its work.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) fn trial() -> Trial {
    Trial::test("r16_a_racer_that_swaps_directories_for_links", || race().map_err(Into::into))
}

/// Pulls may fail, with an error; nothing outside may change.
fn race() -> Result<(), String> {
    let place = canary::place();
    let layout = Layout::create(&place.path().join("layout")).map_err(|e| e.to_string())?;
    let layer = Recipe::of(items()).build();
    add_image(&layout, "v1", &[layer]).map_err(|e| e.to_string())?;
    let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let racer = scope.spawn(|| swap_until(&done, place.path(), &swaps));
        let ended: Vec<bool> = (0..ROUNDS).map(|round| pull(place.path(), round).is_ok()).collect();
        done.store(true, Ordering::Relaxed);
        racer.join().map(|()| ended)
    })
    .map_err(|_| "the racer died")?;
    canary::untouched()?;
    if swaps.load(Ordering::Relaxed) < 10 {
        return Err(format!("the racer came too late: {swaps:?} swaps"));
    }
    Ok(())
}

/// Directories of the names that stand in the canary, with names in them that do, too.
fn items() -> Vec<Item> {
    (0..100)
        .flat_map(|number| {
            let top = format!("d{number}");
            let inner = format!("{top}/directory");
            let names = [format!("{top}/file"), format!("{inner}/file"), format!("{inner}/new")];
            let files = names.map(|name| file(name, "from the layer").owner(7, 7).mode(0o777));
            [dir(&top), dir(inner)].into_iter().chain(files)
        })
        .collect()
}

fn pull(place: &Path, round: usize) -> Result<(), Failed> {
    let root = place.join(format!("root-{round}"));
    let store = Store::open(&root, &place.join("run"))?;
    let source = OciLayout::open(File::open(place.join("layout"))?, Some("v1"))?;
    let mut options = PullOptions::default();
    options.full = round % 2 == 1;
    options.durability = Durability::Volatile;
    let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
    store.pull(&source, &"oci:layout:v1".parse()?, &options, &quiet)?;
    Ok(())
}

/// Puts links to the canary in the place of directories of layers, and takes them away again.
fn swap_until(done: &AtomicBool, place: &Path, swaps: &AtomicU64) {
    let link = place.join("link");
    symlink(canary::out(), &link).expect("it is new");
    while !done.load(Ordering::Relaxed) {
        for directory in staged(place) {
            let swapped = || renameat_with(CWD, &link, CWD, &directory, RenameFlags::EXCHANGE);
            if swapped().is_ok() {
                swaps.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
                // If it was moved on meanwhile, the link stays there, and another is made.
                if swapped().is_err() || !link.is_symlink() {
                    drop(fs::remove_dir_all(&link));
                    drop(symlink(canary::out(), &link));
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Directories of layers that are being made.
fn staged(place: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let slots = list(place)
        .into_iter()
        .filter(|root| root.file_name().is_some_and(|name| begins(name, "root-")))
        .flat_map(|root| list(&root.join("overlay/staging")));
    let trees = slots.map(|slot| slot.join("layer/diff"));
    trees.flat_map(|tree| list(&tree)).filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

fn begins(name: &std::ffi::OsStr, with: &str) -> bool {
    let name: OsString = name.to_owned();
    name.to_string_lossy().starts_with(with)
}
