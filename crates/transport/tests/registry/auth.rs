//! Logins and tokens: who gets them, and who does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use storage_core::RangeReader;
use transport::{Credentials, CredentialsError, ImageSource, Login, Options};

use crate::image::{Image, open, options, resolve};
use testkit::causes::chain;
use testkit::http::{Answer, Request, Server};

/// A login for everything, and a list of what it was asked for.
#[derive(Default)]
pub(crate) struct Known {
    login: Option<Login>,
    asked: Mutex<Vec<String>>,
}

impl Credentials for Known {
    fn for_repository(&self, name: &str) -> Result<Option<Login>, CredentialsError> {
        self.asked.lock().unwrap().push(name.into());
        if self.login.is_none() && name.contains("broken") {
            return Err("the helper failed".into());
        }
        Ok(self.login.clone())
    }
}

pub(crate) fn password() -> Login {
    Login::password("me", "open sesame")
}

pub(crate) fn with(login: Option<Login>) -> (Options, Arc<Known>) {
    let known = Arc::new(Known { login, ..Known::default() });
    let mut options = options();
    options.credentials = known.clone();
    (options, known)
}

fn basic() -> String {
    let secret = base64::engine::general_purpose::STANDARD.encode("me:open sesame");
    format!("Basic {secret}")
}

/// A registry that wants tokens; each is good for `uses` requests.
fn token_registry(image: &Image, uses: usize) -> Server {
    let image = image.clone();
    let (given, spent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let host = Mutex::new(String::new());
    Server::start(move |request| {
        let host = {
            let mut host = host.lock().unwrap();
            *host = request.header("host").unwrap().into();
            host.clone()
        };
        if request.target.starts_with("/token") {
            spent.store(0, Ordering::SeqCst);
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return Answer::new(200, format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        let current = format!("Bearer t{}", given.load(Ordering::SeqCst));
        let good = request.header("authorization") == Some(&current)
            && spent.fetch_add(1, Ordering::SeqCst) < uses;
        if good { image.answer(request) } else { challenge(&host) }
    })
}

pub(crate) fn challenge(host: &str) -> Answer {
    let bearer =
        format!(r#"Bearer realm="http://{host}/token?x=1",service="reg, istry",scope="ignored""#);
    Answer::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).header("WWW-Authenticate", bearer)
}

fn read_layer(image: &Image, registry: &impl ImageSource) -> Result<(), std::io::Error> {
    let source = registry.blob(&image.layer, image.size).unwrap();
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut RangeReader::new(&*source, 10..image.size), &mut got)?;
    assert!(got == image.content()[10..]);
    Ok(())
}

#[test]
fn r21_a_token_is_fetched_with_the_login_and_used_for_everything() {
    let image = Image::new(50_000);
    let server = token_registry(&image, usize::MAX);
    let (options, known) = with(Some(password()));
    let registry = open(&server, &options);
    resolve(&registry).unwrap();
    read_layer(&image, &registry).unwrap();

    let tokens = server.requests("/token");
    assert_eq!(tokens.len(), 1);
    let target = &tokens[0].target;
    for part in ["?x=1&", "service=reg%2C+istry", "scope=repository%3Aapp%3Apull", "account=me"] {
        assert!(target.contains(part), "{target}");
    }
    assert_eq!(tokens[0].header("authorization"), Some(&*basic()));
    for request in server.requests("/v2/app/").iter().skip(1) {
        assert_eq!(request.header("authorization"), Some("Bearer t1"));
    }
    assert_eq!(*known.asked.lock().unwrap(), [format!("{}/app", server.host())]);
}

#[test]
fn r21_without_a_login_the_token_is_anonymous() {
    let image = Image::new(50_000);
    let server = token_registry(&image, usize::MAX);
    let registry = open(&server, &options());
    resolve(&registry).unwrap();
    let tokens = server.requests("/token");
    assert_eq!(tokens[0].header("authorization"), None);
    assert!(!tokens[0].target.contains("account"), "{}", tokens[0].target);
}

#[test]
fn r21_a_token_that_has_ended_is_renewed_in_the_middle() {
    let image = Image::new(50_000);
    let server = token_registry(&image, 1);
    let registry = open(&server, &with(Some(password())).0);
    resolve(&registry).unwrap();
    read_layer(&image, &registry).unwrap();
    assert_eq!(server.requests("/token").len(), 3, "manifest, config, layer");
}

#[test]
fn r21_an_identity_token_is_exchanged_by_a_form() {
    let image = Image::new(50_000);
    let server = token_registry(&image, usize::MAX);
    let registry = open(&server, &with(Some(Login::identity_token("refresh/me"))).0);
    resolve(&registry).unwrap();
    let token = &server.requests("/token")[0];
    assert_eq!(token.method, "POST");
    assert_eq!(token.header("authorization"), None);
    for part in ["grant_type=refresh_token", "refresh_token=refresh%2Fme", "service=reg%2C+istry"] {
        assert!(token.body.contains(part), "{}", token.body);
    }
}

#[test]
fn r21_an_identity_token_is_not_posted_to_where_a_redirect_leads() {
    let far = Server::start(|_| Answer::new(200, r#"{"token":"t"}"#));
    let there = format!("http://{}/", far.host());
    let server = Server::start(move |request| {
        if request.target.starts_with("/token") {
            return Answer::new(307, "").header("Location", &there);
        }
        challenge(request.header("host").unwrap())
    });
    let error = resolve(&open(&server, &with(Some(Login::identity_token("refresh/me"))).0));
    let error = chain(&error.unwrap_err());
    assert!(error.contains("status 307"), "{error}");
    assert_eq!(far.requests("").len(), 0);
}

#[test]
fn r21_basic_authentication_sends_the_login_when_asked() {
    let image = Image::new(50_000);
    let good = image.clone();
    let server = Server::start(move |request| {
        let known = request.header("authorization") == Some(&*basic());
        let wants = Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
        if known { good.answer(request) } else { wants }
    });
    let registry = open(&server, &with(Some(password())).0);
    resolve(&registry).unwrap();
    read_layer(&image, &registry).unwrap();
    let without = |request: &&Request| request.header("authorization").is_none();
    let requests = server.requests("/v2/app/");
    assert_eq!(requests.iter().filter(without).count(), 1, "asked once, then known");

    let error = chain(&resolve(&open(&server, &options())).unwrap_err());
    assert!(error.contains("wants a login, and there is none"), "{error}");
    let wrong = with(Some(Login::password("me", "wrong"))).0;
    let error = chain(&resolve(&open(&server, &wrong)).unwrap_err());
    assert!(error.contains("does not accept the login"), "{error}");
}

#[test]
fn r21_a_redirect_to_another_port_carries_no_secret() {
    let image = Image::new(50_000);
    let (near, far) = (image.clone(), image.clone());
    let storage = Server::start(move |request| far.answer(request));
    let there = storage.host();
    let server = Server::start(move |request| {
        if request.header("authorization") != Some(&*basic()) {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match request.target.strip_prefix("/near") {
            // First to another path of the same server, then away.
            Some(path) => Answer::new(302, "").header("Location", format!("http://{there}{path}")),
            None if near.is_layer(request) => {
                Answer::new(307, "").header("Location", format!("/near{}", request.target))
            }
            None => near.answer(request),
        }
    });
    let registry = open(&server, &with(Some(password())).0);
    resolve(&registry).unwrap();
    read_layer(&image, &registry).unwrap();
    assert_eq!(server.requests("/near").len(), 1, "the login goes along on the same port");
    let arrived = storage.requests("");
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].header("authorization"), None);
    assert_eq!(arrived[0].header("referer"), None);
}

#[test]
fn r21_a_login_is_not_asked_for_by_where_a_redirect_leads() {
    let image = Image::new(50_000);
    let storage =
        Server::start(|_| Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""));
    let there = format!("http://{}/", storage.host());
    let server = image.serve_layer(move |_, _| Answer::new(307, "").header("Location", &there));
    let (options, known) = with(Some(password()));
    let error = read_layer(&image, &open(&server, &options)).unwrap_err();
    assert!(chain(&error).contains("access denied"), "{}", chain(&error));
    assert!(known.asked.lock().unwrap().is_empty());
    assert!(storage.requests("").iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn r21_no_secret_goes_to_a_token_service_without_protection() {
    for realm in ["http://example.invalid/token", "ftp://127.0.0.1/", "http://me@127.0.0.1/", ""] {
        let server = Server::start(move |_| {
            Answer::new(401, "").header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        });
        let (options, known) = with(Some(password()));
        let error = chain(&resolve(&open(&server, &options)).unwrap_err());
        assert!(error.contains("names the token service"), "{error}");
        assert!(known.asked.lock().unwrap().is_empty());
    }
}

#[test]
fn r21_odd_token_services_are_clean_errors() {
    type Service = fn() -> Answer;
    let cases: [(Service, &str); 5] = [
        (|| Answer::new(200, "{}"), "neither token nor access_token"),
        (|| Answer::new(200, "<html>"), "holds no usable token"),
        (|| Answer::new(200, r#"{"token":"a\nb"}"#), "holds no usable token"),
        (|| Answer::new(401, ""), "does not accept the login"),
        (|| Answer::new(503, ""), "status 503"),
    ];
    for (answer, expected) in cases {
        let server = Server::start(move |request| {
            let host = request.header("host").unwrap();
            if request.target.starts_with("/token") { answer() } else { challenge(host) }
        });
        let error = chain(&resolve(&open(&server, &with(Some(password())).0)).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("sesame") && !error.contains("x=1"), "{error}");
    }
}

#[test]
fn r21_a_login_that_cannot_be_looked_up_is_an_error() {
    let server = Server::start(|request| challenge(request.header("host").unwrap()));
    let reference = format!("{}/broken", server.host()).parse().unwrap();
    let registry = transport::Registry::new(&reference, &with(None).0).unwrap();
    let error = chain(&resolve(&registry).unwrap_err());
    assert!(error.contains("look up the login") && error.contains("the helper failed"), "{error}");
}
