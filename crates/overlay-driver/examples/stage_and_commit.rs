//! Two layers, from nothing to a list of what lies below what.
//!
//! `cargo run -p reflayer-overlay-driver --example stage_and_commit [GRAPH_ROOT]`
//! works in a temporary directory unless it is told another.

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use overlay_driver::{Driver, FilledLayer};
use rustix::fs::{Mode, OFlags, openat};
use storage_core::{DiffId, Digest, Durability, LayerId};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(root) => run(Path::new(&root)),
        None => run(tempfile::tempdir()?.path()),
    }
}

fn run(graph_root: &Path) -> Result<(), Box<dyn Error>> {
    let driver = Driver::open(File::open(graph_root)?)?;
    let found = driver.recover()?;
    println!("left by the dead: {} slots, {} temp dirs", found.slots, found.temp_dirs);

    // A store names its layers by what their tars hash to.
    let base = LayerId::of_chain(None, &DiffId::from(Digest::of(b"the tar of the first layer")));
    let next = DiffId::from(Digest::of(b"the tar of the second layer"));
    let top = LayerId::of_chain(Some(&base), &next);

    let layers = vec![
        fill(&driver, &base, None, "hello", b"from below\n")?,
        fill(&driver, &top, Some(&base), "goodbye", b"from above\n")?,
    ];
    let sealed = driver.seal(layers, Durability::Durable)?;

    // From here on a real store holds its layers lock, and has records marked incomplete.
    for (layer, (id, parent)) in sealed.into_iter().zip([(&base, None), (&top, Some(&base))]) {
        driver.commit(layer, id, parent)?.discard()?;
    }
    driver.sync_dirs()?;

    for id in [&base, &top] {
        println!("{id} lies on {:?}", driver.lowers(id)?);
    }
    Ok(())
}

/// Makes a layer of one file.
fn fill(
    driver: &Driver,
    id: &LayerId,
    parent: Option<&LayerId>,
    name: &str,
    content: &[u8],
) -> Result<FilledLayer, Box<dyn Error>> {
    let mut staged = driver.stage()?;
    staged.set_place(id, parent);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(staged.dirs().dest, name, flags, Mode::from_raw_mode(0o644))?;
    File::from(file).write_all(content)?;
    Ok(staged.finish()?)
}

#[test]
fn the_example_runs() {
    let root = tempfile::tempdir().unwrap();
    run(root.path()).unwrap();
    let overlay = root.path().join("overlay");
    assert_eq!(std::fs::read_dir(overlay.join("l")).unwrap().count(), 2);
}
