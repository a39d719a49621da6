//! Images that are written to registries, good ones and odd ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storage_core::Digest;
use transport::{
    Found, ImageTarget, Options, RegistryTarget, StoredBlob, TransportError, media_type,
};

use crate::auth::{challenge, password, with};
use crate::image::options;
use testkit::causes::chain;
use testkit::http::{Answer, Request, Server, Then};

/// A blob that differs everywhere and is text, as the server has its bodies.
fn blob(length: usize) -> (StoredBlob, File, String) {
    let text: String =
        (0..length).map(|i| char::from(b"0123456789abcdef"[i * i / 7 % 16])).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let digest = Digest::of(text.as_bytes()).into();
    (StoredBlob { digest, size: length as u64 }, file, text)
}

fn target(server: &Server, options: &Options) -> RegistryTarget {
    related(server, None, options)
}

fn related(server: &Server, from: Option<&str>, options: &Options) -> RegistryTarget {
    let name = |repository: &str| format!("{}/{repository}", server.host()).parse().unwrap();
    let from = from.map(name);
    RegistryTarget::new(&name("app:v1"), from.as_ref(), options).unwrap()
}

fn put(target: &RegistryTarget, blob: &StoredBlob, file: &File) -> Result<u64, TransportError> {
    let most = Arc::new(AtomicU64::new(0));
    let told: Arc<dyn Fn(u64) + Send + Sync> = {
        let most = most.clone();
        Arc::new(move |sent| {
            most.fetch_max(sent, Ordering::Relaxed);
        })
    };
    target.put_blob(blob, file, &told)?;
    Ok(most.load(Ordering::Relaxed))
}

/// What a good registry does with uploads; it keeps the digests of what it got.
#[derive(Default)]
struct Uploads {
    got: Mutex<BTreeSet<String>>,
    pending: Mutex<String>,
}

impl Uploads {
    /// Addresses with this in front.
    fn answer(&self, request: &Request, before: &str) -> Answer {
        let accepted = |state: &str| {
            // A query of the server's own, which must come back as it was.
            let location = format!("{before}/v2/app/blobs/uploads/1?_state={state}%2Fx");
            Answer::new(202, "").header("Location", location)
        };
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match &*request.method {
            "GET" => Answer::new(200, "{}"),
            "HEAD" => {
                let digest = path.rsplit('/').next().unwrap();
                let there = self.got.lock().unwrap().contains(digest);
                let mut answer = Answer::new(if there { 200 } else { 404 }, "");
                answer.length = None;
                answer.then = Then::Close;
                answer
            }
            "POST" => accepted("begun"),
            "DELETE" => Answer::new(204, ""),
            "PATCH" => {
                assert_eq!(query, "_state=begun%2Fx");
                self.pending.lock().unwrap().clone_from(&request.body);
                accepted("sent")
            }
            "PUT" if path.contains("/manifests/") => Answer::new(201, ""),
            "PUT" => {
                let digest = query.strip_prefix("_state=sent%2Fx&digest=").unwrap();
                let digest = digest.replace("%3A", ":");
                let pending = self.pending.lock().unwrap();
                if Digest::of(pending.as_bytes()).to_string() != digest {
                    return Answer::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.got.lock().unwrap().insert(digest);
                Answer::new(201, "")
            }
            other => panic!("{other} {}", request.target),
        }
    }
}

/// A good registry but for what `odd` makes of an answer.
fn serve(odd: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Server {
    let uploads = Uploads::default();
    Server::start(move |request| odd(request, uploads.answer(request, "")))
}

fn methods(server: &Server) -> Vec<String> {
    server.requests("/v2/app/").into_iter().map(|request| request.method).collect()
}

#[test]
fn a_blob_is_sent_once_and_then_found() {
    let (blob, file, text) = blob(700_000);
    let server = serve(|_, answer| answer);
    let target = target(&server, &options());
    assert_eq!(target.find_blob(&blob).unwrap(), Found::Absent);
    assert_eq!(put(&target, &blob, &file).unwrap(), blob.size, "progress is told to the end");
    assert_eq!(target.find_blob(&blob).unwrap(), Found::Present);
    assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "PUT", "HEAD"]);
    let patch = &server.requests("_state=begun")[0];
    assert_eq!(patch.header("content-length"), Some("700000"), "not in chunks of unknown number");
    assert!(patch.body == text);
    assert_eq!(server.requests("digest=")[0].header("content-length"), Some("0"));

    let stored = Box::new(target).finish(b"{}", media_type::OCI_MANIFEST).unwrap();
    assert_eq!((stored.digest, stored.size), (Digest::of(b"{}").into(), 2));
    let manifest = &server.requests("/v2/app/manifests/v1")[0];
    assert_eq!((&*manifest.method, &*manifest.body), ("PUT", "{}"));
    assert_eq!(manifest.header("content-type"), Some(media_type::OCI_MANIFEST));
}

#[test]
fn an_empty_blob_is_a_blob() {
    let (blob, file, _) = blob(0);
    let server = serve(|_, answer| answer);
    let target = target(&server, &options());
    put(&target, &blob, &file).unwrap();
    assert_eq!(target.find_blob(&blob).unwrap(), Found::Present);
}

#[test]
fn the_token_is_one_for_pushing() {
    let uploads = Uploads::default();
    let server = Server::start(move |request| {
        let host = request.header("host").unwrap();
        if request.target.starts_with("/token") {
            return Answer::new(200, r#"{"token":"t","expires_in":300}"#);
        }
        let good = request.header("authorization") == Some("Bearer t");
        if good { uploads.answer(request, &format!("http://{host}")) } else { challenge(host) }
    });
    let (blob, file, _) = blob(1000);
    let target = related(&server, Some("other:v9"), &with(Some(password())).0);
    assert_eq!(target.find_blob(&blob).unwrap(), Found::Absent);
    put(&target, &blob, &file).unwrap();
    let tokens = server.requests("/token");
    assert!(tokens[0].target.contains("scope=repository%3Aapp%3Apull%2Cpush&account=me"));
    let both = "scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Aother%3Apull&account=me";
    assert!(tokens[1].target.contains(both), "{}", tokens[1].target);
    assert_eq!(tokens.len(), 2);
    assert_eq!(server.requests("_state=begun")[0].header("authorization"), Some("Bearer t"));
}

#[test]
fn a_blob_is_mounted_where_that_is_possible() {
    // How the registry answers; what comes of it; what is asked when it is sent then.
    let cases: [(u16, Found, &[&str]); 4] = [
        (201, Found::Mounted, &["HEAD", "POST"]),
        (202, Found::Absent, &["HEAD", "POST", "PATCH", "PUT"]),
        (403, Found::Absent, &["HEAD", "POST", "POST", "PATCH", "PUT"]),
        (500, Found::Absent, &["HEAD", "POST", "POST", "PATCH", "PUT"]),
    ];
    for (status, expected, asked) in cases {
        let (blob, file, _) = blob(1000);
        let server = serve(move |request, answer| {
            if request.target.contains("mount=") { Answer { status, ..answer } } else { answer }
        });
        let target = related(&server, Some("other/one"), &options());
        assert_eq!(target.find_blob(&blob).unwrap(), expected);
        if expected == Found::Absent {
            put(&target, &blob, &file).unwrap();
        }
        assert_eq!(methods(&server), asked, "{status}");
        let digest = blob.digest.to_string().replace(':', "%3A");
        let mount = format!("/v2/app/blobs/uploads/?mount={digest}&from=other%2Fone");
        assert_eq!(server.requests("mount=")[0].target, mount);
    }
    // An upload that was begun for nothing is ended.
    let server = serve(|_, answer| answer);
    let target = related(&server, Some("other/one"), &options());
    target.find_blob(&blob(5).0).unwrap();
    Box::new(target).finish(b"{}", media_type::OCI_MANIFEST).unwrap();
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT", "DELETE"]);
    // From itself, or from another registry, nothing can be mounted.
    let server = serve(|_, answer| answer);
    let elsewhere = "elsewhere.example/other".parse().unwrap();
    let name = format!("{}/app:v1", server.host()).parse().unwrap();
    let target = RegistryTarget::new(&name, Some(&elsewhere), &options()).unwrap();
    target.find_blob(&blob(5).0).unwrap();
    related(&server, Some("app:v0"), &options()).find_blob(&blob(5).0).unwrap();
    assert_eq!(methods(&server), ["HEAD", "HEAD"]);
}

#[test]
fn after_what_passes_the_blob_goes_again_from_its_start() {
    type Odd = fn(&mut Answer);
    let failures: [(Odd, &[&str]); 5] = [
        (|answer| answer.status = 503, &["POST", "PATCH", "PUT"]),
        (|answer| answer.status = 429, &["POST", "PATCH", "PUT"]),
        (|answer| (answer.status, answer.then) = (500, Then::Close), &["POST", "PATCH", "PUT"]),
        // The registry has forgotten the upload, or is not where we are.
        (|answer| answer.status = 404, &["PATCH", "PUT"]),
        (|answer| answer.status = 416, &["PATCH", "PUT"]),
    ];
    for (number, (fail, methods)) in failures.into_iter().enumerate() {
        for &method in methods {
            let failed = AtomicUsize::new(0);
            let server = serve(move |request, mut answer| {
                if request.method == method && failed.fetch_add(1, Ordering::SeqCst) < 2 {
                    fail(&mut answer);
                }
                answer
            });
            let (blob, file, text) = blob(300_000);
            let target = target(&server, &options());
            put(&target, &blob, &file).unwrap();
            assert_eq!(target.find_blob(&blob).unwrap(), Found::Present, "{number} {method}");
            for patch in server.requests("_state=begun") {
                assert!(patch.body == text, "each time whole");
            }
        }
    }
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_made_anew() {
    let broken = AtomicUsize::new(0);
    let server = serve(move |request, mut answer| {
        if request.method == "PATCH" && broken.fetch_add(1, Ordering::SeqCst) == 0 {
            answer.length = None;
            answer.headers.clear();
            answer.status = 502;
            answer.then = Then::Close;
        }
        answer
    });
    let (blob, file, _) = blob(2_000_000);
    put(&target(&server, &options()), &blob, &file).unwrap();
    assert_eq!(methods(&server), ["POST", "PATCH", "POST", "PATCH", "PUT"]);
}

#[test]
fn what_does_not_pass_is_told_at_once() {
    let cases: [(&str, u16, &str); 4] = [
        ("POST", 403, "access denied (status 403): DENIED not for you"),
        ("PATCH", 413, "status 413: DENIED not for you"),
        ("PUT", 400, "status 400: DENIED not for you"),
        ("POST", 307, "status 307"),
    ];
    for (method, status, expected) in cases {
        let server = serve(move |request, answer| {
            if request.method == method {
                Answer::new(status, r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#)
            } else {
                answer
            }
        });
        let (blob, file, _) = blob(1000);
        let error = put(&target(&server, &options()), &blob, &file).unwrap_err();
        assert!(!error.is_not_found());
        let error = chain(&error);
        let place = format!("write http://{}/v2/app/blobs/{}", server.host(), blob.digest);
        assert!(error.contains(expected) && error.contains(&place), "{error}");
        assert_eq!(server.requests("/v2/app/").iter().filter(|r| r.method == method).count(), 1);
    }
}

#[test]
fn a_server_that_takes_nothing_in_is_not_waited_for_without_end() {
    let server = serve(|request, mut answer| {
        if request.method == "PATCH" {
            answer = Answer::new(202, "").cut(0, Then::Go);
            answer.then = Then::Hang;
            // The head alone, without its end: nothing comes.
            answer.status = 100;
        }
        answer
    });
    let mut options = options();
    options.stall = Duration::from_millis(60);
    options.retry.attempts = 1;
    let (blob, file, _) = blob(1000);
    let error = chain(&put(&target(&server, &options), &blob, &file).unwrap_err());
    assert!(error.contains("nothing came for"), "{error}");
}

#[test]
fn a_login_that_ends_during_an_upload_is_renewed() {
    let uploads = Uploads::default();
    let given = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let host = request.header("host").unwrap();
        if request.target.starts_with("/token") {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return Answer::new(200, format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        // The first token does not live until the blob is there.
        let wanted = if request.method == "PATCH" { "Bearer t2" } else { "Bearer t" };
        let good = request.header("authorization").is_some_and(|sent| sent.starts_with(wanted));
        if good { uploads.answer(request, "") } else { challenge(host) }
    });
    let (blob, file, _) = blob(1000);
    let target = target(&server, &options());
    put(&target, &blob, &file).unwrap();
    assert_eq!(target.find_blob(&blob).unwrap(), Found::Present);
}

#[test]
fn where_an_upload_leads_away_no_secret_goes_along() {
    let uploads = Arc::new(Uploads::default());
    let storage = {
        let uploads = uploads.clone();
        Server::start(move |request| uploads.answer(request, ""))
    };
    let there = format!("http://{}", storage.host());
    let server = Server::start(move |request| {
        if request.header("authorization").is_none() {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        uploads.answer(request, &there)
    });
    let (blob, file, _) = blob(1000);
    put(&target(&server, &with(Some(password())).0), &blob, &file).unwrap();
    let arrived = storage.requests("");
    assert_eq!(arrived.len(), 2, "the bytes, and the end");
    assert!(arrived.iter().all(|request| request.header("authorization").is_none()));

    for (location, expected) in [
        (Some("http://me:secret@127.0.0.1/x"), "without a usable location"),
        (Some("ftp://127.0.0.1/x"), "not HTTP"),
        (None, "does not say where the upload goes on"),
    ] {
        let server = serve(move |request, answer| match (&*request.method, location) {
            ("POST", Some(location)) => Answer::new(202, "").header("Location", location),
            ("POST", None) => Answer::new(202, ""),
            _ => answer,
        });
        let error = chain(&put(&target(&server, &options()), &blob, &file).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_a_registry_says_of_a_blob_is_looked_at() {
    let (blob, _, _) = blob(1000);
    let look = |status, length: usize| {
        let server = serve(move |request, mut answer| {
            if request.method == "HEAD" {
                answer = Answer::new(status, "").header("Location", "http://gone.invalid/");
                answer.length = Some(length);
            }
            answer
        });
        target(&server, &options()).find_blob(&blob)
    };
    assert_eq!(look(200, 1000).unwrap(), Found::Present);
    assert_eq!(look(307, 0).unwrap(), Found::Present, "and nobody goes there");
    let error = chain(&look(200, 999).unwrap_err());
    assert!(error.contains("it has 999 bytes, expected 1000"), "{error}");
    assert!(chain(&look(500, 0).unwrap_err()).contains("status 500"));
}

#[test]
fn a_file_that_is_too_short_is_not_sent_as_something_else() {
    let (mut blob, file, _) = blob(1000);
    blob.size = 2000;
    let server = serve(|_, answer| answer);
    let mut options = options();
    options.retry.attempts = 1;
    assert!(put(&target(&server, &options), &blob, &file).is_err());
    assert!(server.requests("digest=").is_empty());
}

#[test]
fn an_image_is_not_written_by_its_digest() {
    let name = format!("127.0.0.1:9/app:v1@{}", Digest::of(b"")).parse().unwrap();
    let error = RegistryTarget::new(&name, None, &options()).unwrap_err();
    assert!(error.to_string().contains("only once it is written"), "{error}");
}
