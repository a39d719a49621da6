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

/// The tables that could be meant, looked up in the simplest way.
fn places(registries: &RegistriesConfig, name: &str) {
    let endpoints = registries.endpoints(name);
    let all = || {
        let prefix = |r: &config::Registry| {
            if r.prefix.is_empty() { r.location.clone() } else { r.prefix.clone() }
        };
        registries.registries.iter().map(move |registry| (prefix(registry), registry))
    };
    // A table for the very name is the most specific that there can be.
    if let Some((_, exact)) = all().find(|(prefix, _)| prefix == name) {
        let expected = if exact.blocked { 0 } else { exact.mirrors.len() + 1 };
        assert_eq!(endpoints.len(), expected);
    }
    let concerned = all().any(|(prefix, _)| prefix.starts_with('*') || name.starts_with(&prefix));
    if !concerned {
        assert_eq!(endpoints.len(), 1);
        assert!(endpoints[0].location == name && !endpoints[0].insecure);
    }
}
