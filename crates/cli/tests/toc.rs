//! `reflayer toc`, judged by the blob's own TOC as a plain JSON reader sees it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use testkit::layout::Layout;
use testkit::peer::peers_dir;

fn reflayer(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reflayer")).args(args).output().unwrap()
}

fn text(args: &[&str]) -> String {
    let output = reflayer(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn document(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).unwrap()
}

/// A layer's TOC: its offset and length in the blob, and its JSON.
fn decoded(blob: &[u8], position: &str) -> (u64, u64, Value) {
    let numbers: Vec<u64> = position.split(':').map(|n| n.parse().unwrap()).collect();
    let at = |n: u64| usize::try_from(n).unwrap();
    let frame = &blob[at(numbers[0])..at(numbers[0] + numbers[1])];
    let toc = serde_json::from_slice(&zstd::decode_all(frame).unwrap()).unwrap();
    (numbers[0], numbers[1], toc)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// What is shown of a layer is what its TOC says: entries, chunks, frames.
fn judge(shown: &Value, blob: &[u8], position: &str) {
    let (offset, length, toc) = decoded(blob, position);
    assert_eq!(
        (number(&shown["toc"]["offset"]), number(&shown["toc"]["length"])),
        (offset, length)
    );
    let mut entries = shown["entries"].as_array().unwrap().iter();
    let (mut entry, mut chunk) = (&Value::Null, 0);
    let mut places: Vec<(u64, u64)> = Vec::new();
    for told in toc["entries"].as_array().unwrap() {
        if told["type"] == "chunk" {
            chunk += 1;
        } else {
            entry = entries.next().unwrap();
            chunk = 0;
            judge_entry(entry, told);
        }
        if told["type"] != "chunk" && (told["type"] != "reg" || number(&told["size"]) == 0) {
            assert!(entry["chunks"].is_null());
            continue;
        }
        let found = &entry["chunks"][chunk];
        let only = told["chunkDigest"].is_null();
        let size = if only { &told["size"] } else { &told["chunkSize"] };
        assert_eq!(number(&found["offset"]), number(&told["offset"]));
        assert_eq!(number(&found["file_offset"]), number(&told["chunkOffset"]));
        assert_eq!(found["size"], *size);
        assert_eq!(found["digest"], told["chunkDigest"]);
        assert_eq!(found["hole"], told["chunkType"] == "zeros");
        places.push((number(&found["offset"]), number(&found["length"])));
    }
    assert!(entries.next().is_none());
    let frames = shown["frames"].as_array().unwrap();
    let mut at = 0;
    for frame in frames {
        assert_eq!(number(&frame["offset"]), at, "no gap, no overlap");
        at += number(&frame["length"]);
    }
    assert_eq!(at, blob.len() as u64);
    let chunks = frames.iter().filter(|frame| frame["kind"] == "chunk");
    let chunks = chunks.map(|frame| (number(&frame["offset"]), number(&frame["length"])));
    assert_eq!(chunks.collect::<Vec<_>>(), places);
    let kinds: Vec<_> = frames[frames.len() - 3..].iter().map(|frame| &frame["kind"]).collect();
    assert_eq!(kinds, ["toc", "tar-split", "footer"]);
}

fn judge_entry(shown: &Value, told: &Value) {
    assert_eq!((&shown["name"], &shown["type"]), (&told["name"], &told["type"]));
    for field in ["mode", "uid", "gid", "size"] {
        assert_eq!(number(&shown[field]), number(&told[field]), "{field} of {}", told["name"]);
    }
    assert_eq!(shown["link"], told["linkName"]);
    if number(&told["size"]) > 0 {
        assert_eq!(shown["digest"], told["digest"]);
    }
    if told["type"] == "char" || told["type"] == "block" {
        let device = json!([number(&told["devMajor"]), number(&told["devMinor"])]);
        assert_eq!(shown["device"], device);
    }
}

/// Looks at every layer of an image in every way, and judges it.
fn judge_image(layout: &Path, tag: &str) {
    let reference = format!("oci:{}:{tag}", layout.display());
    let layers = Layout::open(layout).image(tag).unwrap().layers;
    let all = document(&["--json", "toc", &reference, "--chunks", "--frames"]);
    assert_eq!(all["layers"].as_array().unwrap().len(), layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let key = "io.github.containers.zstd-chunked.manifest-position";
        let position = &layer.annotations[key];
        let file = Layout::open(layout).blob(&layer.digest);
        let blob = fs::read(&file).unwrap();
        let shown = &all["layers"][index];
        assert_eq!((&shown["found_by"], &shown["proved"]), (&json!("annotations"), &json!(true)));
        assert_eq!(shown["digest"], format!("sha256:{}", layer.digest));
        judge(shown, &blob, position);
        for name in [&*index.to_string(), &layer.digest[..12]] {
            let args = ["--json", "toc", &reference, "--layer", name, "--chunks", "--frames"];
            assert_eq!(document(&args)["layers"], json!([shown]));
        }
        let by_footer = ["--json", "toc", file.to_str().unwrap(), "--chunks", "--frames"];
        let by_footer = &document(&by_footer)["layers"][0];
        assert_eq!(
            (&by_footer["found_by"], &by_footer["proved"]),
            (&json!("footer"), &json!(false))
        );
        for field in ["toc", "tar_split", "entries", "frames"] {
            assert_eq!(by_footer[field], shown[field], "{field}");
        }
    }
}

/// A layout with an image of ours.
fn built() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/motd"), "hello\n").unwrap();
    fs::hard_link(tree.join("etc/motd"), tree.join("etc/zwei")).unwrap();
    symlink("motd", tree.join("etc/link\nwith a break")).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    fs::write(tree.join("big"), [vec![1; 5000], vec![0; 9000], vec![2; 70_000]].concat()).unwrap();
    let layout = dir.path().join("layout");
    let reference = format!("oci:{}:v1", layout.display());
    text(&["build-image", tree.to_str().unwrap(), &reference, "--owner", "12:34"]);
    (dir, layout)
}

#[test]
fn a_blob_of_ours_is_shown_as_it_is() {
    let (_dir, layout) = built();
    judge_image(&layout, "v1");
}

#[test]
#[ignore = "needs the images of `cargo xtask peers`"]
fn blobs_of_skopeo_are_shown_as_they_are() {
    for tag in ["v1", "v2"] {
        judge_image(&peers_dir().join("images/oci-chunked"), tag);
    }
}

#[test]
fn a_decoded_toc_is_shown_without_its_blob() {
    let (dir, layout) = built();
    let layer = &Layout::open(&layout).image("v1").unwrap().layers[0];
    let position = &layer.annotations["io.github.containers.zstd-chunked.manifest-position"];
    let blob = fs::read(Layout::open(&layout).blob(&layer.digest)).unwrap();
    let file = dir.path().join("toc.json");
    fs::write(&file, decoded(&blob, position).2.to_string()).unwrap();
    let shown = document(&["--json", "toc", file.to_str().unwrap(), "--frames"]);
    let shown = &shown["layers"][0];
    assert_eq!((&shown["found_by"], &shown["proved"]), (&json!("file"), &json!(false)));
    assert_eq!((&shown["toc"], &shown["frames"]), (&Value::Null, &json!([])));
    let names: Vec<_> = shown["entries"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
    assert!(names.contains(&&json!("etc/motd")));
}

#[test]
fn text_has_a_line_for_each_entry() {
    let (_dir, layout) = built();
    let reference = format!("oci:{}:v1", layout.display());
    let shown = text(&["toc", &reference]);
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].ends_with("proved by the manifest"), "{}", lines[0]);
    for line in [
        "-rw-r--r--  12:34                  6  etc/motd",
        "hrw-r--r--  12:34                  0  etc/zwei link to etc/motd",
        "lrwxrwxrwx  12:34                  0  etc/link\\nwith a break -> motd",
    ] {
        assert!(lines.contains(&line), "{line}\n{shown}");
    }
    let with_chunks = text(&["toc", &reference, "--chunks", "--frames"]);
    assert!(with_chunks.lines().any(|line| line.ends_with(" hole")), "{with_chunks}");
    assert!(with_chunks.ends_with(" footer\n"), "{with_chunks}");
}

#[test]
fn what_has_no_toc_is_told_apart_from_what_cannot_be_found() {
    let (dir, layout) = built();
    let reference = format!("oci:{}:v1", layout.display());
    for (args, code, message) in [
        (vec!["toc", &*reference, "--layer", "7"], 1, "no layer 7 among 1"),
        (vec!["toc", "no reference"], 2, ""),
        (vec!["toc", env!("CARGO_BIN_EXE_reflayer")], 1, "neither a zstd:chunked blob nor"),
    ] {
        let output = reflayer(&args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(message), "{error}");
    }
    let tar = dir.path().join("tar");
    fs::write(&tar, [0; 1024]).unwrap();
    Layout::open(&layout).add_image("plain", &[tar]).unwrap();
    let reference = format!("oci:{}:plain", layout.display());
    assert!(text(&["toc", &reference]).ends_with(": no TOC\n"));
    assert!(!reflayer(&["toc", &reference, "--layer", "0"]).status.success());
}
