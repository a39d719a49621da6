//! R21: whatever a registry does wrong, a pull ends in the right content or in a clean error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reflayer::{CheckLevel, Durability, Progress, PullOptions, PullReport, Store};
use testkit::causes::chain;
use testkit::compare;
use testkit::forged::{Forged, Item, Recipe, file};
use testkit::odd_registry::{LOGIN, Mode, OddRegistry, Tokens};
use testkit::tree::noise;
use testkit::tried::tried;
use transport::{Credentials, CredentialsError, Endpoint, Login, Options, Registry};

/// What a pull ends in.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The right content.
    Right,
    /// An error that says so somewhere.
    Error(&'static str),
}

use End::{Error, Right};

const OTHER_TYPE: End = Error("but was referred to as");
const NO_TOKEN: End = Error("holds no usable token");

const MODES: &[(Mode, End)] = &[
    (Mode::Right, Right),
    // Ranges that are none, or others.
    (Mode::WholeForRange, Right),
    (Mode::Shifted, Right),
    (Mode::ShiftedInSecret, Right),
    (Mode::Short, Right),
    (Mode::NoContentRange, Right),
    (Mode::OtherTotal, Error("")),
    (Mode::Merged, Right),
    (Mode::Reordered, Right),
    (Mode::FirstOnly, Right),
    (Mode::StatusForRange(400), Right),
    (Mode::StatusForRange(403), Error("403")),
    (Mode::StatusForRange(404), Error("not found")),
    (Mode::StatusForRange(405), Right),
    (Mode::StatusForRange(416), Right),
    (Mode::StatusForRange(500), Error("500")),
    (Mode::StatusForRange(501), Right),
    // Answers that are none.
    (Mode::Status(204), Error("")),
    (Mode::Status(304), Error("")),
    (Mode::Status(401), Error("does not accept the login")),
    (Mode::Status(403), Error("403")),
    (Mode::Status(404), Error("not found")),
    (Mode::Status(429), Error("429")),
    (Mode::Status(500), Error("500")),
    (Mode::Status(503), Error("503")),
    (Mode::Status(999), Error("999")),
    (Mode::StatusAtFirst(401), Error("does not accept the login")),
    (Mode::StatusAtFirst(408), Right),
    (Mode::StatusAtFirst(429), Right),
    (Mode::StatusAtFirst(500), Right),
    (Mode::StatusAtFirst(502), Right),
    (Mode::StatusAtFirst(503), Right),
    (Mode::BusyForADay, Error("429")),
    // Bodies.
    (Mode::Cut, Right),
    (Mode::NoAnswer, Error("")),
    (Mode::Stalls, Error("nothing came")),
    (Mode::StallsAtFirst, Right),
    (Mode::ExtraBytes, Right),
    (Mode::Endless, Right),
    (Mode::LengthTooLarge, Right),
    (Mode::LengthTooSmall, Error("ended at byte")),
    (Mode::NoLength, Right),
    (Mode::Flipped, Error("digest")),
    (Mode::Encoded, Error("ncod")),
    // Documents.
    (Mode::BlobIsAPage, Right),
    (Mode::ManifestIsCalled("text/html"), Right),
    (Mode::ManifestIsCalled("application/json"), Right),
    (Mode::ManifestIsCalled("application/octet-stream"), Right),
    (Mode::ManifestIsCalled("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), Right),
    (Mode::ManifestIsCalled("application/vnd.docker.distribution.manifest.v1+prettyjws"), Right),
    (Mode::ManifestIsCalled("application/vnd.docker.distribution.manifest.v2+json"), OTHER_TYPE),
    (Mode::ManifestIsCalled("application/vnd.oci.image.index.v1+json"), OTHER_TYPE),
    (Mode::ManifestHasNoType, Right),
    (Mode::ManifestOfOtherDigest, Right),
    (Mode::ManifestEndless, Error("more than")),
    (Mode::IndexIsCalled("application/vnd.oci.image.index.v1+json"), Right),
    (Mode::IndexIsCalled("text/plain; charset=utf-8"), Right),
    (Mode::IndexIsCalled("application/vnd.oci.image.manifest.v1+json"), OTHER_TYPE),
    (Mode::IndexIsCalled("application/vnd.docker.distribution.manifest.list.v2+json"), OTHER_TYPE),
    (Mode::IndexCallsManifest("application/vnd.oci.image.index.v1+json"), OTHER_TYPE),
    (Mode::IndexCallsManifest("application/vnd.docker.distribution.manifest.v2+json"), OTHER_TYPE),
    (Mode::IndexCallsManifest("text/html"), Error("has no image for")),
    // Redirects: to wherever content may come from, and no secret goes along.
    (Mode::RedirectElsewhere, Right),
    (Mode::RedirectBy(300), Error("300")),
    (Mode::RedirectBy(301), Right),
    (Mode::RedirectBy(302), Right),
    (Mode::RedirectBy(303), Right),
    (Mode::RedirectBy(305), Error("305")),
    (Mode::RedirectBy(308), Right),
    (Mode::RedirectProtected, Right),
    (Mode::RedirectUp, Right),
    // Go's tools go down without the login. Who asked for HTTPS does not want others to
    // see what comes, and they would.
    (Mode::RedirectDown, Error("a redirect from HTTPS down to plain HTTP")),
    (Mode::RedirectToALogin, Error("401")),
    (Mode::RedirectThereAndBack, Error("does not accept the login")),
    (Mode::RedirectToOtherName, Right),
    (Mode::RedirectInACircle, Error("more than 10 redirects")),
    (Mode::RedirectTo("http://192.0.2.1/blob"), Error("a redirect to plain HTTP at 192.0.2.1")),
    (Mode::RedirectTo("file:///etc/passwd"), Error("which is not HTTP")),
    (Mode::RedirectTo("http://someone:something@127.0.0.1:1/"), Error("a usable location")),
    (Mode::RedirectTo("http://["), Error("a usable location")),
    (Mode::RedirectToNowhere, Error("a usable location")),
    // HTTPS.
    (Mode::Protected, Right),
    (Mode::UnknownAuthority, Error("certificate")),
    (Mode::CertificateOfAnother, Error("certificate")),
    // Logins, and tokens.
    (Mode::AsksFor("Negotiate, Basic realm=\"odd\""), Right),
    (Mode::AsksFor("Negotiate"), Error("of an unknown kind")),
    (Mode::AsksFor("Basic"), Right),
    (Mode::AsksFor(""), Error("of an unknown kind")),
    (Mode::AsksFor("Bearer"), Error("names the token service")),
    (Mode::Tokens(Tokens::Right), Right),
    (Mode::Tokens(Tokens::Protected), Right),
    (Mode::Tokens(Tokens::OfUses(1)), Right),
    (Mode::Tokens(Tokens::OfUses(2)), Right),
    (Mode::Tokens(Tokens::OfUses(5)), Right),
    (Mode::Tokens(Tokens::NeverGood), Error("401")),
    (Mode::Tokens(Tokens::NotForBlobs), Error("401")),
    (Mode::Tokens(Tokens::Living("0")), Right),
    (Mode::Tokens(Tokens::Living("-1")), Right),
    (Mode::Tokens(Tokens::Living("18446744073709551615")), Right),
    (Mode::Tokens(Tokens::Living("1e300")), Right),
    (Mode::Tokens(Tokens::Living("\"soon\"")), Right),
    (Mode::Tokens(Tokens::Instead("<html>")), NO_TOKEN),
    (Mode::Tokens(Tokens::Instead("{}")), NO_TOKEN),
    (Mode::Tokens(Tokens::Instead("{\"token\": \"\"}")), NO_TOKEN),
    (Mode::Tokens(Tokens::Instead("{\"token\": 1}")), NO_TOKEN),
    (Mode::Tokens(Tokens::Instead("{\"token\": \"a\\r\\nX-Odd: b\"}")), NO_TOKEN),
    (Mode::Tokens(Tokens::Endless), Error("more than")),
    (Mode::Tokens(Tokens::Stall), Error("nothing came")),
    (Mode::Tokens(Tokens::Status(404)), Error("not found")),
    (Mode::Tokens(Tokens::Status(500)), Error("500")),
    (Mode::Tokens(Tokens::Status(204)), Error("204")),
    (Mode::Tokens(Tokens::StatusAtFirst(503)), Right),
    (Mode::Tokens(Tokens::From("http://192.0.2.1/token")), Error("names the token service")),
    (Mode::Tokens(Tokens::From("file:///etc/passwd")), Error("names the token service")),
    (Mode::Tokens(Tokens::FromBelow), Error("names the token service")),
    (Mode::Tokens(Tokens::Elsewhere), Right),
    (Mode::Tokens(Tokens::ElsewhereForALogin), Error("does not accept the login")),
    (Mode::Tokens(Tokens::RedirectDown), Error("a redirect from HTTPS down to plain HTTP")),
    // What is no answer at all.
    (Mode::ManyHeaders, Error("")),
    (Mode::NoHttp, Error("")),
];

#[test]
fn r21_every_mode_of_the_misbehaving_registry_ends_right_or_in_a_clean_error() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (layer(false), layer(true));
    let reference = place.path().join("reference");
    pull(&reference, &OddRegistry::start(Mode::Right, std::slice::from_ref(&new))).unwrap();
    let good = OddRegistry::start(Mode::Right, &[old]);
    let failed: Vec<String> = MODES
        .iter()
        .enumerate()
        .filter_map(|(number, (mode, end))| {
            let root = place.path().join(format!("store-{number}"));
            // What is there already makes many ranges of the rest.
            pull(&root, &good).unwrap();
            let registry = OddRegistry::start(*mode, std::slice::from_ref(&new));
            let result = pull(&root, &registry);
            let wrong = judge(&root, &reference, &registry, result.as_ref(), *end).err()?;
            let said = result.map_or_else(|error| error, |report| report.layers[0].reason.clone());
            Some(format!("{mode:?}, {end:?}: {wrong}; {said}"))
        })
        .collect();
    assert!(failed.is_empty(), "{} modes:\n{}", failed.len(), failed.join("\n"));
    tried("memory", MODES.len() as u64, "modes of the registry").unwrap();
}

fn judge(
    root: &Path,
    reference: &Path,
    registry: &OddRegistry,
    result: Result<&PullReport, &String>,
    end: End,
) -> Result<(), String> {
    if registry.leaked() {
        return Err("a secret went elsewhere".into());
    }
    let store = Store::open(root, &root.with_extension("run")).map_err(|e| e.to_string())?;
    let found = store.check(CheckLevel::Content).map_err(|error| error.to_string())?;
    let staging = std::fs::read_dir(root.join("overlay/staging")).map_or(0, Iterator::count);
    if !found.is_empty() || staging > 0 {
        return Err(format!("the store is not clean: {found:?}, {staging} slots"));
    }
    match (result, end) {
        (Err(error), Error(text)) if error.contains(text) => Ok(()),
        (Ok(report), Right) => {
            let tree = |root: &Path| {
                let id = report.layers[0].layer_id.as_str();
                root.join("overlay").join(id).join("diff")
            };
            let options = compare::Options::default();
            let found = compare::trees(&tree(reference), &tree(root), &options);
            let found = found.map_err(|error| error.to_string())?;
            compare::expect_none("the tree", &found).map_err(|error| error.to_string())
        }
        _ => Err("another end".into()),
    }
}

/// Forty files, every second of which is new in the new version.
fn layer(new: bool) -> Forged {
    let content =
        |number: u64| noise(6000, number + if new && number.is_multiple_of(2) { 100 } else { 0 });
    let owner = rustix::process::geteuid().as_raw().into();
    let group = rustix::process::getegid().as_raw().into();
    let make =
        |number: u64| -> Item { file(format!("f{number}"), content(number)).owner(owner, group) };
    Recipe::of((0..40).map(make)).build()
}

struct Someone;

impl Credentials for Someone {
    fn for_repository(&self, _: &str) -> Result<Option<Login>, CredentialsError> {
        Ok(Some(Login::password(LOGIN.0, LOGIN.1)))
    }
}

fn pull(root: &Path, registry: &OddRegistry) -> Result<PullReport, String> {
    let store = Store::open(root, &root.with_extension("run")).map_err(|e| e.to_string())?;
    let mut options = Options::default();
    options.credentials = Arc::new(Someone);
    options.stall = Duration::from_millis(400);
    options.retry.attempts = 3;
    options.retry.first_pause = Duration::from_millis(1);
    let mut place = Endpoint::new(registry.location(), false);
    place.certificates.authorities.extend(registry.authority().map(Vec::from));
    options.endpoints.push(place);
    let name = format!("{}:v1", registry.location());
    let source = Registry::new(&name.parse().map_err(text)?, &options).map_err(|e| chain(&e))?;
    let mut options = PullOptions::default();
    options.durability = Durability::Volatile;
    let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
    let reference = format!("docker://{name}").parse().map_err(text)?;
    store.pull(&source, &reference, &options, &quiet).map_err(|error| chain(&error))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
