//! Manifests, indexes and configs from registries, and their mirrors.

use storage_core::Digest;
use transport::{Compression, Endpoint, ImageSource, Platform, Registry, media_type};

use crate::image::{Image, open, options, resolve};
use testkit::causes::chain;
use testkit::http::{Answer, Server, Then};

fn serve(image: &Image) -> Server {
    let image = image.clone();
    Server::start(move |request| image.answer(request))
}

#[test]
fn r21_an_image_is_resolved_by_its_tag_and_by_its_digest() {
    let image = Image::new(1000);
    let server = serve(&image);
    let resolved = resolve(&open(&server, &options())).unwrap();
    assert_eq!(resolved.manifest.bytes, image.manifests["v1"].1);
    assert_eq!(resolved.manifest.media_type, media_type::OCI_MANIFEST);
    assert_eq!(resolved.index, None);
    assert_eq!(resolved.ref_annotation, None);
    let [layer] = &resolved.layers[..] else { panic!("{resolved:?}") };
    assert_eq!((layer.digest, layer.size), (image.layer, 1000));
    assert_eq!(layer.compression, Compression::Zstd);
    assert_eq!(layer.annotations["a"], "b");
    assert_eq!(layer.diff_id, Digest::of(b"the tar").into());

    let name = format!("{}/app@{}", server.host(), resolved.manifest.digest);
    let by_digest = Registry::new(&name.parse().unwrap(), &options()).unwrap();
    assert_eq!(resolve(&by_digest).unwrap(), resolved);
    let accept = server.requests("/manifests/v1")[0].header("accept").unwrap().to_owned();
    assert!(accept.contains(media_type::OCI_INDEX) && accept.contains(media_type::DOCKER_MANIFEST));
}

/// Puts a list of the image for two platforms under a tag.
fn put_index(image: &mut Image, tag: &str, list_type: &str) {
    let (media_type, manifest) = image.manifests["v1"].clone();
    let other = image.put_manifest("other", &media_type, r#"{"layers":[]}"#);
    let entry = |digest: &str, size: usize, architecture: &str| {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},
            "platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        entry(&other, 13, "arm64"),
        entry(&Digest::of(&manifest).to_string(), manifest.len(), "amd64"),
    );
    image.put_manifest(tag, list_type, &index);
}

#[test]
fn r21_of_an_index_the_platform_is_chosen() {
    for list_type in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
        let mut image = Image::new(1000);
        let single = resolve(&open(&serve(&image), &options())).unwrap();
        put_index(&mut image, "v1", list_type);
        let server = serve(&image);
        let registry = open(&server, &options());
        let resolved = resolve(&registry).unwrap();
        assert_eq!(resolved.manifest, single.manifest);
        let index = resolved.index.unwrap();
        assert_eq!((index.bytes, &*index.media_type), (image.manifests["v1"].1.clone(), list_type));

        let error = registry.resolve(&Platform::new("linux", "s390x")).unwrap_err();
        let error = chain(&error);
        assert!(error.contains("linux/s390x; there are linux/arm64, linux/amd64"), "{error}");
    }
}

#[test]
fn r21_what_is_not_what_its_digest_says_is_an_error() {
    let image = Image::new(1000);
    let name = |server: &Server, rest: &str| format!("{}/app{rest}", server.host());
    // A manifest by digest, with a space more.
    let mut spoiled = image.clone();
    for manifest in spoiled.manifests.values_mut() {
        manifest.1.push(b' ');
    }
    let server = serve(&spoiled);
    let digest = Digest::of(&image.manifests["v1"].1);
    let reference = name(&server, &format!("@{digest}")).parse().unwrap();
    let error = resolve(&Registry::new(&reference, &options()).unwrap()).unwrap_err();
    assert!(chain(&error).contains("content has digest"), "{}", chain(&error));
    // A config of the right length, of a smaller one, and of a larger one.
    let changes: [fn(&mut Vec<u8>); 3] =
        [|config| config[0] = b'[', |config| config.truncate(20), |config| config.push(b' ')];
    for change in changes {
        let mut spoiled = image.clone();
        spoiled.blobs.values_mut().for_each(change);
        let error = resolve(&open(&serve(&spoiled), &options())).unwrap_err();
        let error = chain(&error);
        assert!(error.contains("/blobs/sha256:"), "{error}");
    }
}

#[test]
fn r21_a_manifest_without_end_is_not_read_to_it() {
    let server = Server::start(|request| {
        let mut answer = Answer::new(200, "{");
        if request.target.contains("manifests") {
            (answer.length, answer.then) = (None, Then::Endless);
        }
        answer
    });
    let error = chain(&resolve(&open(&server, &options())).unwrap_err());
    assert!(error.contains("more than 4194304 bytes"), "{error}");
}

#[test]
fn r21_a_missing_image_is_told_with_its_name() {
    let server = serve(&Image::new(10));
    let reference = format!("{}/app:v2", server.host()).parse().unwrap();
    let error = resolve(&Registry::new(&reference, &options()).unwrap()).unwrap_err();
    assert!(error.is_not_found());
    let (error, host) = (chain(&error), server.host());
    for part in [
        &*format!("registry image docker://{host}/app:v2"),
        &format!("get http://{host}/v2/app/manifests/v2"),
        "not found: MANIFEST_UNKNOWN manifest unknown",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn r21_of_mirrors_the_first_that_has_it_right_is_used() {
    let image = Image::new(1000);
    let good = serve(&image);
    let without = Server::start(|_| Answer::new(404, ""));
    let lying = Server::start(|request| match &*request.target {
        "/v2/" => Answer::new(200, ""),
        _ => Answer::new(200, r#"{"layers":[],"config":{}}"#),
    });
    let digest = Digest::of(&image.manifests["v1"].1);
    let reference = format!("registry.invalid/app@{digest}").parse().unwrap();
    let mut options = options();
    for server in [&without, &lying, &good] {
        options.endpoints.push(Endpoint::new(format!("{}/app", server.host()), false));
    }
    let registry = Registry::new(&reference, &options).unwrap();
    resolve(&registry).unwrap();
    assert_eq!(lying.requests("/manifests/").len(), 1);
    assert_eq!(lying.requests("/blobs/").len(), 0, "the one that had it is asked next");
    assert_eq!(good.requests("/blobs/").len(), 1);
}

#[test]
fn r21_a_location_that_cannot_be_one_is_refused_at_once() {
    for location in
        ["", "host", "host/", "host/../x", "ho st/x", "user@host/x", "host/x?y", "1.2.3.4.5/x"]
    {
        let mut options = options();
        options.endpoints.push(Endpoint::new(location, false));
        let error = Registry::new(&"a/b".parse().unwrap(), &options).unwrap_err();
        assert!(error.to_string().contains("location"), "{location}: {error}");
    }
}

#[test]
fn r21_plain_http_is_not_tried_where_it_is_not_allowed() {
    // An address of this machine that is not a loopback address is not at hand
    // everywhere: the unspecified one reaches the same server and is not exempt.
    let server = serve(&Image::new(10));
    let port = server.host().rsplit_once(':').unwrap().1.to_owned();
    let reference = format!("0.0.0.0:{port}/app:v1").parse().unwrap();
    let mut options = options();
    options.retry.attempts = 1;
    assert!(resolve(&Registry::new(&reference, &options).unwrap()).is_err());
    assert!(server.requests("").is_empty());
    options.insecure_hosts.push(format!("0.0.0.0:{port}"));
    resolve(&Registry::new(&reference, &options).unwrap()).unwrap();
    options.insecure_hosts.clear();
    options.tls_verify = false;
    resolve(&Registry::new(&reference, &options).unwrap()).unwrap();
}
