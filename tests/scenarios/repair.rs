//! R7: `check` names what was damaged and nothing else, and `check --repair` mends it by
//! fetching little more than that; GNU tar and podman agree afterwards.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lremovexattr, lsetxattr, utimensat,
};
use serde_json::Value;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::layout::Image;
use testkit::peer::{Compression, Podman};
use testkit::registry::Traffic;
use testkit::tried::tried;

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::store::{Store, said};
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("xfs", "r7_damaged_files_are_mended_by_ranges", by_ranges),
        on("ext4", "r7_damaged_files_are_mended_by_ranges", by_ranges),
        on("ext4", "r7_damaged_files_of_gzip_layers_are_mended", of_gzip_layers),
        on("xfs", "r7_every_kind_of_damage_is_mended", |fs| every_kind(fs, Compression::Chunked)),
        on("ext4", "r7_every_kind_of_damage_is_mended", |fs| every_kind(fs, Compression::Gzip)),
        on("ext4", "r7_what_is_mounted_is_left_alone", mounted),
        on("ext4", "r7_what_podman_pulled_is_found_sound", of_podman),
        on("xfs", "r6_records_are_rebuilt_and_podman_uses_them", rebuilt),
    ]
}

/// Files that are damaged in a real image.
fn count() -> u64 {
    world::setting("REFLAYER_DAMAGED", if world::full() { 200 } else { 80 })
}

/// A layer and a path in it.
pub(crate) type Place = (String, String);

fn by_ranges(filesystem: &Filesystem) -> Result<()> {
    let repository = format!("repair-{}/app", filesystem.name);
    let registry = world::registry_with(&repository)?;
    let name = format!("{}/{repository}:v1", registry.host());
    let store = Store::new(filesystem)?;
    store.pull(&format!("docker://{name}"))?;
    let image = world::images(Compression::Chunked).image("v1")?;
    // Its own check takes longer than all else here.
    let podman = (filesystem.name == "xfs").then(|| store.podman()).transpose()?;
    let usual = podman.as_ref().map(Podman::check).transpose()?.unwrap_or_default();
    let damaged = damage_files(&store, &image, 7)?;
    expect_found(&store, &damaged.places)?;
    let compressed = compressed(&store, &damaged.contents)?;
    let mark = registry.mark()?;
    let report = repair(&store, &[])?;
    let requests = registry.since(mark)?;
    let traffic = Traffic::of_blobs(requests.iter().filter(|r| r.uri.contains(&repository)));
    // The config is among the blobs that were asked for.
    let config = fs::metadata(world::images(Compression::Chunked).blob(&image.config))?.len();
    let bytes = traffic.bytes.saturating_sub(config);
    eprintln!(
        "{} {} files damaged, {} in content: {compressed} compressed bytes of these, \
         {bytes} fetched in {} requests",
        filesystem.name,
        damaged.places.len(),
        damaged.contents.len(),
        traffic.requests
    );
    ensure!(report["left"] == Value::Array(Vec::new()), "left: {}", report["left"]);
    ensure!(bytes * 10 <= compressed * 12, "{bytes} bytes for {compressed}");
    store.expect_trees(&image)?;
    store.expect_clean()?;
    if let Some(podman) = podman {
        podman.run_in(&name, &["true"])?;
        let now = podman.check()?;
        let lines = |text: &str| text.lines().count();
        ensure!(lines(&now) <= lines(&usual), "podman finds more:\n{now}\nnot\n{usual}");
    }
    tell_mended(filesystem, &damaged)?;
    tried(filesystem.name, compressed, "compressed bytes of damaged files")?;
    tried(filesystem.name, bytes, "bytes fetched for these")
}

fn of_gzip_layers(filesystem: &Filesystem) -> Result<()> {
    let layout = world::images(Compression::Gzip);
    let from = format!("oci:{}:v1", layout.dir().display());
    let store = Store::new(filesystem)?;
    store.pull(&from)?;
    let image = layout.image("v1")?;
    let damaged = damage_files(&store, &image, 8)?;
    expect_found(&store, &damaged.places)?;
    let report = repair(&store, &["--from", &from])?;
    ensure!(report["left"] == Value::Array(Vec::new()), "left: {}", report["left"]);
    store.expect_trees(&image)?;
    store.expect_clean()?;
    tell_mended(filesystem, &damaged)
}

fn tell_mended(filesystem: &Filesystem, damaged: &Damaged) -> Result<()> {
    let count = damaged.places.len() as u64;
    tried(filesystem.name, count, "damaged files found, and no others, and mended")
}

/// What was done to a store.
#[derive(Default)]
struct Damaged {
    places: BTreeSet<Place>,
    /// Of these, the files whose content is lost.
    contents: BTreeSet<Place>,
}

/// Damages files of all layers, each in one of eight ways.
fn damage_files(store: &Store, image: &Image, seed: u64) -> Result<Damaged> {
    let mut files = Vec::new();
    for layer in &image.layers {
        let top = store.diff(&layer.layer_id);
        list_files(&top, &top, &layer.layer_id, &mut files)?;
    }
    let (mut dice, mut damaged) = (Dice::new(seed), Damaged::default());
    for way in 0..count() {
        let at = usize::try_from(dice.below(files.len() as u64))?;
        let (layer, path) = files.swap_remove(at);
        let file = store.diff(&layer).join(&path);
        let place = (layer.clone(), path.clone());
        if way % 8 == 7 {
            let new = format!("{path}.extra");
            let extra = store.diff(&layer).join(&new);
            keeping_times(&extra, || Ok(fs::write(&extra, "extra")?))?;
            damaged.places.insert((layer, new));
            continue;
        }
        keeping_times(&file, || damage(&file, way % 8))?;
        if way % 8 < 4 {
            damaged.contents.insert(place.clone());
        }
        damaged.places.insert(place);
    }
    Ok(damaged)
}

/// Damages a file in one of seven ways.
pub(crate) fn damage(file: &Path, way: u64) -> Result<()> {
    let stat = file.symlink_metadata()?;
    match way {
        0 => {
            let mut content = fs::read(file)?;
            let middle = content.len() / 2;
            content[middle] ^= 4;
            fs::write(file, content)?;
        }
        1 => fs::File::options().write(true).open(file)?.set_len(stat.len() / 2)?,
        2 => fs::remove_file(file)?,
        3 => {
            fs::remove_file(file)?;
            symlink("/etc/passwd", file)?;
        }
        4 => fs::set_permissions(file, Permissions::from_mode(stat.mode() & 0o7777 ^ 0o044))?,
        5 => lchown(file, Some(stat.uid() + 1), None)?,
        _ => lsetxattr(file, "user.more", b"more", XattrFlags::empty())?,
    }
    Ok(())
}

/// Regular files with content and one name.
pub(crate) fn list_files(
    top: &Path,
    dir: &Path,
    layer: &str,
    files: &mut Vec<Place>,
) -> Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, stat) = (entry.path(), entry.path().symlink_metadata()?);
        if stat.is_dir() {
            list_files(top, &path, layer, files)?;
        } else if stat.is_file()
            && stat.len() > 0
            && stat.nlink() == 1
            && let Some(name) = path.strip_prefix(top)?.to_str()
        {
            files.push((layer.to_owned(), name.to_owned()));
        }
    }
    Ok(())
}

/// Does something, and gives the file and its directory their times back: only the
/// damage itself is to be found.
fn keeping_times(file: &Path, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let directory = file.parent().context("a file has a directory")?;
    let times = |path: &Path| Some((path.to_owned(), path.symlink_metadata().ok()?));
    let before = [times(file), times(directory)];
    change()?;
    for (path, stat) in before.into_iter().flatten() {
        let time = Timespec { tv_sec: stat.mtime(), tv_nsec: stat.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        if path.symlink_metadata().is_ok() {
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// That `check` names these places, and nothing else.
fn expect_found(store: &Store, expected: &BTreeSet<Place>) -> Result<()> {
    let out = store.output(&["--json", "check"])?;
    ensure!(out.status.code() == Some(3), "check: {}\n{}", out.status, said(&out));
    let findings: Vec<Value> = serde_json::from_slice(&out.stdout).context("parse findings")?;
    let place = |finding: &Value| {
        ensure!(finding["problem"] == "file" && finding["images"][0].is_string(), "{finding}");
        let text = |name: &str| finding[name].as_str().map(str::to_owned);
        text("layer").zip(text("path")).with_context(|| finding.to_string())
    };
    let found: BTreeSet<Place> = findings.iter().map(place).collect::<Result<_>>()?;
    ensure!(
        found == *expected,
        "not named: {:?}, named wrongly: {:?}",
        expected.difference(&found).collect::<Vec<_>>(),
        found.difference(expected).collect::<Vec<_>>()
    );
    Ok(())
}

fn repair(store: &Store, more: &[&str]) -> Result<Value> {
    let out = store.output(&[&["--json", "check", "--repair"], more].concat())?;
    ensure!(out.status.success(), "check --repair: {}\n{}", out.status, said(&out));
    serde_json::from_slice(&out.stdout).context("parse the report")
}

/// Compressed bytes of files, as the TOCs beside the layers have them.
pub(crate) fn compressed(store: &Store, files: &BTreeSet<Place>) -> Result<u64> {
    let layers: BTreeSet<&String> = files.iter().map(|(layer, _)| layer).collect();
    let mut sum = 0;
    for layer in layers {
        let toc = store.root().join("overlay-layers").join(layer);
        let toc: Value =
            serde_json::from_slice(&fs::read(toc.join("=enN0ZC1jaHVua2VkLW1hbmlmZXN0"))?)?;
        for entry in toc["entries"].as_array().context("a TOC has entries")? {
            let name = entry["name"].as_str().unwrap_or_default().trim_start_matches("./");
            if entry["type"] == "reg" && files.contains(&(layer.clone(), name.to_owned())) {
                let offset = |key: &str| entry[key].as_u64().unwrap_or_default();
                sum += offset("endOffset") - offset("offset");
            }
        }
    }
    Ok(sum)
}

/// What is done to a file.
type Change<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Each kind of entry, damaged in the ways that it can be.
fn every_kind(filesystem: &Filesystem, form: Compression) -> Result<()> {
    let store = Store::new(filesystem)?;
    let small = small::make(&store.room().join("small"), &[form])?;
    store.pull(&small.reference(form, "v1"))?;
    let image = small.layout(form).image("v1")?;
    let [base, top] = [0, 1].map(|number| image.layers[number].layer_id.clone());
    let at = |name: &str| store.diff(&base).join(name);
    let above = |name: &str| store.diff(&top).join(name);
    let changes: [(&str, &str, Change<'_>); 12] = [
        (&base, "run/pipe", &|path| Ok(fs::remove_file(path)?)),
        (&base, "dev/null", &|path| {
            fs::remove_file(path)?;
            Ok(fs::write(path, "")?)
        }),
        (&base, "usr/lib/link", &|path| {
            fs::remove_file(path)?;
            Ok(symlink("elsewhere", path)?)
        }),
        (&base, "usr/bin/tool", &|path| {
            // A file of its own, no longer another name of `alias`.
            let content = fs::read(path)?;
            fs::remove_file(path)?;
            fs::write(path, content)?;
            Ok(fs::set_permissions(path, Permissions::from_mode(0o4755))?)
        }),
        (&base, "var/sparse", &|path| {
            Ok(fs::File::options().write(true).open(path)?.set_len(1000)?)
        }),
        (&base, "opt/owned", &|path| Ok(lremovexattr(path, "user.note")?)),
        (&base, "usr/lib/big", &|path| damage(path, 0)),
        (&base, "etc", &|path| Ok(fs::set_permissions(path, Permissions::from_mode(0o700))?)),
        (&base, "var/more", &|path| Ok(fs::create_dir_all(path.join("below"))?)),
        (&top, "gone", &|path| Ok(fs::remove_file(path)?)),
        (&top, "opt", &|path| Ok(lremovexattr(path, "trusted.overlay.opaque")?)),
        (&top, "opt/new", &|path| damage(path, 5)),
    ];
    let mut places = BTreeSet::new();
    for (layer, name, change) in changes {
        let path = if layer == base { at(name) } else { above(name) };
        keeping_times(&path, || change(&path)).with_context(|| name.to_owned())?;
        places.insert((layer.to_owned(), name.to_owned()));
    }
    expect_found(&store, &places)?;
    let report = repair(&store, &["--from", &small.reference(form, "v1")])?;
    ensure!(report["left"] == Value::Array(Vec::new()), "left: {}", report["left"]);
    small.expect_in(&store, &image)?;
    store.expect_clean()?;
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    tried(filesystem.name, places.len() as u64, "kinds of damage found and mended")
}

/// A store with version v1 of the small image.
struct Pulled {
    store: Store,
    small: Built,
    /// What it was pulled from.
    from: String,
    image: Image,
}

impl Pulled {
    fn new(filesystem: &Filesystem) -> Result<Self> {
        let form = Compression::Chunked;
        let store = Store::new(filesystem)?;
        let small = small::make(&store.room().join("small"), &[form])?;
        let from = small.reference(form, "v1");
        store.pull(&from)?;
        let image = small.layout(form).image("v1")?;
        Ok(Self { store, small, from, image })
    }
}

/// An overlay must not change under a mount: it is said, and mended once it is gone.
fn mounted(filesystem: &Filesystem) -> Result<()> {
    let Pulled { store, small, from, image } = Pulled::new(filesystem)?;
    let point: PathBuf = store.room().join("mounted");
    fs::create_dir(&point)?;
    let point = point.to_str().context("a plain path")?;
    succeed(&store, &["mount", &image.config, point])?;
    let file = store.diff(&image.layers[0].layer_id).join("usr/lib/big");
    let result = keeping_times(&file, || damage(&file, 0)).and_then(|()| {
        let out = store.output(&["check", "--repair", "--from", &from])?;
        let text = said(&out);
        ensure!(out.status.code() == Some(3), "{}: {text}", out.status);
        ensure!(text.contains("unmount it first"), "{text}");
        Ok(())
    });
    succeed(&store, &["umount", point])?;
    result?;
    repair(&store, &["--from", &from])?;
    small.expect_in(&store, &image)?;
    store.expect_clean()?;
    tried(filesystem.name, 1, "damaged layers left alone under a mount, and mended after it")
}

/// What other tools leave out is no damage.
fn of_podman(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let forms = [Compression::Gzip, Compression::Chunked];
    let small = small::make(&store.room().join("small"), &forms)?;
    let podman = store.podman()?;
    let layout = small.layout(Compression::Gzip);
    let mut copy = podman.skopeo_copy(&[layout.dir()]);
    let from = small.reference(Compression::Gzip, "v1");
    judge::run(copy.args([&from, "containers-storage:localhost/small:v1"]))?;
    let registry = world::registry()?;
    let name = "of-podman/small:v2";
    world::push(&world::sid()?, &registry, &small.layout(Compression::Chunked), "v2", name)?;
    podman.pull(&format!("docker://{}/{name}", registry.host()))?;
    store.expect_clean()?;
    tried(filesystem.name, 2, "images of podman found sound")
}

/// podman's own store without its records: made again, it runs as before.
fn rebuilt(filesystem: &Filesystem) -> Result<()> {
    let repository = "rebuilt/app";
    let registry = world::registry_with(repository)?;
    let name = format!("{}/{repository}:v1", registry.host());
    let store = Store::new(filesystem)?;
    let podman = store.podman()?;
    podman.pull(&format!("docker://{name}"))?;
    let files = ["overlay-layers/layers.json", "overlay-images/images.json"];
    for file in files {
        let file = store.root().join(file);
        let half = fs::metadata(&file)?.len() / 2;
        fs::File::options().write(true).open(&file)?.set_len(half)?;
    }
    let refused = store.output(&["images"])?;
    ensure!(!refused.status.success(), "a cut file is taken for a store: {}", said(&refused));
    ensure!(said(&refused).contains("check --repair"), "no hint: {}", said(&refused));
    repair(&store, &[])?;
    let report = store.pull(&format!("docker://{name}"))?;
    ensure!(report.bytes("fetched")? == 0, "{}", report.figures());
    let text = podman.run_in(&name, &["cat", "/etc/os-release"])?;
    ensure!(text.contains("VERSION_CODENAME=bookworm"), "os-release: {text}");
    store.expect_clean()?;
    tried(filesystem.name, files.len() as u64, "cut record files rebuilt, with nothing fetched")
}

fn succeed(store: &Store, arguments: &[&str]) -> Result<()> {
    let out = store.output(arguments)?;
    ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
    Ok(())
}
