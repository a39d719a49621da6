//! An image in a layout, pulled into a store, and ways to damage it.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reflayer::{
    BuildOptions, CheckLevel, Durability, Finding, Problem, Progress, PullError, PullOptions,
    PullReport, Store,
};
use storage_core::RangeReader;
use testkit::layout::Layout;
use transport::{ImageSource, LayoutWriter, OciLayout, Platform};

/// How the layer stands in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// zstd:chunked: it comes by its TOC.
    Chunked,
    /// A plain tar: it comes whole.
    Plain,
}

pub(crate) const FORMS: [Form; 2] = [Form::Chunked, Form::Plain];

pub(crate) struct World {
    dir: tempfile::TempDir,
    form: Form,
}

/// Bytes that no compressor makes short.
fn noise(seed: u64) -> Vec<u8> {
    testkit::tree::noise(40_000, seed)
}

impl World {
    /// A store that has the image.
    pub(crate) fn new(form: Form) -> Self {
        Self::with(form, |at| {
            for (name, seed) in [("usr/bin/a", 1), ("usr/bin/b", 2), ("usr/lib/c", 3), ("etc/d", 4)]
            {
                fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
                fs::write(at.join(name), noise(seed)).unwrap();
            }
            fs::write(at.join("etc/empty"), "").unwrap();
            fs::write(at.join("etc/short"), "short\n").unwrap();
            fs::set_permissions(at.join("usr/bin/a"), Permissions::from_mode(0o4755)).unwrap();
            fs::hard_link(at.join("usr/bin/b"), at.join("usr/bin/b2")).unwrap();
            symlink("c", at.join("usr/lib/link")).unwrap();
            fs::create_dir(at.join("var")).unwrap();
            fs::write(at.join("var/kept"), noise(9)).unwrap();
        })
    }

    /// A store that has an image of little more than names.
    pub(crate) fn small(form: Form) -> Self {
        Self::with(form, |at| {
            fs::create_dir(at.join("etc")).unwrap();
            fs::write(at.join("etc/a"), noise(1)).unwrap();
            fs::write(at.join("etc/short"), "short\n").unwrap();
            symlink("short", at.join("etc/link")).unwrap();
        })
    }

    fn with(form: Form, fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir, form };
        fs::create_dir(world.path("chunked")).unwrap();
        world.build("v1", fill);
        world.pull("v1");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Builds an image and makes it known in both forms.
    pub(crate) fn build(&self, tag: &str, fill: impl FnOnce(&Path)) {
        let source = self.path(&format!("source-{tag}"));
        fs::create_dir(&source).unwrap();
        fill(&source);
        let layout = LayoutWriter::create(File::open(self.path("chunked")).unwrap()).unwrap();
        let mut options = BuildOptions::default();
        options.tag = Some(tag.into());
        reflayer::build_image(File::open(&source).unwrap(), &layout, &options).unwrap();
        let chunked =
            OciLayout::open(File::open(self.path("chunked")).unwrap(), Some(tag)).unwrap();
        let image = chunked.resolve(&Platform::of_machine()).unwrap();
        let blob = chunked.blob(&image.layers[0].digest, image.layers[0].size).unwrap();
        let mut tar = Vec::new();
        let mut reader =
            zstd::Decoder::new(RangeReader::new(&*blob, 0..image.layers[0].size)).unwrap();
        reader.read_to_end(&mut tar).unwrap();
        let tar_path = self.path(&format!("{tag}.tar"));
        fs::write(&tar_path, tar).unwrap();
        let plain = self.path("plain");
        let plain =
            if plain.exists() { Layout::open(&plain) } else { Layout::create(&plain).unwrap() };
        plain.add_image(tag, &[tar_path]).unwrap();
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path("root"), &self.path("run")).unwrap()
    }

    /// What the run root has is gone after a new start of the machine.
    pub(crate) fn start_anew(&self) {
        fs::remove_dir_all(self.path("run/reflayer-sound")).unwrap();
    }

    pub(crate) fn layout(&self, tag: &str) -> OciLayout {
        let dir = match self.form {
            Form::Chunked => "chunked",
            Form::Plain => "plain",
        };
        OciLayout::open(File::open(self.path(dir)).unwrap(), Some(tag)).unwrap()
    }

    pub(crate) fn pull(&self, tag: &str) -> PullReport {
        self.try_pull(tag).unwrap()
    }

    pub(crate) fn try_pull(&self, tag: &str) -> Result<PullReport, PullError> {
        self.try_pull_as(tag, Durability::Durable)
    }

    /// Pulls, and flushes or not.
    pub(crate) fn try_pull_as(
        &self,
        tag: &str,
        durability: Durability,
    ) -> Result<PullReport, PullError> {
        let mut options = PullOptions::default();
        options.durability = durability;
        options.name = Some(format!("localhost/app:{tag}"));
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let reference = format!("oci:layout:{tag}").parse().unwrap();
        self.store().pull(&self.layout(tag), &reference, &options, &quiet)
    }

    /// Pulls v1 from some other source, or in another way.
    pub(crate) fn pull_from(
        &self,
        source: &dyn ImageSource,
        options: &PullOptions,
    ) -> Result<PullReport, PullError> {
        pull_into(&self.store(), source, options)
    }

    /// The layers of an image, base first.
    pub(crate) fn layers(&self, tag: &str) -> Vec<String> {
        let name = format!("localhost/app:{tag}");
        let images = self.store().images().unwrap();
        let image = images.iter().find(|image| image.names.contains(&name)).unwrap();
        image.layers.iter().map(ToString::to_string).collect()
    }

    /// The layer of an image that has one.
    pub(crate) fn layer(&self, tag: &str) -> String {
        self.layers(tag).remove(0)
    }

    /// Makes a plain image of two layers, the lower one being that of v1.
    pub(crate) fn build_two(&self, tag: &str) {
        let upper = self.path("upper.tar");
        let mut tar = testkit::tar::TarWriter::new(File::create(&upper).unwrap());
        tar.file("usr/more", b"more").unwrap();
        tar.finish().unwrap();
        let tars = [self.path("v1.tar"), upper];
        Layout::open(&self.path("plain")).add_image(tag, &tars).unwrap();
    }

    /// A file in the layer of v1.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path("root/overlay").join(self.layer("v1")).join("diff").join(name)
    }

    pub(crate) fn check(&self, level: CheckLevel) -> Vec<Finding> {
        self.store().check(level).unwrap()
    }

    /// What is found, as `path: words`; whatever is no file's as it is said.
    pub(crate) fn found(&self, level: CheckLevel) -> Vec<String> {
        let say = |finding: Finding| match finding.problem {
            Problem::File { path, differs, .. } => {
                let words: Vec<_> = differs.iter().map(ToString::to_string).collect();
                format!("{path}: {}", words.join(" "))
            }
            other => other.to_string(),
        };
        self.check(level).into_iter().map(say).collect()
    }
}

/// Pulls v1 from some source into some store.
pub(crate) fn pull_into(
    store: &Store,
    source: &dyn ImageSource,
    options: &PullOptions,
) -> Result<PullReport, PullError> {
    let mut options = options.clone();
    options.name = Some("localhost/app:v1".into());
    let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
    store.pull(source, &"oci:layout:v1".parse().unwrap(), &options, &quiet)
}

/// Does something to a file and gives it and its directory the times that they had.
pub(crate) fn quietly(path: &Path, change: impl FnOnce(&Path)) {
    let times = |path: &Path| {
        let stat = path.symlink_metadata().ok()?;
        Some((stat.mtime(), stat.mtime_nsec(), path.to_owned()))
    };
    let before = [times(path), times(path.parent().unwrap())];
    change(path);
    for (seconds, nanoseconds, path) in before.into_iter().flatten() {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        if path.symlink_metadata().is_ok() {
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }
}

/// Flips one bit in the middle of a file.
pub(crate) fn flip(path: &Path) {
    quietly(path, |path| {
        let mut content = fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0x10;
        fs::write(path, content).unwrap();
    });
}
