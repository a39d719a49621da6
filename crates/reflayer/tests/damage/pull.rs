use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use reflayer::{CheckLevel, LayerWay, PullOptions, Store};
use storage_core::{BlobDigest, Digest, RangeSource};
use testkit::kill::{self, Errno, Watch};
use transport::{ImageSource, OciLayout, Platform, ResolvedImage, TransportError};

use crate::world::{FORMS, Form, World};

#[test]
fn r7_a_layer_without_its_tree_is_pulled_again() {
    for form in FORMS {
        let world = World::new(form);
        fs::remove_dir_all(world.file("")).unwrap();
        let report = world.pull("v1");
        assert_ne!(report.layers[0].path, LayerWay::Present);
        assert_eq!(world.found(CheckLevel::Content), [""; 0], "{form:?}");
    }
}

#[test]
fn r7_a_layer_without_its_tar_split_takes_its_files_from_itself() {
    let world = World::new(Form::Chunked);
    let layer = world.layer("v1");
    fs::remove_file(world.path(&format!("root/overlay-layers/{layer}.tar-split.gz"))).unwrap();
    let report = world.pull("v1");
    assert_eq!(report.layers[0].path, LayerWay::Partial);
    assert_eq!(report.bytes.written, 0, "{report:?}");
    assert!(report.bytes.reused_files > 150_000, "{report:?}");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

#[test]
fn r7_a_pull_leaves_a_whole_layer_alone() {
    let world = World::new(Form::Chunked);
    let tree = fs::metadata(world.file("")).unwrap();
    let report = world.pull("v1");
    assert_eq!(report.layers[0].path, LayerWay::Present);
    assert_eq!(fs::metadata(world.file("")).unwrap().ino(), tree.ino());
}

#[test]
fn r7_a_layer_below_others_is_replaced_under_them() {
    let world = World::new(Form::Plain);
    world.build_two("two");
    world.pull("two");
    let layers = world.layers("two");
    let lower =
        |name| fs::read_to_string(world.path("root/overlay").join(&layers[1]).join(name)).unwrap();
    let link =
        || fs::read_to_string(world.path("root/overlay").join(&layers[0]).join("link")).unwrap();
    fs::remove_dir_all(world.path("root/overlay").join(&layers[0])).unwrap();
    let report = world.pull("two");
    assert_eq!(report.layers[1].path, LayerWay::Present);
    assert_eq!(lower("lower"), format!("l/{}", link()));
    assert_eq!(lower("lower-layers"), layers[0]);
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    fs::remove_file(world.path("root/overlay").join(&layers[1]).join("lower-layers")).unwrap();
    fs::write(world.path("root/overlay").join(&layers[1]).join("lower"), "l/x").unwrap();
    world.pull("two");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

#[test]
fn r7_documents_of_an_image_are_written_again() {
    let world = World::new(Form::Chunked);
    let images = world.store().images().unwrap();
    let manifest = world.path("root/overlay-images").join(images[0].id.as_str()).join("manifest");
    fs::write(&manifest, "{}").unwrap();
    assert_eq!(world.found(CheckLevel::Records).len(), 1);
    world.pull("v1");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

/// Where a process of its own pulls, and from which layout.
const PLACE: &str = "DAMAGE_PULL_PLACE";
const LAYOUT: &str = "DAMAGE_PULL_LAYOUT";

#[test]
fn r3_a_replaced_layer_is_marked_before_anything_of_it_moves() {
    if let (Some(at), Some(layout)) = (std::env::var_os(PLACE), std::env::var_os(LAYOUT)) {
        let at = Path::new(&at);
        let store = Store::open(&at.join("root"), &at.join("run")).unwrap();
        let layout = OciLayout::open(File::open(layout).unwrap(), Some("v1")).unwrap();
        let (reference, quiet) = ("oci:layout:v1".parse().unwrap(), Arc::new(()) as Arc<_>);
        store.pull(&layout, &reference, &PullOptions::default(), &quiet).unwrap();
        return;
    }
    let world = World::new(Form::Plain);
    let layer = world.layer("v1");
    fs::remove_file(world.path(&format!("root/overlay-layers/{layer}.tar-split.gz"))).unwrap();
    let case = || {
        let case = tempfile::tempdir_in(world.path("")).unwrap();
        let mut copy = Command::new("cp");
        assert!(
            copy.arg("-a").arg(world.path("root")).arg(case.path()).status().unwrap().success()
        );
        let mut pull = Command::new(std::env::current_exe().unwrap());
        let name = "pull::r3_a_replaced_layer_is_marked_before_anything_of_it_moves";
        pull.args(["--exact", name]).stdout(Stdio::null()).stderr(Stdio::null());
        pull.env(PLACE, case.path()).env(LAYOUT, world.path("plain"));
        (case, pull)
    };
    let (_whole, pull) = case();
    let calls = kill::calls(pull).unwrap();
    let renames = (1..).zip(&calls).filter(|(_, call)| call.name().starts_with("rename"));
    let renames: Vec<u64> = renames.map(|(number, _)| number).collect();
    assert!(renames.len() > 5, "{renames:?}");
    for number in renames {
        let (killed, pull) = case();
        kill::run_until(pull, number).unwrap();
        let said = !is_whole(&killed, &layer) || tree(&killed, &layer).is_some();
        assert!(said, "killed at call {number}: a record without its tree");

        let (failed, pull) = case();
        let old = tree(&failed, &layer);
        kill::run_failing(pull, &Watch::Changes, number..=number, Errno::ENOSPC).unwrap();
        let (whole, now) = (is_whole(&failed, &layer), tree(&failed, &layer));
        assert!(!whole || now.is_some(), "call {number} failed: a record without its tree");
        assert!(whole || now != old, "call {number} failed: the old tree has lost its record");
    }
}

/// The inode of a layer's tree.
fn tree(place: &tempfile::TempDir, layer: &str) -> Option<u64> {
    let tree = place.path().join("root/overlay").join(layer).join("diff");
    fs::metadata(tree).ok().map(|tree| tree.ino())
}

/// Whether the layer has a record that is not marked incomplete.
fn is_whole(place: &tempfile::TempDir, layer: &str) -> bool {
    let records = fs::read(place.path().join("root/overlay-layers/layers.json")).unwrap();
    let records: Vec<serde_json::Value> = serde_json::from_slice(&records).unwrap();
    let record = records.iter().find(|record| record["id"] == layer);
    record.is_some_and(|record| record["flags"]["incomplete"] != true)
}

/// Damages content and attributes; no source has to give anything for the last two.
fn damage(world: &World) {
    fs::remove_file(world.file("usr/lib/c")).unwrap();
    File::options().write(true).open(world.file("etc/d")).unwrap().set_len(100).unwrap();
    attributes_only(world);
}

fn attributes_only(world: &World) {
    fs::set_permissions(world.file("etc/short"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(world.file("extra"), "").unwrap();
}

#[test]
fn r7_a_pull_mends_damaged_files_and_says_so() {
    for form in FORMS {
        let world = World::new(form);
        let whole = fs::metadata(world.file("var/kept")).unwrap();
        damage(&world);
        let report = world.pull("v1");
        assert_eq!(report.layers[0].path, LayerWay::Present);
        assert!(report.mended.is_whole(), "{form:?} {report:#?}");
        assert!(report.mended.findings.iter().all(|mended| mended.repaired));
        let note = format!("{} damaged files mended", report.mended.findings.len());
        assert_eq!(report.layers[0].notes, [note]);
        assert_eq!(report.bytes.fetched, report.mended.fetched);
        assert!(report.layers[0].requests > 0);
        if form == Form::Chunked {
            // Two files of 40,000 random bytes.
            assert!((80_000..82_000).contains(&report.bytes.fetched), "{}", report.bytes.fetched);
        }
        assert_eq!(fs::metadata(world.file("var/kept")).unwrap().ino(), whole.ino());
        assert_eq!(world.found(CheckLevel::Content), [""; 0], "{form:?}");
        let again = world.pull("v1");
        assert_eq!((again.bytes.fetched, again.mended.findings.len()), (0, 0));
    }
}

#[test]
fn r7_a_pull_that_trusts_what_is_there_does_not_look() {
    let world = World::new(Form::Chunked);
    damage(&world);
    let mut options = PullOptions::default();
    options.trust_present = true;
    let report = world.pull_from(&world.layout("v1"), &options).unwrap();
    assert_eq!((report.bytes.fetched, report.mended.findings.len()), (0, 0));
    assert!(!world.file("usr/lib/c").exists());
}

#[test]
fn r7_a_source_without_blobs_matters_only_where_bytes_are_missing() {
    let world = World::new(Form::Chunked);
    let gone = Changing { layout: world.layout("v1"), without_blobs: true, meddle: |_: &_| {} };
    let pull = || world.pull_from(&gone, &PullOptions::default());
    assert!(pull().unwrap().mended.findings.is_empty());
    attributes_only(&world);
    // It was found sound just now.
    assert!(pull().unwrap().mended.findings.is_empty());
    world.start_anew();
    assert_eq!(pull().unwrap().mended.findings.len(), 3);
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    damage(&world);
    let error = pull().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "mend its damaged files", "{error:?}");
    // What needs no bytes is mended all the same.
    let left: Vec<_> = world.found(CheckLevel::Attributes);
    assert_eq!(left.len(), 2, "{left:?}");
    world.pull("v1");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

#[test]
fn r7_a_layer_whose_tar_split_is_cut_is_brought_again() {
    for form in FORMS {
        let world = World::new(form);
        let layer = world.layer("v1");
        let split = world.path(&format!("root/overlay-layers/{layer}.tar-split.gz"));
        for size in [0, 100] {
            File::options().write(true).open(&split).unwrap().set_len(size).unwrap();
            let report = world.pull("v1");
            assert_ne!(report.layers[0].path, LayerWay::Present, "{form:?} {size}");
            assert_eq!(world.found(CheckLevel::Content), [""; 0], "{form:?} {size}");
        }
    }
}

#[test]
fn r12_a_layer_that_is_removed_while_it_is_mended_is_brought_again() {
    let world = World::new(Form::Chunked);
    damage(&world);
    let remove = |world: &World| {
        if world.store().remove_image("localhost/app:v1", false).is_ok() {
            assert!(world.store().layers().unwrap().is_empty());
        }
    };
    let source = Changing {
        layout: world.layout("v1"),
        without_blobs: false,
        meddle: |_: &BlobDigest| remove(&world),
    };
    let report = world.pull_from(&source, &PullOptions::default()).unwrap();
    assert_eq!(report.layers[0].path, LayerWay::Partial);
    assert!(report.mended.is_whole(), "{report:#?}");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    assert_eq!(fs::read_dir(world.path("root/overlay/staging")).unwrap().count(), 0);
}

#[test]
fn r12_two_pulls_mend_what_is_damaged_once() {
    let world = World::new(Form::Chunked);
    damage(&world);
    let pull = || world.pull("v1");
    let [one, two] = std::thread::scope(|scope| {
        [scope.spawn(pull), scope.spawn(pull)].map(|pull| pull.join().unwrap())
    });
    let fetched = one.bytes.fetched + two.bytes.fetched;
    // Two files of 40,000 random bytes.
    assert!((80_000..82_000).contains(&fetched), "{one:#?} {two:#?}");
    assert_eq!(world.found(CheckLevel::Content), [""; 0]);
}

/// A layout that does something when a blob is opened.
struct Changing<F> {
    layout: OciLayout,
    without_blobs: bool,
    meddle: F,
}

impl<F> std::fmt::Debug for Changing<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changing")
    }
}

impl<F: Fn(&BlobDigest) + Send + Sync> ImageSource for Changing<F> {
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError> {
        self.layout.resolve(platform)
    }

    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError> {
        (self.meddle)(digest);
        let missing = BlobDigest::from(Digest::of(b"missing"));
        self.layout.blob(if self.without_blobs { &missing } else { digest }, size)
    }
}
