//! Chunk indexes that reflayer and podman write for each other.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;
use testkit::registry::Traffic;

use crate::needs::on;
use crate::store::Store;
use crate::world::{self, VERSIONS};

/// The index of a layer: `chunked-manifest-cache`, as a file name.
const INDEX: &str = "=Y2h1bmtlZC1tYW5pZmVzdC1jYWNoZQ==";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("ext4", "our_index_says_what_podmans_does", same_index),
        on("ext4", "podman_reuses_layers_that_we_pulled_whole", podman_reuses),
    ]
}

/// podman writes the index of a layer when it pulls the next one.
fn same_index(filesystem: &Filesystem) -> Result<()> {
    let repository = "index-same/app";
    let registry = world::registry_with(repository)?;
    let names = VERSIONS.map(|version| format!("{}/{repository}:{version}", registry.host()));
    let (ours, theirs) = (Store::new(filesystem)?, Store::new(filesystem)?);
    ours.pull(&format!("docker://{}", names[0]))?;
    let podman = theirs.podman()?;
    for name in &names {
        podman.pull(&format!("docker://{name}"))?;
    }
    for id in ours.layer_ids()? {
        let [ours, theirs] = [&ours, &theirs].map(|store| tags(&index(store, &id)?));
        let (ours, theirs) = (ours?, theirs?);
        ensure!(!ours.is_empty() && ours.is_subset(&theirs), "tags of {id} that podman has not");
        // It lists files without content, too.
        let missing: Vec<_> = theirs.difference(&ours).filter(|tag| tag.length > 0).collect();
        ensure!(missing.is_empty(), "tags of {id} that only podman has: {missing:?}");
    }
    Ok(())
}

fn podman_reuses(filesystem: &Filesystem) -> Result<()> {
    let repository = "index-reuse/app";
    let registry = world::registry_with(repository)?;
    let store = Store::new(filesystem)?;
    let layout = world::images(Compression::Gzip);
    store.pull(&format!("oci:{}:{}", layout.dir().display(), VERSIONS[0]))?;
    let ids = store.layer_ids()?;
    let indexes = || ids.iter().map(|id| index(&store, id)).collect::<Result<Vec<_>>>();
    let before = indexes()?;
    let image = format!("{}/{repository}:{}", registry.host(), VERSIONS[1]);
    let (mark, podman) = (registry.mark()?, store.podman()?);
    podman.pull(&format!("docker://{image}"))?;
    let requests = registry.since(mark)?;
    let ours = requests.iter().filter(|request| request.uri.contains(repository));
    let fetched = Traffic::of_blobs(ours).bytes;
    let chunked = world::images(Compression::Chunked);
    let layers = chunked.image(VERSIONS[1])?.layers;
    let whole: u64 = layers.iter().map(|layer| layer.size).sum();
    eprintln!(
        "podman fetched {fetched} of {whole} bytes, with files of layers that we pulled whole"
    );
    ensure!(fetched < whole / 4, "podman fetched {fetched} of {whole} bytes");
    ensure!(indexes()? == before, "podman wrote the indexes anew");
    podman.run_in(&image, &["true"])?;
    store.expect_clean()
}

fn index(store: &Store, layer_id: &str) -> Result<Vec<u8>> {
    let path = store.root().join("overlay-layers").join(layer_id).join(INDEX);
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// A digest, and where the index says that its content is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tag {
    digest: Vec<u8>,
    name: Vec<u8>,
    offset: u64,
    length: u64,
}

/// Reads an index by the words of its format's description.
fn tags(bytes: &[u8]) -> Result<BTreeSet<Tag>> {
    let number = |at: usize| -> Result<usize> {
        let bytes = bytes.get(at..at + 8).context("the index ends early")?;
        Ok(usize::try_from(u64::from_le_bytes(bytes.try_into()?))?)
    };
    ensure!(number(0)? == 3 && number(8)? == 55 && number(16)? == 39, "another version");
    let lengths = 36 + 8 * number(24)?;
    let tags_at = lengths + 24;
    let vdata_at = tags_at + number(lengths)?;
    let names_at = vdata_at + number(lengths + 8)?;
    ensure!(bytes.len() == names_at + number(lengths + 16)?, "another length");
    let tags = (tags_at..vdata_at).step_by(55).map(|at| {
        let mut item = bytes[vdata_at + number(at + 39)?..].iter();
        let mut next = || {
            let (mut value, mut shift) = (0, 0);
            for &byte in item.by_ref() {
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            value
        };
        let name = names_at + usize::try_from(next())?;
        let name_length = u32::from_le_bytes(bytes[name..name + 4].try_into()?);
        Ok(Tag {
            digest: bytes[at..at + 39].to_vec(),
            name: bytes[name + 4..][..usize::try_from(name_length)?].to_vec(),
            offset: next(),
            length: next(),
        })
    });
    tags.collect()
}
