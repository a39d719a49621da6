//! Bad input and trouble: a clear error, or a full pull with its reason; the store as it was.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::layout::Layout;
use testkit::peer::Compression;

use crate::needs::on;
use crate::small;
use crate::store::{Store, said};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("ext4", "bad_blobs_are_errors", bad_blobs),
        on("ext4", "a_wrong_diff_id_is_an_error", wrong_diff_id),
        on("ext4", "a_lying_annotation_leads_to_a_full_pull", lying_annotations),
        on("ext4", "layers_cannot_reach_outside", escapes),
        on("ext4", "an_absent_registry_is_an_error", absent_registry),
    ]
}

/// A change to a file that holds a blob.
type Damage = fn(&Path) -> Result<()>;

const DAMAGES: [(&str, Damage); 4] = [
    ("flipped in the middle", |blob| flip(blob, blob.metadata()?.len() / 2)),
    ("cut", |blob| {
        Ok(fs::File::options().write(true).open(blob)?.set_len(blob.metadata()?.len() / 2)?)
    }),
    ("longer", |blob| Ok(fs::File::options().append(true).open(blob)?.write_all(b"more")?)),
    ("missing", |blob| Ok(fs::remove_file(blob)?)),
];

fn bad_blobs(filesystem: &Filesystem) -> Result<()> {
    for form in [Compression::Keep, Compression::Gzip, Compression::Zstd, Compression::Chunked] {
        for (what, damage) in DAMAGES {
            for layer in 0..2 {
                let case = format!("{form:?} layer {layer} {what}");
                let store = Store::new(filesystem)?;
                let small = small::make(&store.room().join("small"), &[form])?;
                let layout = small.layout(form);
                let digest = layout.image("v2")?.layers[layer].digest.clone();
                damage(&layout.blob(&digest)).with_context(|| case.clone())?;
                expect_refused(&store, &small.reference(form, "v2"), &[&digest]).context(case)?;
            }
        }
    }
    Ok(())
}

fn wrong_diff_id(filesystem: &Filesystem) -> Result<()> {
    for form in [Compression::Gzip, Compression::Chunked] {
        let store = Store::new(filesystem)?;
        let small = small::make(&store.room().join("small"), &[form])?;
        let layout = small.layout(form);
        let (_, mut manifest) = layout.manifest("v2")?;
        let config = layout.image("v2")?.config;
        let mut config: Value = serde_json::from_slice(&fs::read(layout.blob(&config))?)?;
        config["rootfs"]["diff_ids"][1] = json!(format!("sha256:{}", "1".repeat(64)));
        let (digest, size) = layout.add_blob(&serde_json::to_vec(&config)?)?;
        manifest["config"]["digest"] = json!(format!("sha256:{digest}"));
        manifest["config"]["size"] = json!(size);
        layout.tag("lie", &manifest)?;
        expect_refused(&store, &small.reference(form, "lie"), &[&"1".repeat(64)])?;
    }
    Ok(())
}

fn lying_annotations(filesystem: &Filesystem) -> Result<()> {
    const PREFIX: &str = "io.github.containers.zstd-chunked.";
    let cases = [
        ("manifest-checksum", format!("sha256:{}", "0".repeat(64))),
        ("manifest-position", "1:100:200:1".into()),
        ("tarsplit-position", "1:100:200".into()),
        ("manifest-position", "18446744073709551615:18446744073709551615:1:1".into()),
    ];
    for (name, value) in cases {
        let store = Store::new(filesystem)?;
        let small = small::make(&store.room().join("small"), &[Compression::Chunked])?;
        let layout = small.layout(Compression::Chunked);
        let (_, mut manifest) = layout.manifest("v2")?;
        let key = format!("{PREFIX}{name}");
        ensure!(manifest["layers"][0]["annotations"][&key].is_string(), "no annotation {key}");
        manifest["layers"][0]["annotations"][&key] = json!(value);
        layout.tag("lie", &manifest)?;
        let report = store.pull(&small.reference(Compression::Chunked, "lie"))?;
        let case = format!("{name} = {value}: {:?} {:?}", report.paths(), report.reasons());
        eprintln!("{case}");
        ensure!(report.paths() == ["full", "partial"], "{case}");
        ensure!(!report.reasons()[0].is_empty(), "no reason for {case}");
        small.expect_in(&store, &layout.image("lie")?)?;
        store.expect_clean()?;
    }
    Ok(())
}

/// Layers whose names or links lead out of the root. Refused or kept inside, both are right.
fn escapes(filesystem: &Filesystem) -> Result<()> {
    let script = "
        mkdir -p a/b; echo x >a/b/canary; ln -s / out; ln -s ../../../.. up
        tar -c -P -f 0.tar --transform='s,^a/b,../../../..,' a/b/canary
        tar -c -P -f 1.tar --transform='s,^a/b,/'\"$ROOM\"',' a/b/canary
        tar -c -f 2.tar out; tar -r -P -f 2.tar --transform=\"s,^a/b,out$ROOM,\" a/b/canary
        tar -c -f 3.tar up; tar -r -P -f 3.tar --transform='s,^a/b,up,' a/b/canary
    ";
    let store = Store::new(filesystem)?;
    let room = store.room().join("room");
    fs::create_dir(&room)?;
    let mut shell = std::process::Command::new("sh");
    judge::run(shell.args(["-euc", script]).env("ROOM", store.room()).current_dir(&room))?;
    let layout = Layout::create(&room.join("layout"))?;
    for index in 0..4 {
        layout.add_image(&index.to_string(), &[room.join(format!("{index}.tar"))])?;
        let out = store.output(&["pull", &format!("oci:{}:{index}", layout.dir().display())])?;
        ensure!(out.status.signal().is_none(), "case {index}: {}", out.status);
        eprintln!("escape {index}: {}", said(&out).trim_end().replace('\n', " / "));
    }
    let places = [
        store.room(),
        filesystem.path(),
        Path::new("/"),
        &store.root(),
        &store.root().join("overlay"),
    ];
    for place in places {
        ensure!(!place.join("canary").exists(), "a layer wrote to {}", place.display());
    }
    store.expect_clean()
}

fn absent_registry(filesystem: &Filesystem) -> Result<()> {
    // A port that nobody listens on: it was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(listener);
    let store = Store::new(filesystem)?;
    expect_refused(&store, &format!("docker://{address}/app:v1"), &[&address.to_string()])
}

/// That a pull fails with a message that says these words, and leaves nothing behind.
pub(crate) fn expect_refused(store: &Store, reference: &str, words: &[&str]) -> Result<()> {
    let before = (store.image_ids()?, store.layer_ids()?);
    let out = store.output(&["pull", reference])?;
    let text = said(&out);
    ensure!(out.status.code() == Some(1) || out.status.code() == Some(4), "{}: {text}", out.status);
    for word in words {
        ensure!(text.contains(word), "the message does not name {word}: {text}");
    }
    ensure!(!text.contains("panicked"), "{text}");
    let images = store.image_ids()?;
    ensure!(images == before.0, "images after a failed pull: {images:?}");
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    store.expect_clean()?;
    // Layers that were proved may wait for the next pull; a collection takes them.
    store.json(&["gc"])?;
    let layers = store.layer_ids()?;
    ensure!(layers == before.1, "layers after a failed pull and a gc: {layers:?}");
    Ok(())
}

fn flip(blob: &Path, at: u64) -> Result<()> {
    let mut file = fs::File::options().read(true).write(true).open(blob)?;
    let mut byte = [0];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at)?;
    file.seek(SeekFrom::Start(at))?;
    Ok(file.write_all(&[byte[0] ^ 1])?)
}
