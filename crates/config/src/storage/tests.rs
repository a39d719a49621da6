use std::path::{Path, PathBuf};

use super::StorageConfig;
use crate::{ConfigError, Environment};

/// A machine with some files; `etc/…` and `usr/…` are the system's, `home/…` the user's.
struct Machine {
    dir: tempfile::TempDir,
    environment: Environment,
}

impl Machine {
    fn new(uid: u32, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let home = dir.path().join("home").to_str().unwrap().to_owned();
        let environment = Environment::for_tests(&home, uid).with_system_root(dir.path());
        Self { dir, environment }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let value = value.replace("DIR", self.dir.path().to_str().unwrap());
        self.environment = self.environment.with(name, value);
        self
    }

    fn load(&self) -> Result<StorageConfig, ConfigError> {
        StorageConfig::load(&self.environment)
    }

    /// Graph root, run root, driver and additional stores, with the home directory as `~`.
    fn view(&self) -> String {
        let storage = self.load().unwrap();
        let home = self.dir.path().join("home").to_str().unwrap().to_owned();
        let shown = |path: &Path| path.to_str().unwrap().replace(&home, "~");
        let stores: Vec<_> =
            storage.additional_image_stores.iter().map(|path| shown(path)).collect();
        format!(
            "{} | {} | {} | {}",
            shown(&storage.graph_root),
            shown(&storage.run_root),
            storage.driver,
            stores.join(" ")
        )
    }
}

/// What `podman info` of podman 5.8.6 printed as root with these files in these places
/// (its home is `/root`).
#[test]
fn root_sees_what_podman_sees() {
    let mut files = vec![("etc/containers/storage.conf", "[storage]\nrunroot=\"/tmp/r1\"\n")];
    let mut step = |file: (&'static str, &'static str), printed: &str| {
        files.push(file);
        assert_eq!(Machine::new(0, &files).view(), printed, "after {file:?}");
    };
    step(
        ("usr/share/containers/storage.conf", "[storage]\ngraphroot=\"/tmp/gshare\"\n"),
        "/var/lib/containers/storage | /tmp/r1 | overlay | ",
    );
    step(
        ("home/.config/containers/storage.conf", "[storage]\ngraphroot=\"/tmp/g1\"\n"),
        "/tmp/g1 | /run/containers/storage | overlay | ",
    );
    step(
        (
            "usr/share/containers/storage.conf.d/10.conf",
            "[storage]\ngraphroot=\"/tmp/gusr10\"\n\
             [storage.options]\nadditionalimagestores=[\"/tmp/add1\"]\n",
        ),
        "/tmp/gusr10 | /run/containers/storage | overlay | /tmp/add1",
    );
    step(
        (
            "etc/containers/storage.rootful.conf.d/20.conf",
            "[storage]\ngraphroot=\"/tmp/grootful20\"\n",
        ),
        "/tmp/grootful20 | /run/containers/storage | overlay | /tmp/add1",
    );
    step(
        (
            "etc/containers/storage.rootless.conf.d/30.conf",
            "[storage]\ngraphroot=\"/tmp/grootless30\"\n",
        ),
        "/tmp/grootful20 | /run/containers/storage | overlay | /tmp/add1",
    );
    step(
        (
            "etc/containers/storage.conf.d/40.conf",
            "[storage]\ngraphroot=\"/tmp/getc40\"\n\
             [storage.options]\nadditionalimagestores=[\"/tmp/add2\", {append=true}]\n",
        ),
        "/tmp/getc40 | /run/containers/storage | overlay | /tmp/add1 /tmp/add2",
    );
    step(
        (
            "home/.config/containers/storage.conf.d/05.conf",
            "[storage]\ngraphroot=\"/tmp/guser05\"\n",
        ),
        "/tmp/getc40 | /run/containers/storage | overlay | /tmp/add1 /tmp/add2",
    );
    step(
        (
            "home/.config/containers/storage.conf.d/40.conf",
            "[storage]\ngraphroot=\"/tmp/guser40\"\n",
        ),
        "/tmp/guser40 | /run/containers/storage | overlay | /tmp/add1",
    );
    step(
        ("home/.config/containers/storage.conf.d/50.txt", "[storage]\ngraphroot=\"/tmp/gtxt\"\n"),
        "/tmp/guser40 | /run/containers/storage | overlay | /tmp/add1",
    );
}

/// The same for the variables.
#[test]
fn variables_do_what_they_do_in_podman() {
    let files = [
        ("etc/containers/storage.conf", "[storage]\ngraphroot=\"/tmp/getc\"\n"),
        (
            "a.conf",
            "[storage]\ndriver=\"overlay\"\ngraphroot=\"/tmp/genv\"\n\
             [storage.options]\nadditionalimagestores=[\"/tmp/add3\"]\n",
        ),
        (
            "o.conf",
            "[storage]\nrunroot=\"/tmp/r9\"\n\
             [storage.options]\nadditionalimagestores=[\"/tmp/add1\", {append=true}]\n",
        ),
    ];
    let machine = || Machine::new(0, &files);
    let named = || machine().with("CONTAINERS_STORAGE_CONF", "DIR/a.conf");
    let expect = |machine: Machine, printed: &str| assert_eq!(machine.view(), printed);
    expect(named(), "/tmp/genv | /run/containers/storage | overlay | /tmp/add3");
    expect(
        machine().with("CONTAINERS_STORAGE_CONF_OVERRIDE", "DIR/o.conf"),
        "/tmp/getc | /tmp/r9 | overlay | /tmp/add1",
    );
    expect(
        named().with("CONTAINERS_STORAGE_CONF_OVERRIDE", "DIR/o.conf"),
        "/tmp/genv | /tmp/r9 | overlay | /tmp/add3 /tmp/add1",
    );
    expect(
        machine().with("CONTAINERS_STORAGE_CONF", ""),
        "/tmp/getc | /run/containers/storage | overlay | ",
    );
    expect(
        named().with("STORAGE_DRIVER", "vfs"),
        "/tmp/genv | /run/containers/storage | vfs | /tmp/add3",
    );
    expect(
        named().with("STORAGE_OPTS", "overlay.mountopt=noexec,overlay.imagestore=/tmp/add2"),
        "/tmp/genv | /run/containers/storage | overlay | /tmp/add2",
    );
    expect(named().with("STORAGE_OPTS", ""), "/tmp/genv | /run/containers/storage | overlay | ");
    for variable in ["CONTAINERS_STORAGE_CONF", "CONTAINERS_STORAGE_CONF_OVERRIDE"] {
        let error = machine().with(variable, "DIR/missing.conf").load().unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    }
}

/// What `podman info` printed for user 1000, whose runtime directory the session named.
#[test]
fn a_user_sees_what_podman_sees() {
    let expect = |files: &[(&str, &str)], printed: &str| {
        let machine = Machine::new(1000, files).with("XDG_RUNTIME_DIR", "/run/user/1000");
        assert_eq!(machine.view(), printed);
    };
    let usual = "~/.local/share/containers/storage | /run/user/1000/containers | overlay | ";
    let system = "etc/containers/storage.conf";
    expect(&[], usual);
    expect(
        &[(
            system,
            "[storage]\nrootless_storage_path=\"$HOME/s/$UID\"\nrunroot=\"/run/user/$UID/rr\"\n",
        )],
        "~/s/1000 | /run/user/1000/rr | overlay | ",
    );
    let both = "[storage]\nrootless_storage_path=\"$HOME/s/$UID\"\ngraphroot=\"$HOME/s/g\"\n";
    expect(&[(system, both)], "~/s/g | /run/user/1000/containers | overlay | ");
    let files = [
        ("etc/containers/storage.rootless.conf.d/1.conf", "[storage]\ngraphroot=\"$HOME/s/rl\"\n"),
        ("etc/containers/storage.rootful.conf.d/2.conf", "[storage]\ngraphroot=\"$HOME/s/rf\"\n"),
        (
            "etc/containers/storage.rootless.conf.d/1000/2.conf",
            "[storage]\ngraphroot=\"$HOME/s/rl1000\"\n",
        ),
        (
            "etc/containers/storage.rootless.conf.d/1001/3.conf",
            "[storage]\ngraphroot=\"$HOME/s/rl1001\"\n",
        ),
    ];
    expect(&files[..2], "~/s/rl | /run/user/1000/containers | overlay | ");
    expect(&files, "~/s/rl1000 | /run/user/1000/containers | overlay | ");
    expect(
        &[
            (system, both),
            ("home/.config/containers/storage.conf", "[storage]\ndriver=\"overlay\"\n"),
        ],
        usual,
    );
}

#[test]
fn without_a_session_the_runtime_directory_is_one_for_all_times() {
    let machine = Machine::new(1000, &[]);
    let storage = machine.load().unwrap();
    assert_eq!(storage.run_root, PathBuf::from("/tmp/storage-run-1000/containers"));
    let nobody = Environment::for_tests("", 1000);
    assert!(matches!(StorageConfig::load(&nobody), Err(ConfigError::NoHome)));
}

/// Appending goes on until a file says otherwise, as in podman.
#[test]
fn a_list_that_appends_goes_on_appending() {
    let list = |text: &str| format!("[storage.options]\nadditionalimagestores=[{text}]\n");
    let texts =
        [list("\"/a\",{append=true}"), list("\"/b\""), list("\"/c\",{append=false}"), list("")];
    for (count, expected) in [(1, "/a"), (2, "/a /b"), (3, "/c"), (4, "")] {
        let names: Vec<_> =
            (0..count).map(|n| format!("etc/containers/storage.conf.d/{n}.conf")).collect();
        let files: Vec<_> =
            names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let machine = Machine::new(0, &files);
        assert!(machine.view().ends_with(&format!("| {expected}")), "{count}");
    }
}

#[test]
fn options_are_found_under_both_of_their_names() {
    let text = "[storage]\nimagestore=\"/i\"\ntransient_store=true\n\
                [storage.options]\nmountopt=\"nodev\"\nforce_mask=\"shared\"\n\
                pull_options={enable_partial_images=\"True\",use_hard_links=\"false\"}\n\
                [storage.options.overlay]\nmountopt=\"nosuid\"\nuse_composefs=\"true\"\n";
    let storage = Machine::new(0, &[("etc/containers/storage.conf", text)]).load().unwrap();
    assert_eq!(storage.image_store, Some("/i".into()));
    assert!(storage.transient_store);
    assert_eq!(storage.driver_options.mount_options.as_deref(), Some("nosuid"));
    assert_eq!(storage.driver_options.force_mask.as_deref(), Some("shared"));
    assert!(storage.driver_options.use_composefs);
    assert_eq!(storage.pull_options.enable_partial_images, Some(true));
    assert!(!storage.pull_options.use_hard_links);
}

/// podman stops at each of these, too.
#[test]
fn what_makes_no_sense_is_refused_by_name() {
    for text in [
        "[storage",
        "[storage]\ngraphroot=5\n",
        "[storage.options]\npull_options={enable_partial_images=true}\n",
        "[storage.options]\nadditionalimagestores=[\"$HOME/as\"]\n",
        "[storage]\ngraphroot=\"/g\"\nimagestore=\"/g\"\n",
    ] {
        let error = Machine::new(0, &[("etc/containers/storage.conf", text)]).load().unwrap_err();
        assert!(error.to_string().contains("storage.conf"), "{text}: {error}");
    }
}
