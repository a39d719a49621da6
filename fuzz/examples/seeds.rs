//! Writes the seeds that are no plain text: `cargo run --example seeds`, with GNU tar.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use chunked::write::{WriteOptions, write_blob};
use chunked::{Limits, Span, Toc, TocLocation, write_index};
use storage_core::{BytesSource, Digest, Entry, EntryKind, Time};
use tarball::{Parts, Sink as _, TarSplitWriter, TarWriter, WriterOptions};
use transport::{LayoutWriter, ManifestDescriptor, media_type};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let layer = ours()?;
    let tree = tempfile::tempdir()?;
    fill(tree.path())?;
    keep("tar", "ours", &layer)?;
    keep("tar_split", "ours", &tar_split(&layer)?)?;
    for format in ["v7", "ustar", "gnu", "pax"] {
        let tar = gnu_tar(tree.path(), format)?;
        keep("tar", format, &tar)?;
        keep("tar_split", format, &tar_split(&tar)?)?;
    }
    blobs(&layer)?;
    indexes()?;
    archives()
}

fn keep(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join(name), bytes)?)
}

/// One entry of each kind, as our writer has it.
fn ours() -> Outcome<Vec<u8>> {
    let entry = |name: &str, kind, size| Entry {
        name: name.into(),
        kind,
        mode: 0o755,
        uid: 1,
        gid: 1000,
        size,
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 5 },
        atime: None,
        ctime: None,
        xattrs: vec![(b"user.a".into(), b"\0x".into())],
    };
    let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
    tar.entry(&entry("d/", EntryKind::Directory, 0), std::io::empty())?;
    tar.entry(&entry("d/file", EntryKind::Regular, 6), &b"hello\n"[..])?;
    let target = || b"d/file".to_vec();
    tar.entry(&entry("link", EntryKind::Symlink { target: target() }, 0), std::io::empty())?;
    tar.entry(&entry("again", EntryKind::HardLink { target: target() }, 0), std::io::empty())?;
    tar.entry(&entry("null", EntryKind::CharDevice { major: 1, minor: 3 }, 0), std::io::empty())?;
    tar.entry(&entry("disk", EntryKind::BlockDevice { major: 8, minor: 0 }, 0), std::io::empty())?;
    tar.entry(&entry("pipe", EntryKind::Fifo, 0), std::io::empty())?;
    tar.entry(&entry(&"long/".repeat(60), EntryKind::Directory, 0), std::io::empty())?;
    Ok(tar.finish()?)
}

/// What GNU tar is to write.
fn fill(tree: &Path) -> Outcome {
    fs::create_dir(tree.join("etc"))?;
    fs::write(tree.join("etc/motd"), "hello\n")?;
    fs::write(tree.join("etc/empty"), "")?;
    fs::hard_link(tree.join("etc/motd"), tree.join("etc/twin"))?;
    std::os::unix::fs::symlink("motd", tree.join("etc/link"))?;
    Ok(())
}

fn gnu_tar(tree: &Path, format: &str) -> Outcome<Vec<u8>> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(tree).args(["--sort=name", "--mtime=@1700000000", "--owner=0:0"]);
    command.args(["--blocking-factor=2", "--format", format, "-cf", "-"]);
    if format == "pax" {
        command.arg("--pax-option=globexthdr.name=g,comment=x,delete=atime,delete=ctime");
    }
    if format == "gnu" {
        let long = "n".repeat(120);
        command.arg(format!("--transform=s,etc/empty,{long},"));
    }
    let output = command.arg("etc").output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(output.stdout)
}

fn tar_split(tar: &[u8]) -> Outcome<Vec<u8>> {
    let mut parts = Parts::new(tar, tarball::Limits::default());
    let mut split = TarSplitWriter::new(Vec::new());
    while let Some(part) = parts.next_part()? {
        split.part(&part)?;
    }
    Ok(split.finish()?)
}

fn blobs(layer: &[u8]) -> Outcome {
    let mut blob = Vec::new();
    let written = write_blob(layer, &mut blob, &WriteOptions::default())?;
    keep("footer", "blob", &blob)?;
    let annotations = written.annotations.iter().map(|(key, value)| format!("{key}={value}\n"));
    keep("annotations", "ours", annotations.collect::<String>().as_bytes())?;
    let source = BytesSource::new(blob.clone());
    let location = TocLocation::from_footer(&source)?.ok_or("it has a footer")?;
    Toc::fetch(&source, &location, &Limits::default())?;

    let json = one_toc(&[("a", 10, 0, 20), ("b", 7, 20, 31)]);
    keep("toc", "two.json", json.as_bytes())?;
    let toc = Span { offset: 39, length: 100, uncompressed: 300 };
    let tar_split = Span { offset: 147, length: 50, uncompressed: 90 };
    let mut frames = Vec::new();
    for Span { offset, length, uncompressed } in [toc, tar_split] {
        [offset, length, uncompressed].iter().for_each(|n| frames.extend(n.to_le_bytes()));
    }
    [269_u64, 0].iter().for_each(|n| frames.extend(n.to_le_bytes()));
    frames.extend_from_slice(json.as_bytes());
    keep("frames", "two", &frames)
}

/// A TOC of files: name, size, and where they are in the blob.
fn one_toc(files: &[(&str, u64, u64, u64)]) -> String {
    let file = |(name, size, offset, end): &(&str, u64, u64, u64)| {
        let digest = Digest::of(name.as_bytes());
        format!(
            r#"{{"type":"reg","name":"{name}","size":{size},"digest":"{digest}","offset":{offset},"endOffset":{end}}}"#
        )
    };
    let files: Vec<String> = files.iter().map(file).collect();
    format!(r#"{{"version":1,"entries":[{}]}}"#, files.join(","))
}

/// Indexes of few files and of so many that one digest is looked for by the filter.
fn indexes() -> Outcome {
    let names: Vec<String> = (0..130).map(|number| format!("f{number}")).collect();
    for (name, count) in [("none", 0), ("one", 1), ("few", 5), ("many", 130)] {
        let files: Vec<_> =
            (0..).zip(&names[..count]).map(|(at, name)| (&**name, 9, at, at + 1)).collect();
        let json = one_toc(&files);
        let mut index = Vec::new();
        write_index(&Toc::read(json.as_bytes(), &Limits::default())?, &mut index)?;
        keep("index", name, &index)?;
        keep("toc", &format!("{name}.json"), json.as_bytes())?;
    }
    Ok(())
}

/// A layout in a tar, and the documents of its image.
fn archives() -> Outcome {
    let dir = tempfile::tempdir()?;
    let layout = LayoutWriter::create(File::open(dir.path())?)?;
    let layer = layout.put_bytes(&[0; 1024])?;
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(&[0; 1024])
    );
    let stored = layout.put_bytes(config.as_bytes())?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
        stored.digest,
        stored.size,
        media_type::OCI_LAYER,
        layer.digest,
        layer.size,
    );
    let put = layout.put_bytes(manifest.as_bytes())?;
    let descriptor = ManifestDescriptor::new(media_type::OCI_MANIFEST, put);
    layout.set_manifest(Some("v1"), &descriptor)?;
    let files: PathBuf = dir.path().into();
    for format in ["ustar", "gnu", "pax"] {
        let mut command = Command::new("tar");
        command.arg("-C").arg(&files).args(["--sort=name", "--blocking-factor=2", "--format"]);
        let output = command.args([format, "-cf", "-", "."]).output()?;
        keep("oci_archive", format, &output.stdout)?;
    }
    keep("manifest", "image", format!("{manifest}\0\0{config}").as_bytes())?;
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        put.digest,
        put.size,
    );
    keep("manifest", "index", format!("{index}\0{manifest}\0{config}").as_bytes())
}
