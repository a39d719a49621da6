use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn display(text: &str) -> Result<String, ReferenceError> {
    text.parse::<Reference>().map(|reference| reference.to_string())
}

#[test]
fn short_names_are_completed_as_other_tools_complete_them() {
    for (text, full) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("me/app", "docker.io/me/app:latest"),
        ("index.docker.io/me/app", "docker.io/me/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("Registry/app", "Registry/app:latest"),
        ("quay.io/a/b-c_d.e__f--g:V_1.2-3", "quay.io/a/b-c_d.e__f--g:V_1.2-3"),
    ] {
        assert_eq!(display(&format!("docker://{text}")), Ok(format!("docker://{full}")));
    }
}

#[test]
fn a_digest_needs_no_tag_and_keeps_one() {
    for name in ["quay.io/a/b", "quay.io/a/b:v1"] {
        let text = format!("docker://{name}@{DIGEST}");
        assert_eq!(display(&text), Ok(text.clone()));
    }
    let reference: DockerReference = format!("quay.io/a/b@{DIGEST}").parse().unwrap();
    assert_eq!((reference.host(), reference.repository()), ("quay.io", "a/b"));
    assert_eq!((reference.tag(), reference.name()), (None, "quay.io/a/b".into()));
    assert_eq!(reference.digest().unwrap().to_string(), DIGEST);
}

#[test]
fn paths_end_at_the_first_colon() {
    for (text, dir, tag) in [
        ("oci:/a/b", "/a/b", None),
        ("oci:a:", "a", None),
        ("oci:../x:v1", "../x", Some("v1")),
        ("oci:x:docker.io/library/a:v1", "x", Some("docker.io/library/a:v1")),
    ] {
        let expected = Reference::OciLayout { dir: dir.into(), tag: tag.map(Into::into) };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    let expected = Reference::OciArchive { file: "x.tar".into(), tag: Some("v1".into()) };
    assert_eq!("oci-archive:x.tar:v1".parse(), Ok(expected));
}

#[test]
fn what_is_no_reference_is_refused_by_name() {
    let long = format!("docker://a:{}", "x".repeat(129));
    for (text, error) in [
        ("alpine", "does not begin with"),
        ("docker:alpine", "does not begin with"),
        ("dir:/x", "does not begin with"),
        ("docker://", "names nothing"),
        ("oci:", "names nothing"),
        ("oci::v1", "names nothing"),
        ("oci:x:a b", "layout tag"),
        ("docker://quay.io/", "repository"),
        ("docker://Alpine", "repository"),
        ("docker://a//b", "repository"),
        ("docker://quay.io/../b", "repository"),
        ("docker://a..b", "repository"),
        ("docker://a___b", "repository"),
        ("docker://-a", "repository"),
        ("docker://a?x=y", "repository"),
        ("docker://é", "repository"),
        ("docker://a b.c/x", "host"),
        ("docker://user@h.com/x", "digest"),
        ("docker://h.com:/x", "host"),
        ("docker://h.com:99999/x", "host"),
        ("docker://h.com:+5/x", "host"),
        ("docker://[::g]:5/x", "host"),
        ("docker://a:", "tag"),
        ("docker://a:-x", "tag"),
        (&long, "tag"),
        ("docker://a@sha512:00", "digest"),
    ] {
        let got = display(text).expect_err(text).to_string();
        assert!(got.contains(error), "{text}: {got}");
    }
}

proptest! {
    #[test]
    fn what_is_displayed_parses_to_the_same(text in prop_oneof![
        "docker://([a-z0-9.-]{1,8}(:[0-9]{1,5})?/)?[a-z0-9._/-]{1,12}(:[A-Za-z0-9._-]{1,6})?",
        "docker://[a-z]{1,5}(/[a-z]{1,5}){0,2}(:[a-z]{1,3})?@sha256:[0-9a-f]{64}",
        "(oci|oci-archive|containers-storage):[a-z/.]{1,10}(:[A-Za-z0-9._:@/+-]{0,9})?",
    ]) {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,40}", transport in "docker://|oci:|oci-archive:|") {
        drop(format!("{transport}{text}").parse::<Reference>());
    }
}
