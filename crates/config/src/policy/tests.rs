use std::path::Path;

use super::{Policy, PolicyError, Refusal, Subject};
use crate::Environment;

const ANY: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

fn policy(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes(), Path::new("policy.json"))
}

/// Whether a policy that rejects one scope of a transport, and accepts all else, refuses.
fn refuses(transport: &str, scope: &str, subject: &Subject) -> bool {
    let text =
        format!(r#"{{"default":{ANY},"transports":{{"{transport}":{{"{scope}":{REJECT}}}}}}}"#);
    policy(&text).unwrap().check(subject).is_err()
}

/// What podman 5.8.6 did with an image of a registry, with one scope rejected.
#[test]
fn scopes_are_those_of_podman() {
    let image = Subject::registry("127.0.0.1:5999/team/app:v1");
    for (scope, refused) in [
        ("127.0.0.1:5999/team/app:v1", true),
        ("127.0.0.1:5999/team/app", true),
        ("127.0.0.1:5999/team", true),
        ("127.0.0.1:5999", true),
        ("127.0.0.1", false),
        ("127.0.0.1:5999/te", false),
        ("", true),
        ("*.0.0.1:5999", false),
        ("*.0.0.1", true),
        ("*.0.1", true),
        ("*.1", true),
        ("*", false),
    ] {
        assert_eq!(refuses("docker", scope, &image), refused, "{scope}");
    }
}

#[test]
fn scopes_of_a_registry_are_parts_of_the_name_and_wildcards_of_the_host() {
    let image = Subject::registry("r.team.example:5000/lib/app:v1");
    for scope in [
        "r.team.example:5000/lib/app:v1",
        "r.team.example:5000/lib/app",
        "r.team.example:5000/lib",
        "r.team.example:5000",
        "*.team.example",
        "*.example",
        "",
    ] {
        assert!(refuses("docker", scope, &image), "{scope}");
    }
    for scope in
        ["r.team.example:5000/lib/app:v2", "r.team.example:5000/li", "r.team.example", "*.com", "*"]
    {
        assert!(!refuses("docker", scope, &image), "{scope}");
    }
    assert!(!refuses("oci", "", &image));
    let digest = Subject::registry("r.example/app@sha256:11");
    assert!(refuses("docker", "r.example/app@sha256:11", &digest));
    assert!(refuses("docker", "r.example/app", &digest));
}

/// podman 5.8.6 refused and accepted an image of a layout with these scopes.
#[test]
fn scopes_of_a_layout_are_directories() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let image = Subject::oci_layout(&dir);
    let path = dir.to_str().unwrap();
    let above = dir.parent().unwrap().to_str().unwrap();
    assert!(refuses("oci", path, &image));
    assert!(refuses("oci", above, &image));
    assert!(refuses("oci", "", &image));
    assert!(!refuses("oci", &format!("{path}:v1"), &image));
    assert!(!refuses("oci-archive", path, &image));
    assert!(refuses("oci-archive", path, &Subject::oci_archive(&dir)));
}

#[test]
fn the_narrowest_scope_decides() {
    let text = format!(
        r#"{{"default":{REJECT},"transports":{{"docker":{{"h:1/team":{ANY},"h:1":{REJECT},"":{REJECT}}}}}}}"#
    );
    let policy = policy(&text).unwrap();
    assert!(policy.check(&Subject::registry("h:1/team/app:v1")).is_ok());
    let refused = policy.check(&Subject::registry("h:1/app:v1")).unwrap_err();
    assert!(refused.to_string().contains(r#"docker "h:1""#), "{refused}");
    assert!(policy.check(&Subject::registry("other.example/app:v1")).is_err());
}

#[test]
fn all_requirements_have_to_be_met_and_signatures_never_are() {
    let check = |requirements: &str| {
        let policy = policy(&format!(r#"{{"default":[{requirements}]}}"#)).unwrap();
        policy.check(&Subject::registry("h.example/app:v1"))
    };
    let any = r#"{"type":"insecureAcceptAnything"}"#;
    assert!(check(any).is_ok());
    let both = check(&format!(r#"{any},{{"type":"reject"}}"#));
    assert!(matches!(both, Err(Refusal::Rejected { .. })));
    for (name, fields) in [
        ("signedBy", r#","keyType":"GPGKeys","keyPath":"/k""#),
        ("sigstoreSigned", r#","keyPath":"/k""#),
        ("signedBaseLayer", r#","baseLayerIdentity":{"type":"matchExact"}"#),
    ] {
        let refused = check(&format!(r#"{any},{{"type":"{name}"{fields}}}"#)).unwrap_err();
        assert!(
            matches!(refused, Refusal::Unverifiable { requirement, .. } if requirement == name),
            "{refused}"
        );
    }
}

/// podman 5.8.6 stops at each of these.
#[test]
fn nothing_in_a_policy_is_passed_over() {
    for text in [
        "{}".to_owned(),
        r#"{"default":[]}"#.to_owned(),
        format!(r#"{{"default":{ANY},"x":1}}"#),
        format!(r#"{{"default":{ANY},"default":{ANY}}}"#),
        r#"{"default":[{"type":"insecureAcceptAnything","x":1}]}"#.to_owned(),
        r#"{"default":[{"type":"reject","x":1}]}"#.to_owned(),
        r#"{"default":[{"type":"bogus"}]}"#.to_owned(),
        format!(r#"{{"default":{ANY},"transports":{{"docker":{{"a.b":{REJECT},"a.b":{ANY}}}}}}}"#),
        format!(r#"{{"default":{ANY},"transports":{{"docker":{{}},"docker":{{}}}}}}"#),
    ] {
        assert!(policy(&text).is_err(), "{text}");
    }
    // It accepts this one: an unknown transport may come with a later version.
    assert!(
        policy(&format!(r#"{{"default":{ANY},"transports":{{"nosuch":{{"":{REJECT}}}}}}}"#))
            .is_ok()
    );
}

/// The user's file goes before the system's; others that newer versions know are not read.
#[test]
fn the_policy_is_the_one_that_podman_finds() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let environment = Environment::for_tests(home.to_str().unwrap(), 0)
        .with_system_root(dir.path())
        .with("XDG_CONFIG_HOME", dir.path().join("xdg").to_str().unwrap());
    let write = |path: &str, requirements: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!(r#"{{"default":{requirements}}}"#)).unwrap();
    };
    let image = Subject::registry("h.example/app:v1");
    let refused = |explicit: Option<&Path>| {
        let policy = Policy::load(&environment, explicit).unwrap();
        policy.map(|policy| policy.check(&image).is_err())
    };
    write("usr/share/containers/policy.json", REJECT);
    write("xdg/containers/policy.json", REJECT);
    assert_eq!(refused(None), None);
    write("etc/containers/policy.json", ANY);
    assert_eq!(refused(None), Some(false));
    write("home/.config/containers/policy.json", REJECT);
    assert_eq!(refused(None), Some(true));
    assert_eq!(refused(Some(&dir.path().join("etc/containers/policy.json"))), Some(false));
    assert!(Policy::load(&environment, Some(&dir.path().join("missing.json"))).is_err());
}
