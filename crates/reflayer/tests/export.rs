//! The tar of a layer that others do things to meanwhile.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;

use reflayer::{BuildOptions, ExportError, GarbageOptions, Progress, PullOptions, Store};
use storage_core::Digest;
use tempfile::TempDir;
use transport::{LayoutWriter, OciLayout, Reference};

/// A store with one layer of a hundred files.
fn world() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["tree", "layout"] {
        fs::create_dir(at(name)).unwrap();
    }
    for number in 0..100 {
        fs::write(at("tree").join(number.to_string()), vec![7; 20_000]).unwrap();
    }
    let layout = LayoutWriter::create(File::open(at("layout")).unwrap()).unwrap();
    let mut options = BuildOptions::default();
    options.tag = Some("v1".into());
    reflayer::build_image(File::open(at("tree")).unwrap(), &layout, &options).unwrap();
    let store = Store::open(&at("root"), &at("run")).unwrap();
    let source = OciLayout::open(File::open(at("layout")).unwrap(), Some("v1")).unwrap();
    let reference: Reference = format!("oci:{}:v1", at("layout").display()).parse().unwrap();
    let mut options = PullOptions::default();
    options.name = Some("localhost/app:v1".into());
    let progress: Arc<dyn Progress + Send + Sync> = Arc::new(());
    store.pull(&source, &reference, &options, &progress).unwrap();
    (dir, store)
}

/// Takes what is written, and does something at its first byte.
struct Meanwhile<F: FnMut()> {
    written: Vec<u8>,
    act: F,
}

impl<F: FnMut()> Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.is_empty() {
            (self.act)();
        }
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_layer_that_is_removed_meanwhile_says_so() {
    let (_dir, store) = world();
    let id = store.layers().unwrap()[0].id.to_string();
    let act = || drop(store.remove_image("app:v1", false).unwrap());
    let mut out = Meanwhile { written: Vec::new(), act };
    let error = store.export(&id, &mut out).unwrap_err();
    assert!(matches!(error, ExportError::Removed(_)), "{error:?}");
    let error = store.export(&id, io::sink()).unwrap_err();
    assert!(matches!(error, ExportError::Lookup(_)), "{error:?}");
}

#[test]
fn no_lock_is_held_while_the_stream_is_written() {
    let (_dir, store) = world();
    let layer = store.layers().unwrap().remove(0);
    // Under a lock, this would wait for ever.
    let act = || drop(store.collect_garbage(GarbageOptions { all: false, dry_run: true }).unwrap());
    let mut out = Meanwhile { written: Vec::new(), act };
    let exported = store.export(layer.id.as_str(), &mut out).unwrap();
    assert_eq!(Some(exported.diff_id), layer.diff_id);
    assert_eq!(exported.diff_id, Digest::of(&out.written).into());
    assert_eq!(exported.size, out.written.len() as u64);
}

#[test]
fn an_output_that_fails_is_named() {
    let (_dir, store) = world();
    let id = store.layers().unwrap()[0].id.to_string();
    let mut small = [0; 1000];
    let error = store.export(&id, &mut small[..]).unwrap_err();
    assert!(matches!(error, ExportError::Rebuild { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "write the tar stream");
}
