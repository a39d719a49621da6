use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use storage_core::{EntryKind, LayerPath, RangeReader, Time};
use tarball::{Limits, TarReader};
use tempfile::{TempDir, tempdir};
use transport::{ImageSource as _, LayoutWriter, OciLayout, Platform, ResolvedImage};

use super::{BuildError, BuildOptions, BuiltImage, build_image};

/// A small tree: a directory, a file with two names, a link.
fn tree() -> TempDir {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("etc")).unwrap();
    fs::write(at("etc/motd"), "hello\n").unwrap();
    fs::hard_link(at("etc/motd"), at("etc/zwei")).unwrap();
    symlink("motd", at("etc/link")).unwrap();
    fs::create_dir(at("var")).unwrap();
    fs::write(at("var/big"), vec![7; 300_000]).unwrap();
    dir
}

fn build(dir: &Path, layout: &Path, options: &BuildOptions) -> Result<BuiltImage, BuildError> {
    let layout = LayoutWriter::create(File::open(layout).unwrap()).unwrap();
    build_image(File::open(dir).unwrap(), &layout, options)
}

fn tagged(tag: &str) -> BuildOptions {
    BuildOptions { tag: Some(tag.into()), ..BuildOptions::default() }
}

fn resolve(layout: &Path, tag: &str) -> (OciLayout, ResolvedImage) {
    let layout = OciLayout::open(File::open(layout).unwrap(), Some(tag)).unwrap();
    let image = layout.resolve(&Platform::of_machine()).unwrap();
    (layout, image)
}

/// What an entry is, and its content.
type Members = BTreeMap<String, (storage_core::Entry, Vec<u8>)>;

/// What stands in the only layer of an image.
fn members(layout: &Path, tag: &str) -> Members {
    let (layout, image) = resolve(layout, tag);
    let [layer] = &image.layers[..] else { panic!("{} layers", image.layers.len()) };
    let blob = layout.blob(&layer.digest, layer.size).unwrap();
    let tar = zstd::Decoder::new(RangeReader::new(&*blob, 0..layer.size)).unwrap();
    let mut tar = TarReader::new(tar, Limits::default(), ());
    let mut members = BTreeMap::new();
    while let Some(entry) = tar.next_entry().unwrap() {
        let mut content = Vec::new();
        tar.content().read_to_end(&mut content).unwrap();
        members.insert(String::from_utf8(entry.name.clone()).unwrap(), (entry, content));
    }
    members
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in ["", "blobs/sha256"] {
        for found in fs::read_dir(dir.join(name)).unwrap() {
            let path = found.unwrap().path();
            if path.is_file() {
                files.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    files.into_iter().map(|(k, v)| (k.replace(&dir.display().to_string(), ""), v)).collect()
}

#[test]
fn an_image_holds_what_the_directory_holds() {
    let (dir, layout) = (tree(), tempdir().unwrap());
    let built = build(dir.path(), layout.path(), &tagged("v1")).unwrap();
    assert_eq!((built.contents.entries, built.contents.skipped), (7, 0));

    let (_, image) = resolve(layout.path(), "v1");
    assert_eq!(image.manifest.digest, built.manifest.digest);
    assert_eq!(image.config.digest, built.config.digest);
    assert_eq!(image.layers[0].diff_id, built.layer.diff_id);
    assert_eq!(image.layers[0].annotations, built.layer.annotations);

    let members = members(layout.path(), "v1");
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["./", "etc", "etc/link", "etc/motd", "etc/zwei", "var", "var/big"]);
    assert_eq!(members["etc/motd"].1, b"hello\n");
    assert_eq!(members["var/big"].1, vec![7; 300_000]);
    assert_eq!(members["etc/link"].0.kind, EntryKind::Symlink { target: b"motd".into() });
    assert_eq!(members["etc/zwei"].0.kind, EntryKind::HardLink { target: b"etc/motd".into() });
}

#[test]
fn two_builds_give_the_same_bytes() {
    let dir = tree();
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let mut options = tagged("v1");
    build(dir.path(), one.path(), &options).unwrap();
    options.write.threads = 1;
    build(dir.path(), two.path(), &options).unwrap();
    assert_eq!(files(one.path()), files(two.path()));
}

#[test]
fn owners_and_times_are_as_the_options_say() {
    let (dir, layout) = (tree(), tempdir().unwrap());
    let latest = Time { seconds: 86_400, nanoseconds: 0 };
    let mut options = tagged("v1");
    (options.owner, options.latest_mtime) = (Some((12, 34)), Some(latest));
    build(dir.path(), layout.path(), &options).unwrap();
    for (name, (entry, _)) in members(layout.path(), "v1") {
        assert_eq!((entry.uid, entry.gid, entry.mtime), (12, 34, latest), "{name}");
    }
}

#[test]
fn what_is_excluded_is_left_out_and_its_other_names_stay_whole() {
    let (dir, layout) = (tree(), tempdir().unwrap());
    fs::hard_link(dir.path().join("etc/motd"), dir.path().join("zzz")).unwrap();
    let mut options = tagged("v1");
    options.exclude =
        ["var", "etc/motd"].map(|path| LayerPath::parse(path.as_bytes()).unwrap()).into();
    build(dir.path(), layout.path(), &options).unwrap();
    let members = members(layout.path(), "v1");
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["./", "etc", "etc/link", "etc/zwei", "zzz"]);
    assert_eq!(members["etc/zwei"].1, b"hello\n");
    assert_eq!(members["zzz"].0.kind, EntryKind::HardLink { target: b"etc/zwei".into() });
}

#[test]
fn what_may_not_be_read_is_an_error_or_counted() {
    let (dir, layout) = (tree(), tempdir().unwrap());
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    mode(layout.path(), 0o777);
    mode(&dir.path().join("etc/motd"), 0);
    mode(&dir.path().join("var"), 0);
    let (dir, layout) = (dir.path(), layout.path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Root could read all of it. This holds for the thread and its children.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
            let strict = build(dir, layout, &tagged("v1"));
            assert!(matches!(strict, Err(BuildError::Walk(_))), "{strict:?}");
            let mut options = tagged("v1");
            options.skip_unreadable = true;
            let built = build(dir, layout, &options).unwrap();
            // A file with two names, and a directory.
            assert_eq!((built.contents.entries, built.contents.skipped), (3, 3));
        });
    });
    mode(&dir.join("var"), 0o755);
}

#[test]
fn a_failed_build_leaves_no_tag() {
    let (dir, layout) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    let failed = build(dir.path(), layout.path(), &tagged("v1"));
    assert!(matches!(failed, Err(BuildError::Blob(chunked::write::WriteError::NotText { .. }))));
    let files = files(layout.path());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["/index.json", "/oci-layout"]);
}
