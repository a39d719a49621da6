//! Two versions of a real image, pulled one after the other, by their TOCs.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;
use testkit::registry::Traffic;

use crate::needs::on_each;
use crate::store::{Report, Store};
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    on_each("pull_versions_from_registry", from_registry)
}

/// What v2 may cost beside v1, in parts of a hundred of its blobs: TOC, tar-split and changes.
const UPDATE_PERCENT: u64 = 25;

/// The same without a registry; gives the store, for more to be looked at.
pub(crate) fn from_layout(filesystem: &Filesystem) -> Result<Store> {
    let store = Store::new(filesystem)?;
    let layout = world::images(Compression::Chunked);
    let mut reports = Vec::new();
    for tag in ["v1", "v2", "v2"] {
        let report = store.pull(&format!("oci:{}:{tag}", layout.dir().display()))?;
        eprintln!("{} layout {tag}: {}", filesystem.name, report.figures());
        reports.push(report);
    }
    expect_little(&reports)?;
    expect_whole(&store)?;
    Ok(store)
}

fn from_registry(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let repository = format!("pulls-{}/app", filesystem.name);
    let registry = world::registry_with(&repository)?;
    let mut reports = Vec::new();
    for tag in ["v1", "v2", "v2"] {
        let mark = registry.mark()?;
        let report = store.pull(&registry.reference(&format!("{repository}:{tag}")))?;
        let mut requests = registry.since(mark)?;
        requests.retain(|request| request.uri.contains(&repository));
        let blobs = Traffic::of_blobs(&requests);
        eprintln!("{} registry {tag}: {}", filesystem.name, report.figures());
        eprintln!(
            "{} registry {tag}: its log has {} requests, of them {} for blobs, {} bytes",
            filesystem.name,
            requests.len(),
            blobs.requests,
            blobs.bytes
        );
        expect_honest(&report, blobs)?;
        reports.push(report);
    }
    expect_little(&reports)?;
    expect_whole(&store)
}

/// The report counts what the registry sent; the config comes on top.
fn expect_honest(report: &Report, blobs: Traffic) -> Result<()> {
    const CONFIG: u64 = 64 << 10;
    let fetched = report.bytes("fetched")?;
    ensure!(
        (fetched..=fetched + CONFIG).contains(&blobs.bytes),
        "the report says {fetched}, the registry's log {}",
        blobs.bytes
    );
    Ok(())
}

fn expect_little(reports: &[Report]) -> Result<()> {
    let [first, second, again] = reports else { anyhow::bail!("three pulls") };
    ensure!(
        first.paths() == ["partial"; 2],
        "v1 came by {:?}: {:?}",
        first.paths(),
        first.reasons()
    );
    ensure!(
        second.paths() == ["partial"; 2],
        "v2 came by {:?}: {:?}",
        second.paths(),
        second.reasons()
    );
    let limit = second.blobs() * UPDATE_PERCENT / 100;
    let fetched = second.bytes("fetched")?;
    ensure!(fetched <= limit, "v2 fetched {fetched} of {}", second.blobs());
    ensure!(again.paths() == ["present"; 2], "v2 again came by {:?}", again.paths());
    ensure!(again.bytes("fetched")? == 0, "v2 again fetched {}", again.bytes("fetched")?);
    Ok(())
}

fn expect_whole(store: &Store) -> Result<()> {
    for version in VERSIONS {
        let image = world::images(Compression::Chunked).image(version)?;
        ensure!(store.image_ids()?.contains(&image.config), "image {version} is not listed");
        store.expect_trees(&image)?;
    }
    store.expect_clean()?;
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    Ok(())
}
