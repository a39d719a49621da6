//! Requests that go through a proxy.

use transport::{Options, Registry};

use crate::image::{Image, options, resolve};
use testkit::http::{Answer, Server};

/// A proxy for plain HTTP is asked for whole addresses. It stands for a registry whose
/// name nobody else knows.
#[test]
fn a_proxy_is_asked_for_the_whole_address() {
    let image = Image::new(100);
    let proxy = Server::start(move |request| {
        let Some(path) = request.target.strip_prefix("http://registry.invalid") else {
            return Answer::new(405, "not this");
        };
        let mut request = request.clone();
        request.target = path.into();
        image.answer(&request)
    });
    let mut options = options();
    options.tls_verify = false;
    options.proxies.http = Some(format!("user:secret@{}", proxy.host()));
    options.proxies.https = Some(proxy.host());
    resolve(&open(&options)).unwrap();
    assert!(!proxy.requests("registry.invalid:443").is_empty(), "HTTPS is tried first");
    let seen = proxy.requests("http://registry.invalid/v2/app/manifests/v1");
    let login = seen[0].header("proxy-authorization");
    assert_eq!(login, Some("Basic dXNlcjpzZWNyZXQ="));
    // Without a proxy the name leads nowhere.
    options.proxies.none_for = ".registry.invalid".into();
    options.retry.attempts = 1;
    assert!(resolve(&open(&options)).is_ok());
    options.proxies.none_for = "registry.invalid".into();
    assert!(resolve(&open(&options)).is_err());
}

fn open(options: &Options) -> Registry {
    Registry::new(&"registry.invalid/app:v1".parse().unwrap(), options).unwrap()
}
