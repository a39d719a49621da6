//! The files of the user: storage.conf, registries.conf, auth.json; each input is all three.
#![no_main]

use config::{AuthFiles, Environment, Login, RegistriesConfig, StorageConfig};
use laws::{bounded, file};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] =
    ["registry.example/team/app", "registry.example:5000/app", "docker.io/library/a", "x"];

fuzz_target!(|text: &[u8]| {
    let (_file, path) = file(text);
    let limit = (1 << 20) + 400 * text.len();
    for uid in [0, 1000] {
        let environment = Environment::for_tests("/home/ada", uid)
            .with("CONTAINERS_STORAGE_CONF", &path)
            .with("CONTAINERS_REGISTRIES_CONF", &path);
        if let Ok(storage) = bounded(limit, || StorageConfig::load(&environment)) {
            assert_eq!(StorageConfig::load(&environment).ok(), Some(storage));
        }
        if let Ok(registries) = bounded(limit, || RegistriesConfig::load(&environment)) {
            NAMES.iter().for_each(|name| places(&registries, name));
        }
    }
    let files = AuthFiles::of(&Environment::for_tests("/root", 0), Some(path.as_ref()));
    for name in NAMES {
        let login = bounded(limit, || files.login(name));
        if let Ok(Some(Login::Password { username, password })) = login {
            assert!(!username.contains(':'));
            let login = Login::Password { username: String::new(), password };
            assert_eq!(format!("{login:?}"), "Password()", "the password shows");
        }
    }
});

/// What is said of a name is said again, and names a place for it unless it is blocked.
fn places(registries: &RegistriesConfig, name: &str) {
    let Ok(endpoints) = registries.endpoints(name) else { return };
    assert!(!endpoints.is_empty(), "{name} is nowhere");
    assert_eq!(registries.endpoints(name).ok(), Some(endpoints));
    if let Ok(names) = registries.complete(name) {
        assert!(!names.is_empty(), "{name} stands for nothing");
    }
}
