//! The command obeys the configuration files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user's home with configuration, a store, and a layout with an image.
struct Place(tempfile::TempDir);

struct Outcome {
    success: bool,
    said: String,
}

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("tree")).unwrap();
        fs::write(place.path("tree/file"), "content").unwrap();
        let tree = place.path("tree");
        let built = place.run(&["build-image", tree.to_str().unwrap(), &place.image()]);
        assert!(built.success, "{}", built.said);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn image(&self) -> String {
        format!("oci:{}:v1", self.path("layout").display())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text.replace("DIR", self.0.path().to_str().unwrap())).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let (root, run) = (self.path("root"), self.path("run"));
        let store = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
        self.command(&[&store, args].concat())
    }

    fn command(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reflayer"));
        command.env("HOME", self.path("home")).env_remove("XDG_CONFIG_HOME");
        for name in ["registries.conf", "storage.conf"] {
            let variable = name.to_uppercase().replace('.', "_");
            let file = self.path(name);
            if file.exists() {
                command.env(format!("CONTAINERS_{variable}"), file);
            }
        }
        let out = command.args(args).output().unwrap();
        let said = [out.stdout, out.stderr].map(|part| String::from_utf8(part).unwrap()).concat();
        Outcome { success: out.status.success(), said }
    }

    fn expect_refused(&self, args: &[&str], words: &[&str]) {
        let outcome = self.run(args);
        assert!(!outcome.success, "{args:?} succeeded: {}", outcome.said);
        for word in words {
            assert!(outcome.said.contains(word), "{args:?} said {}, not {word}", outcome.said);
        }
    }
}

fn layers(root: &Path) -> usize {
    let text = fs::read(root.join("overlay-layers/layers.json")).unwrap_or_else(|_| b"[]".into());
    serde_json::from_slice::<Vec<serde_json::Value>>(&text).unwrap().len()
}

#[test]
fn a_policy_is_obeyed_before_anything_is_pulled() {
    let place = Place::new();
    let any = r#"[{"type":"insecureAcceptAnything"}]"#;
    let file = |name: &str, requirements: &str| {
        let text = format!(
            r#"{{"default":{any},"transports":{{"oci":{{"DIR/layout":{requirements}}}}}}}"#
        );
        place.write(name, &text)
    };
    let rejecting = file("rejecting.json", r#"[{"type":"reject"}]"#);
    let signed = file("signed.json", r#"[{"type":"sigstoreSigned","keyPath":"/k"}]"#);
    let broken = file("broken.json", r#"[{"type":"rejects"}]"#);
    let image = place.image();
    for command in ["pull", "plan"] {
        for (policy, word) in [
            (&rejecting, "is rejected by"),
            (&signed, "sigstoreSigned"),
            (&broken, "broken.json"),
            (&"/nowhere/policy.json".to_owned(), "/nowhere/policy.json"),
        ] {
            place.expect_refused(&[command, "--signature-policy", policy, &image], &[word]);
        }
    }
    fs::create_dir_all(place.path("home/.config/containers")).unwrap();
    fs::rename(&rejecting, place.path("home/.config/containers/policy.json")).unwrap();
    place.expect_refused(&["pull", &image], &["home/.config/containers/policy.json"]);
    assert_eq!(layers(&place.path("root")), 0);
    let accepting = file("accepting.json", any);
    let pulled = place.run(&["pull", "--signature-policy", &accepting, &image]);
    assert!(pulled.success, "{}", pulled.said);
}

#[test]
fn a_name_alone_is_completed_by_registries_conf() {
    let place = Place::new();
    let accepting = place.write("any.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let plan = |name: &str, words: &[&str]| {
        place.expect_refused(&["plan", "--signature-policy", &accepting, name], words);
    };
    place.write(
        "registries.conf",
        "unqualified-search-registries=[\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
         [[registry]]\nlocation=\"127.0.0.1:3\"\nblocked=true\n\
         [aliases]\n\"team/app\"=\"127.0.0.1:3/team/app\"\n",
    );
    plan("app:v1", &["127.0.0.1:1/app:v1", "127.0.0.1:2/app:v1"]);
    plan("team/app", &["127.0.0.1:3/team/app:latest", "blocks 127.0.0.1:3"]);
    plan("127.0.0.1:3/app", &["blocks 127.0.0.1:3"]);
    plan("dir:app", &["does not begin with"]);
    plan("Not A Name", &["does not begin with"]);
    place.write("registries.conf", "");
    plan("app:v1", &["unqualified-search-registries"]);
}

#[test]
fn the_store_and_its_ways_are_those_of_storage_conf() {
    let place = Place::new();
    let accepting = place.write("any.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    place.write(
        "storage.conf",
        "[storage]\ndriver=\"overlay\"\ngraphroot=\"DIR/configured\"\nrunroot=\"DIR/run\"\n\
         [storage.options]\npull_options={enable_partial_images=\"false\"}\n",
    );
    let pull = ["--json", "pull", "--signature-policy", &accepting, &place.image()];
    let pulled = place.command(&pull);
    assert!(pulled.success, "{}", pulled.said);
    assert_eq!(layers(&place.path("configured")), 1);
    assert!(pulled.said.contains("\"path\": \"full\""), "{}", pulled.said);
    place.write("storage.conf", "[storage]\ndriver=\"vfs\"\n");
    let refused = place.command(&pull);
    assert!(!refused.success && refused.said.contains("vfs"), "{}", refused.said);
}
