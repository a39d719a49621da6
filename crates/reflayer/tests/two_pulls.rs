//! Two pulls of one image into one store, side by side and one after the other.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use reflayer::{BuildOptions, LayerWay, Progress, PullError, PullOptions, PullReport, Store};
use storage_core::{BlobDigest, Digest, Durability, RangeSource};
use testkit::kill::calls;
use transport::{ImageSource, LayoutWriter, OciLayout, Platform, ResolvedImage, TransportError};

/// A layout that says when the first blob is opened, and goes on when it is told to.
struct Gate {
    layout: OciLayout,
    opened: Mutex<Option<Sender<()>>>,
    go_on: Mutex<Receiver<()>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl ImageSource for Gate {
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError> {
        self.layout.resolve(platform)
    }

    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError> {
        if let Some(opened) = self.opened.lock().unwrap().take() {
            opened.send(()).unwrap();
            // An error means that the test has failed already.
            let _failed = self.go_on.lock().unwrap().recv();
        }
        self.layout.blob(digest, size)
    }
}

/// A layout whose blobs turn out to be missing once the gate has been passed.
#[derive(Debug)]
struct Failing(Gate);

impl ImageSource for Failing {
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError> {
        self.0.resolve(platform)
    }

    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError> {
        drop(self.0.blob(digest, size)?);
        self.0.layout.blob(&BlobDigest::from(Digest::of(b"missing")), size)
    }
}

/// Says once that the pull waits for another.
struct SaysThatItWaits(Mutex<Option<Sender<()>>>);

impl Progress for SaysThatItWaits {
    fn waiting(&self, index: usize) {
        assert_eq!(index, 0);
        if let Some(sender) = self.0.lock().unwrap().take() {
            sender.send(()).unwrap();
        }
    }
}

type AnyProgress = Arc<dyn Progress + Send + Sync>;

fn quiet() -> AnyProgress {
    Arc::new(())
}

fn says_that_it_waits(to: Sender<()>) -> AnyProgress {
    Arc::new(SaysThatItWaits(Mutex::new(Some(to))))
}

/// An image in a layout, and a place for a store.
struct World {
    at: PathBuf,
    /// Removes it, but for a process that only borrows it.
    _own: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tree", "layout"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("tree/file"), vec![7; 100_000]).unwrap();
        let layout = LayoutWriter::create(File::open(dir.path().join("layout")).unwrap()).unwrap();
        let mut options = BuildOptions::default();
        options.tag = Some("v1".into());
        let tree = File::open(dir.path().join("tree")).unwrap();
        reflayer::build_image(tree, &layout, &options).unwrap();
        Self { at: dir.path().to_owned(), _own: Some(dir) }
    }

    fn path(&self) -> &Path {
        &self.at
    }

    /// As another process would open it.
    fn store(&self) -> Store {
        Store::open(&self.path().join("root"), &self.path().join("run")).unwrap()
    }

    fn layout(&self) -> OciLayout {
        OciLayout::open(File::open(self.path().join("layout")).unwrap(), Some("v1")).unwrap()
    }

    fn gate(&self) -> (Gate, Receiver<()>, Sender<()>) {
        let ((opened, is_open), (go, go_on)) = (channel(), channel());
        let opened = Mutex::new(Some(opened));
        (Gate { layout: self.layout(), opened, go_on: Mutex::new(go_on) }, is_open, go)
    }

    fn pull(
        &self,
        source: &dyn ImageSource,
        patience: Duration,
        progress: &AnyProgress,
    ) -> Result<PullReport, PullError> {
        let mut options = PullOptions::default();
        (options.name, options.patience) = (Some("localhost/app:v1".into()), patience);
        let reference = "oci:layout:v1".parse().unwrap();
        self.store().pull(source, &reference, &options, progress)
    }

    /// How often a pull in a process of its own flushes the filesystem.
    fn flushes(&self, durability: Durability) -> usize {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_pull_flushes_what_it_relies_on"]);
        command.env(PLACE, self.path()).stdout(Stdio::null());
        if durability == Durability::Volatile {
            command.env(VOLATILE, "1");
        }
        let calls = calls(command).unwrap();
        calls.iter().filter(|call| call.name() == "syncfs").count()
    }

    /// Nothing of either pull is left but the image.
    fn assert_clean(&self) {
        let store = self.store();
        assert_eq!(store.images().unwrap().len(), 1);
        assert_eq!(store.check(reflayer::CheckLevel::Content).unwrap(), []);
        let count = |path: &str| fs::read_dir(self.path().join(path)).unwrap().count();
        assert_eq!(count("run/reflayer-blobs"), 1, "the mutex");
        assert_eq!(count("run/reflayer-pulls"), 1, "the mutex");
        assert_eq!(count("root/overlay/staging"), 0);
    }
}

const LONG: Duration = Duration::from_mins(10);

#[test]
fn the_second_pull_takes_what_the_first_has_brought() {
    let world = World::new();
    let (gate, is_open, go) = world.gate();
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| world.pull(&gate, LONG, &quiet()));
        is_open.recv().unwrap();
        let waits = says_that_it_waits(go);
        let second = world.pull(&world.layout(), LONG, &waits).unwrap();
        (first.join().unwrap().unwrap(), second)
    });
    assert_eq!(first.layers[0].path, LayerWay::Partial);
    assert_eq!(second.layers[0].path, LayerWay::Present);
    assert_eq!(second.layers[0].reason, "another pull brought it meanwhile");
    assert_eq!(second.bytes.fetched, 0);
    assert_eq!(first.image_id, second.image_id);
    world.assert_clean();
}

#[test]
fn the_second_pull_goes_on_when_the_first_hangs() {
    let world = World::new();
    let (gate, is_open, go) = world.gate();
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| world.pull(&gate, LONG, &quiet()));
        is_open.recv().unwrap();
        let patience = Duration::from_millis(50);
        let second = world.pull(&world.layout(), patience, &quiet()).unwrap();
        go.send(()).unwrap();
        (first.join().unwrap().unwrap(), second)
    });
    assert_eq!(second.layers[0].path, LayerWay::Partial);
    let note = "another pull was at it, but did not move for 0.05 s";
    assert_eq!(second.layers[0].notes, [note]);
    assert_eq!(first.image_id, second.image_id);
    world.assert_clean();
}

#[test]
fn the_second_pull_brings_what_the_first_failed_to() {
    let world = World::new();
    let (gate, is_open, go) = world.gate();
    let second = std::thread::scope(|scope| {
        let first = scope.spawn(|| world.pull(&Failing(gate), LONG, &quiet()));
        is_open.recv().unwrap();
        let waits = says_that_it_waits(go);
        let second = world.pull(&world.layout(), LONG, &waits).unwrap();
        assert!(first.join().unwrap().is_err());
        second
    });
    assert_eq!((second.layers[0].path, &*second.layers[0].notes), (LayerWay::Partial, &[][..]));
    world.assert_clean();
}

/// Where such a process pulls, and whether it flushes nothing.
const PLACE: &str = "TWO_PULLS_PLACE";
const VOLATILE: &str = "TWO_PULLS_VOLATILE";

#[test]
fn a_pull_flushes_what_it_relies_on() {
    if let Some(at) = std::env::var_os(PLACE) {
        let world = World { at: at.into(), _own: None };
        let mut options = PullOptions::default();
        if std::env::var_os(VOLATILE).is_some() {
            options.durability = Durability::Volatile;
        }
        let reference = "oci:layout:v1".parse().unwrap();
        world.store().pull(&world.layout(), &reference, &options, &quiet()).unwrap();
        return;
    }
    let world = World::new();
    assert_eq!(world.flushes(Durability::Volatile), 0);
    // The layers are there, and nobody knows whether they are on disk.
    assert_eq!(world.flushes(Durability::Durable), 1);
    assert_eq!(world.flushes(Durability::Volatile), 0);
    assert!(World::new().flushes(Durability::Durable) > 0, "new layers are flushed");
}
