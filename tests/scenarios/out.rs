//! Layers and images out again, judged by sha256, podman and skopeo.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use testkit::digest::sha256_of_file;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::layout::Image;
use testkit::peer::{Compression, Podman};
use testkit::registry::{Mark, Registry, Request};

use crate::built::Built;
use crate::needs::on;
use crate::store::{Store, said};
use crate::world::{self, VERSIONS};
use crate::{records, small};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("xfs", "a_layer_goes_out_with_its_digest", exports),
        on("xfs", "an_archive_goes_out_that_skopeo_reads", archives),
        on("xfs", "what_was_converted_is_pulled_in_part_and_goes_out_again", converts),
    ]
}

const FORMS: [Compression; 2] = [Compression::Gzip, Compression::Chunked];

/// Layers that came by their TOC and whole, to us and to podman.
fn exports(filesystem: &Filesystem) -> Result<()> {
    let registry = world::registry()?;
    let place = filesystem.room()?;
    let images = small::make(&place.path().join("small"), &FORMS)?;
    for form in FORMS {
        let layout = images.layout(form);
        let name = format!("export-{}/app:v1", form.word());
        world::push(&world::sid()?, &registry, &layout, "v1", &name)?;
        let image = layout.image("v1")?;
        let (ours, theirs) = (Store::new(filesystem)?, Store::new(filesystem)?);
        ours.pull(&registry.reference(&name))?;
        theirs.podman()?.pull(&registry.reference(&name))?;
        for store in [ours, theirs] {
            let by_toc = records::layers(&store)?.values().all(|l| l.contains_key("toc-digest"));
            ensure!(by_toc == (form == Compression::Chunked), "came by another way");
            expect_exports(&store, &image)?;
        }
    }
    let theirs = Store::new(filesystem)?;
    let name = "export-real/app";
    theirs.podman()?.pull(&world::registry_with(name)?.reference(&format!("{name}:v1")))?;
    expect_exports(&theirs, &world::images(Compression::Chunked).image("v1")?)?;
    expect_no_tar_of_a_changed_layer(&theirs)
}

/// Every layer, on both ways, by its id and by its `DiffID`.
fn expect_exports(store: &Store, image: &Image) -> Result<()> {
    let tar = store.room().join("exported.tar");
    for layer in &image.layers {
        let piped = File::create(&tar).context("create a tar")?;
        let status = store.command(&["export", &layer.layer_id]).stdout(piped).status()?;
        ensure!(status.success(), "export {}: {status}", layer.layer_id);
        ensure!(sha256_of_file(&tar)? == layer.diff_id, "another tar of {}", layer.layer_id);
        let diff_id = format!("sha256:{}", layer.diff_id);
        let report = store.json(&["export", &diff_id, "--output", &text(&tar)])?;
        ensure!(report["diff_id"] == diff_id.as_str(), "{report}");
        ensure!(sha256_of_file(&tar)? == layer.diff_id, "another tar of {diff_id}");
    }
    Ok(())
}

fn expect_no_tar_of_a_changed_layer(store: &Store) -> Result<()> {
    let ids = store.layer_ids()?;
    let file = store.diff(&ids[0]).join("etc/os-release");
    let file =
        if file.is_symlink() { store.diff(&ids[0]).join("usr/lib/os-release") } else { file };
    std::fs::write(&file, "another system").context("change a file of a layer")?;
    let tar = store.room().join("changed.tar");
    let out = store.output(&["export", &ids[0], "--output", &text(&tar)])?;
    ensure!(!out.status.success() && !tar.exists(), "a changed layer was exported");
    ensure!(said(&out).contains("os-release"), "the file is not named: {}", said(&out));
    Ok(())
}

/// Of an archive and of a layout, with one layer of each kind of entry.
fn archives(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let images = small::make(&store.room().join("small"), &[Compression::Gzip])?;
    let from = images.reference(Compression::Gzip, "v1");
    let image = images.layout(Compression::Gzip).image("v1")?;
    for (transport, name) in [("oci", "converted"), ("oci-archive", "converted.tar")] {
        let place = store.room().join(name);
        let to = format!("{transport}:{}:v1", place.display());
        let report = store.json(&["convert", &from, &to])?;
        ensure!(report["image_id"] == image.config.as_str(), "another id: {report}");
        expect_actions(&report, &["written", "written"])?;
        let theirs = Store::new(filesystem)?;
        copy_in(&theirs, store.room(), &to)?;
        expect_image(&images, &theirs, &image)?;
    }
    // The tars are those of the judge: an independent decoder of zstd says so.
    let layout = testkit::layout::Layout::open(&store.room().join("converted"));
    for layer in layout.image("v1")?.layers {
        let tar = store.room().join("layer.tar");
        let mut zstd = std::process::Command::new("zstd");
        judge::run(zstd.args(["-q", "-f", "-d", "-o"]).arg(&tar).arg(layout.blob(&layer.digest)))?;
        ensure!(sha256_of_file(&tar)? == layer.diff_id, "another tar in {}", layer.digest);
    }
    Ok(())
}

fn copy_in(store: &Store, shared: &Path, from: &str) -> Result<()> {
    let podman = store.podman()?;
    let mut copy = podman.skopeo_copy(&[shared]);
    judge::run(copy.args([from, "containers-storage:localhost/converted:v1"]))
}

fn expect_image(images: &Built, store: &Store, image: &Image) -> Result<()> {
    ensure!(store.image_ids()? == [image.config.clone()], "{:?}", store.image_ids()?);
    images.expect_below_tops_in(store, image)
}

fn converts(filesystem: &Filesystem) -> Result<()> {
    let registry = world::registry()?;
    let theirs = Store::new(filesystem)?;
    let podman = theirs.podman()?;
    let layout = world::images(Compression::Gzip);
    for version in VERSIONS {
        let from = format!("oci:{}:{version}", layout.dir().display());
        let to = registry.reference(&format!("out/app:{version}"));
        // Quick rather than small.
        let report = theirs.json(&["convert", &from, &to, "--compression-level", "1"])?;
        eprintln!("{} convert {version}: {report}", filesystem.name);
        let mark = registry.mark()?;
        podman.pull(&to)?;
        let id = layout.image(version)?.config;
        ensure!(theirs.image_ids()?.contains(&id), "podman has another image than {id}");
        let fetched: u64 = since(&registry, mark, "out/app")?.iter().map(|r| r.bytes).sum();
        eprintln!("{} podman fetched {fetched} bytes of {version}", filesystem.name);
        if version == VERSIONS[1] {
            ensure!(fetched < report["size"].as_u64().context("no size")? / 2, "not in part");
        }
    }
    let by_toc = records::layers(&theirs)?.values().all(|l| l.contains_key("toc-digest"));
    ensure!(by_toc, "podman took a layer whole");
    podman.run_in(&format!("{}/out/app:v1", registry.host()), &["true"])?;
    goes_out_again(&theirs, &registry)?;
    builds_upon(filesystem, &theirs, &podman, &registry)
}

/// Into another repository of the registry, twice: no blob is sent.
fn goes_out_again(store: &Store, registry: &Registry) -> Result<()> {
    let image = format!("{}/out/app:v1", registry.host());
    for action in ["mounted", "present"] {
        let mark = registry.mark()?;
        let report = store.json(&["push", &image, &registry.reference("out/copy:v1")])?;
        expect_actions(&report, &[action, action])?;
        ensure!(report["sent"] == 0, "{report}");
        let requests = since(registry, mark, "out/copy")?;
        let sent = requests.iter().find(|request| {
            request.method == "PATCH" || request.method == "PUT" && request.uri.contains("/blobs/")
        });
        ensure!(sent.is_none(), "a blob was sent: {sent:?}");
    }
    Ok(())
}

/// What podman makes of an image goes out with the layers below it where they are.
fn builds_upon(
    filesystem: &Filesystem,
    store: &Store,
    podman: &Podman,
    registry: &Registry,
) -> Result<()> {
    let base = format!("{}/out/app:v1", registry.host());
    let options = ["run", "--name=made", "--network=none", "--cgroups=disabled", "--pull=never"];
    let command = [&base, "sh", "-c", "echo made > /etc/made; rm /etc/os-release"];
    podman.run(&[&options[..], &command].concat())?;
    podman.run(&["commit", "--quiet", "made", "localhost/made:v1"])?;
    podman.run(&["rm", "made"])?;
    let id = podman.run(&["inspect", "--format", "{{.Id}}", "localhost/made:v1"])?;
    let target = registry.reference("out/made:v1");
    let report = store.json(&["push", "made:v1", &target])?;
    expect_actions(&report, &["mounted", "mounted", "written"])?;
    ensure!(report["image_id"] == id.trim(), "another id: {report}");

    let other = Store::new(filesystem)?;
    let podman = other.podman()?;
    podman.pull(&target)?;
    ensure!(other.image_ids()? == [id.trim()], "podman has {:?}, not {id}", other.image_ids()?);
    let image = format!("{}/out/made:v1", registry.host());
    let program = ["sh", "-c", "cat /etc/made; test ! -e /etc/os-release"];
    let made = podman.run_in(&image, &program)?;
    ensure!(made.trim() == "made", "{made}");
    other.expect_clean()
}

fn since(registry: &Registry, mark: Mark, repository: &str) -> Result<Vec<Request>> {
    let mut requests = registry.since(mark)?;
    requests.retain(|request| request.uri.contains(repository));
    Ok(requests)
}

fn expect_actions(report: &Value, expected: &[&str]) -> Result<()> {
    let layers = report["layers"].as_array().context("a report without layers")?;
    let actions: Vec<_> = layers.iter().filter_map(|layer| layer["action"].as_str()).collect();
    ensure!(actions == expected, "{actions:?}, not {expected:?}: {report}");
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
