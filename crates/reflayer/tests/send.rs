//! Images on their way out: converted between layouts, pushed from a store.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use reflayer::{
    Progress, PullOptions, SendAction, SendError, SendOptions, SendProgress, SendReport,
};
use reflayer::{Store, convert};
use storage_core::{DiffId, Digest, Entry, EntryKind, RangeReader, Time};
use tarball::{TarWriter, WriterOptions};
use testkit::causes::chain;
use transport::{ImageSource as _, LayoutWriter, ManifestDescriptor, OciLayout, Options, Platform};
use transport::{Reference, ResolvedImage, StoredBlob, media_type, open_target};

fn entry(name: &str, size: usize) -> Entry {
    Entry {
        name: name.as_bytes().into(),
        kind: EntryKind::Regular,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size: size as u64,
        mtime: Time::EPOCH,
        atime: None,
        ctime: None,
        xattrs: vec![],
    }
}

/// A tar of files with these names, of whose contents `seed` is a part.
fn tar(seed: usize, names: &[&str]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
    for (number, name) in names.iter().enumerate() {
        let content = format!("{seed} {number} ").repeat(20_000);
        tar.entry(&entry(name, content.len()), content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

/// A PAX header for all entries that follow, and then a tar.
fn with_global_header(tar: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 1024];
    header[..6].copy_from_slice(b"global");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(b"00000000013\0");
    header[156] = b'g';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[512..523].copy_from_slice(b"11 foo=bar\n");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    [&header, tar].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn layout(&self, name: &str) -> LayoutWriter {
        fs::create_dir_all(self.path(name)).unwrap();
        LayoutWriter::create(File::open(self.path(name)).unwrap()).unwrap()
    }

    /// An image of gzip layers in the layout `gzip`, with the media types of Docker.
    fn put(&self, tars: &[Vec<u8>]) -> Reference {
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
        self.put_claiming(tars, &diff_ids)
    }

    /// The same with any `DiffID`s in its config.
    fn put_claiming(&self, tars: &[Vec<u8>], diff_ids: &[Digest]) -> Reference {
        let layout = self.layout("gzip");
        let diff_ids: Vec<_> = diff_ids.iter().map(|diff_id| format!("\"{diff_id}\"")).collect();
        // Spaces and a field that nobody knows: these bytes are the image's identity.
        let config = format!(
            r#"{{ "odd":1, "rootfs":{{"type":"layers","diff_ids":[{}]}} }}"#,
            diff_ids.join(",")
        );
        let config = layout.put_bytes(config.as_bytes()).unwrap();
        let layer = |tar: &Vec<u8>| {
            let StoredBlob { digest, size } = layout.put_bytes(&gzip(tar)).unwrap();
            format!(
                r#"{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest":"{digest}","size":{size},
                "annotations":{{"containerd.io/snapshot/stargz/toc.digest":"x","note":"kept"}}}}"#
            )
        };
        let layers: Vec<_> = tars.iter().map(layer).collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},
            "layers":[{}],"annotations":{{"of":"the image"}}}}"#,
            media_type::DOCKER_MANIFEST,
            media_type::DOCKER_CONFIG,
            config.digest,
            config.size,
            layers.join(","),
        );
        let manifest = layout.put_bytes(manifest.as_bytes()).unwrap();
        let entry = ManifestDescriptor::new(media_type::DOCKER_MANIFEST, manifest);
        layout.set_manifest(Some("v1"), &entry).unwrap();
        self.reference("gzip")
    }

    fn reference(&self, name: &str) -> Reference {
        format!("oci:{}:v1", self.path(name).display()).parse().unwrap()
    }

    fn resolve(&self, name: &str) -> ResolvedImage {
        self.open(name).resolve(&Platform::of_machine()).unwrap()
    }

    fn open(&self, name: &str) -> OciLayout {
        OciLayout::open(File::open(self.path(name)).unwrap(), Some("v1")).unwrap()
    }

    fn options(&self) -> SendOptions {
        fs::create_dir_all(self.path("tmp")).unwrap();
        SendOptions::new(self.path("tmp"))
    }

    fn convert(&self, from: &Reference, to: &str) -> Result<SendReport, SendError> {
        let source = transport::open(from, &Options::default()).unwrap();
        let target = open_target(&self.reference(to), None, &Options::default()).unwrap();
        convert(&*source, target, &self.options(), &quiet())
    }

    fn push(&self, image: &str, to: &str) -> Result<SendReport, SendError> {
        let target = open_target(&self.reference(to), None, &Options::default()).unwrap();
        self.store().push(image, target, &self.options(), &quiet())
    }

    fn store(&self) -> Store {
        Store::open(&self.path("root"), &self.path("run")).unwrap()
    }

    fn pull(&self, reference: &Reference) {
        let source = transport::open(reference, &Options::default()).unwrap();
        let mut options = PullOptions::default();
        options.name = Some("localhost/app:v1".into());
        let progress: Arc<dyn Progress + Send + Sync> = Arc::new(());
        self.store().pull(&*source, reference, &options, &progress).unwrap();
    }

    /// The decoded layers of an image in a layout.
    fn tars(&self, name: &str) -> Vec<Vec<u8>> {
        let layout = self.open(name);
        let layers = self.resolve(name).layers;
        let decoded = layers.iter().map(|layer| {
            let blob = layout.blob(&layer.digest, layer.size).unwrap();
            zstd::decode_all(RangeReader::new(&*blob, 0..layer.size)).unwrap()
        });
        decoded.collect()
    }

    fn is_clean(&self) -> bool {
        fs::read_dir(self.path("tmp")).unwrap().next().is_none()
    }
}

fn quiet() -> Arc<dyn SendProgress> {
    Arc::new(())
}

fn actions(report: &SendReport) -> Vec<SendAction> {
    report.layers.iter().map(|layer| layer.action).collect()
}

#[test]
fn an_image_of_docker_becomes_one_that_is_pulled_by_its_toc() {
    let world = World::new();
    let tars = [tar(1, &["a", "b"]), tar(2, &["c"])];
    let source = world.put(&tars);
    let report = world.convert(&source, "out").unwrap();
    assert_eq!(actions(&report), [SendAction::Written; 2]);
    assert!(world.is_clean());

    let (old, new) = (world.resolve("gzip"), world.resolve("out"));
    assert_eq!(new.config, old.config, "byte for byte, so the image keeps its id");
    assert_eq!(report.image_id.as_str(), new.config.digest.digest().hex());
    assert_eq!(report.digest, new.manifest.digest);
    assert_eq!(new.manifest.media_type, media_type::OCI_MANIFEST);
    let manifest = String::from_utf8(new.manifest.bytes.clone()).unwrap();
    assert!(manifest.contains(r#""annotations":{"of":"the image"}"#), "{manifest}");
    assert!(manifest.contains(media_type::OCI_CONFIG), "{manifest}");
    for (layer, tar) in new.layers.iter().zip(&tars) {
        assert_eq!(layer.media_type, media_type::OCI_LAYER_ZSTD);
        assert_eq!(layer.annotations["note"], "kept");
        assert!(!layer.annotations.contains_key("containerd.io/snapshot/stargz/toc.digest"));
        assert_eq!(layer.diff_id, DiffId::from(Digest::of(tar)));
    }
    assert_eq!(world.tars("out"), tars);
    let sizes: Vec<_> = report.layers.iter().map(|layer| layer.uncompressed.unwrap()).collect();
    assert_eq!(sizes, tars.map(|tar| tar.len() as u64));

    let again = world.convert(&source, "out").unwrap();
    assert_eq!((actions(&again), again.sent), (vec![SendAction::Present; 2], 0));
    assert_eq!(again.digest, report.digest, "the same bytes each time");

    // By its TOC, into a store.
    world.pull(&world.reference("out"));
    let layers = world.store().layers().unwrap();
    assert!(layers.iter().all(|layer| layer.toc_digest.is_some()), "{layers:?}");
}

#[test]
fn what_is_chunked_stays_what_it_is() {
    let world = World::new();
    let source = world.put(&[tar(1, &["a", "b"]), tar(2, &["c"])]);
    let first = world.convert(&source, "one").unwrap();
    let second = world.convert(&world.reference("one"), "two").unwrap();
    assert_eq!(actions(&second), [SendAction::Copied; 2]);
    assert_eq!((second.digest, second.sent), (first.digest, first.size), "to the last byte");
    let third = world.convert(&world.reference("one"), "two").unwrap();
    assert_eq!(actions(&third), [SendAction::Present; 2]);
}

#[test]
fn a_lie_ends_the_conversion_and_the_name_means_what_it_meant() {
    let world = World::new();
    let good = world.put(&[tar(1, &["a"])]);
    let before = world.convert(&good, "out").unwrap().digest;
    let tars = [tar(3, &["a"]), tar(4, &["b"])];
    let lying = world.put_claiming(&tars, &[Digest::of(&tars[0]), Digest::of(b"another")]);
    let error = chain(&world.convert(&lying, "out").unwrap_err());
    assert!(error.contains("the image's config says"), "{error}");
    assert_eq!(world.resolve("out").manifest.digest, before);

    let source = world.put(&tars);
    let blob = world.resolve("gzip").layers[1].digest.digest().hex();
    let path = world.path("gzip/blobs/sha256").join(blob);
    let mut bytes = fs::read(&path).unwrap();
    // A byte of the file's header that decoders skip: only the blob's digest can tell.
    bytes[9] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = chain(&world.convert(&source, "out").unwrap_err());
    assert!(error.contains("content has digest"), "{error}");
    assert_eq!(world.resolve("out").manifest.digest, before);
    assert!(world.is_clean());
}

#[test]
fn a_tar_that_no_toc_can_describe_stays_as_it_is() {
    let world = World::new();
    let odd = [with_global_header(&tar(1, &["a"])), tar(2, &["b", "b"]), tar(3, &["c"])];
    let report = world.convert(&world.put(&odd), "out").unwrap();
    assert_eq!(actions(&report), [SendAction::Copied, SendAction::Copied, SendAction::Written]);
    assert!(report.layers[0].reason.contains("global header"), "{report:?}");
    assert!(report.layers[1].reason.contains("two entries named"), "{report:?}");
    assert!(report.layers[2].reason.is_empty());
    let (old, new) = (world.resolve("gzip").layers, world.resolve("out").layers);
    for index in 0..2 {
        assert_eq!(new[index].digest, old[index].digest);
        assert_eq!(new[index].media_type, media_type::OCI_LAYER_GZIP);
    }
    // From a store, of which the second cannot come again.
    world.pull(&world.put(&odd[..1]));
    let report = world.push("app:v1", "pushed").unwrap();
    assert_eq!(actions(&report), [SendAction::Written]);
    assert!(report.layers[0].reason.contains("global header"), "{report:?}");
    assert_eq!(world.tars("pushed"), odd[..1]);
    assert!(world.resolve("pushed").layers[0].annotations.is_empty());
}

#[test]
fn a_store_gives_what_was_put_into_it() {
    let world = World::new();
    let tars = [tar(1, &["a", "b"]), tar(2, &["c"])];
    let source = world.put(&tars);
    world.pull(&source);
    let pushed = world.push("localhost/app:v1", "pushed").unwrap();
    assert_eq!(actions(&pushed), [SendAction::Written; 2]);
    assert_eq!(world.tars("pushed"), tars);
    assert_eq!(world.resolve("pushed").config, world.resolve("gzip").config);
    let converted = world.convert(&source, "converted").unwrap();
    let digests = |report: &SendReport| report.layers.iter().map(|l| l.digest).collect::<Vec<_>>();
    assert_eq!(digests(&pushed), digests(&converted), "a layer's blob does not tell its way");
    let sizes: Vec<_> = pushed.layers.iter().map(|layer| layer.uncompressed.unwrap()).collect();
    assert_eq!(sizes, tars.map(|tar| tar.len() as u64));
    assert!(world.is_clean());
}

#[test]
fn a_layer_is_not_read_where_its_blob_is_known_to_be() {
    let world = World::new();
    world.convert(&world.put(&[tar(1, &["a", "b"])]), "there").unwrap();
    world.pull(&world.reference("there"));
    let layer = &world.store().layers().unwrap()[0];
    let file = world.path("root/overlay").join(layer.id.as_str()).join("diff/a");
    fs::remove_file(&file).unwrap();
    let pushed = world.push("app:v1", "there").unwrap();
    assert_eq!(actions(&pushed), [SendAction::Present]);
    assert_eq!(pushed.digest, world.resolve("there").manifest.digest);

    let error = chain(&world.push("app:v1", "elsewhere").unwrap_err());
    assert!(error.contains("read \"a\""), "{error}");
    assert!(world.is_clean());
    let error = chain(&world.push("nothing", "elsewhere").unwrap_err());
    assert!(error.contains("no image is called"), "{error}");
}

#[test]
fn another_image_on_the_same_layers_knows_their_blobs() {
    let world = World::new();
    let tars = [tar(1, &["a", "b"]), tar(2, &["c"])];
    world.convert(&world.put(&tars[..1]), "base").unwrap();
    let pull = |reference: &Reference, name: &str| {
        let source = transport::open(reference, &Options::default()).unwrap();
        let mut options = PullOptions::default();
        options.name = Some(name.into());
        let progress: Arc<dyn Progress + Send + Sync> = Arc::new(());
        world.store().pull(&*source, reference, &options, &progress).unwrap();
    };
    pull(&world.reference("base"), "registry.example/base:v1");
    // Its manifest has other blobs, as one would that was built upon the base.
    pull(&world.put(&tars), "localhost/app:v1");
    let names = world.store().related_names("app:v1").unwrap();
    assert_eq!(names[..2], ["localhost/app:v1", "registry.example/base:v1"]);

    let base = world.store().layers().unwrap().into_iter().find(|layer| layer.parent.is_none());
    let tree = world.path("root/overlay").join(base.unwrap().id.as_str()).join("diff");
    fs::remove_file(tree.join("a")).unwrap();
    let pushed = world.push("localhost/app:v1", "base").unwrap();
    assert_eq!(actions(&pushed), [SendAction::Present, SendAction::Written]);
    assert_eq!(world.tars("base"), tars);
}

/// Notes the last that it hears of each layer.
#[derive(Default)]
struct Notes(Mutex<Vec<[u64; 4]>>);

impl SendProgress for Notes {
    fn layers(&self, layers: &[(DiffId, u64)]) {
        self.0.lock().unwrap().resize(layers.len(), [0; 4]);
    }

    fn read(&self, index: usize, bytes: u64, expected: u64) {
        self.0.lock().unwrap()[index][..2].copy_from_slice(&[bytes, expected]);
    }

    fn sent(&self, index: usize, bytes: u64, size: u64) {
        self.0.lock().unwrap()[index][2..].copy_from_slice(&[bytes, size]);
    }
}

#[test]
fn progress_is_told_to_the_end() {
    let world = World::new();
    let source = world.put(&[tar(1, &["a", "b"]), tar(2, &["c"])]);
    let notes = Arc::new(Notes::default());
    let progress: Arc<dyn SendProgress> = notes.clone();
    let opened = transport::open(&source, &Options::default()).unwrap();
    let target = open_target(&world.reference("out"), None, &Options::default()).unwrap();
    convert(&*opened, target, &world.options(), &progress).unwrap();
    world.pull(&source);
    let target = open_target(&world.reference("pushed"), None, &Options::default()).unwrap();
    let of_convert = notes.0.lock().unwrap().clone();
    world.store().push("app:v1", target, &world.options(), &progress).unwrap();
    let of_push = notes.0.lock().unwrap().clone();
    for [read, expected, sent, size] in of_convert.into_iter().chain(of_push) {
        assert!(read > 0 && sent > 0);
        assert_eq!((read, sent), (expected, size));
    }
}

#[test]
fn where_there_is_no_room_the_place_is_named() {
    let world = World::new();
    let source = transport::open(&world.put(&[tar(1, &["a"])]), &Options::default()).unwrap();
    let target = open_target(&world.reference("out"), None, &Options::default()).unwrap();
    let options = SendOptions::new(Path::new("/nonexistent/tmp"));
    let error = chain(&convert(&*source, target, &options, &quiet()).unwrap_err());
    assert!(error.contains("temporary file in /nonexistent/tmp"), "{error}");
    let mut nothing = String::new();
    // The layout is there, and has no image.
    File::open(world.path("out/index.json")).unwrap().read_to_string(&mut nothing).unwrap();
    assert!(nothing.contains(r#""manifests":[]"#), "{nothing}");
}
