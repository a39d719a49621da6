//! `reflayer push` and `reflayer convert`, as a script sees them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let tree = place.path("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), vec![7; 300_000]).unwrap();
        place.document(&["build-image", tree.to_str().unwrap(), &place.layout("built")]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn layout(&self, name: &str) -> String {
        format!("oci:{}:v1", self.path(name).display())
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reflayer"));
        command.arg("--root").arg(self.path("root")).arg("--runroot").arg(self.path("run"));
        command.args(args).output().unwrap()
    }

    fn document(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_image_goes_in_and_out_and_stays_the_same() {
    let place = Place::new();
    let archive = format!("oci-archive:{}:v1", place.path("image.tar").display());
    let converted = place.document(&["convert", &place.layout("built"), &archive]);
    assert_eq!(converted["layers"][0]["action"], "copied");
    let pulled = place.document(&["pull", &archive, "--name", "localhost/app:v1"]);
    assert_eq!(pulled["digest"], converted["digest"]);

    let pushed = place.document(&["push", "app:v1", &place.layout("pushed")]);
    let layer = &pushed["layers"][0];
    assert_eq!(layer["action"], "written");
    // Made anew, it is the same blob, so it is the same image to the last byte.
    assert_eq!(layer["digest"], converted["layers"][0]["digest"]);
    assert_eq!(pushed["digest"], converted["digest"]);
    assert_eq!(pushed["image_id"], pulled["image_id"]);
    assert_eq!(pushed["sent"], layer["size"]);
    assert!(layer["uncompressed"].as_u64().unwrap() > 300_000);

    let text = place.run(&["push", "containers-storage:localhost/app:v1", &place.layout("pushed")]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("present") && text.contains("sent 0 B of"), "{text}");
    let harder = ["--compression-level", "19"];
    let to = place.layout("harder");
    let args = [&["convert", "containers-storage:app:v1", &to], &harder[..]].concat();
    assert_ne!(place.document(&args)["layers"][0]["digest"], layer["digest"]);
}

#[test]
fn what_cannot_be_is_told_by_the_exit_code() {
    let place = Place::new();
    let (built, to) = (place.layout("built"), place.layout("to"));
    for (args, code, message) in [
        (["push", "nothing", &to], 4, "no image is called"),
        (["push", &built, &to], 1, "use `reflayer convert`"),
        (["push", "app", "app"], 2, "does not begin with docker://"),
        (["convert", "app", &to], 2, "does not begin with docker://"),
        (["convert", &place.layout("missing"), &to], 4, "missing"),
        (["convert", &built, "containers-storage:app"], 1, "is in a store"),
        (["convert", "containers-storage:app", &to], 4, "no image is called"),
    ] {
        let output = place.run(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(message), "{args:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
    let output = place.run(&["push", "app", &to, "--compression-level", "23"]);
    assert_eq!(output.status.code(), Some(2));
}
