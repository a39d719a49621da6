//! R21: whatever a registry does wrong, a pull ends in the right content or in a clean error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reflayer::{CheckLevel, Durability, Progress, PullOptions, PullReport, Store};
use testkit::causes::chain;
use testkit::compare;
use testkit::forged::{Forged, Item, Recipe, file};
use testkit::odd_registry::{LOGIN, Mode, OddRegistry};
use testkit::tree::noise;
use testkit::tried::tried;
use transport::{Credentials, CredentialsError, Login, Options, Registry};

/// What a pull ends in.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The right content.
    Right,
    /// An error that says so somewhere.
    Error(&'static str),
}

use End::{Error, Right};

const MODES: [(Mode, End); 54] = [
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
    (Mode::Status(404), Error("not found")),
    (Mode::Status(429), Error("429")),
    (Mode::Status(500), Error("500")),
    (Mode::Status(503), Error("503")),
    (Mode::Status(999), Error("999")),
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
    (Mode::ManifestIsAPage, Right),
    (Mode::ManifestHasNoType, Right),
    (Mode::ManifestOfOtherDigest, Right),
    (Mode::ManifestEndless, Error("")),
    // Redirects.
    (Mode::RedirectElsewhere, Right),
    (Mode::RedirectToALogin, Error("401")),
    (Mode::RedirectInACircle, Error("redirect")),
    (Mode::RedirectTo("http://192.0.2.1/blob"), Error("")),
    (Mode::RedirectTo("file:///etc/passwd"), Error("")),
    (Mode::RedirectToNowhere, Error("")),
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
    let name = registry.reference();
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
