//! What the scenarios share: the command, the peers' images, a registry, the judge's trees.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;
use testkit::judge;
use testkit::layout::Layout;
use testkit::peer::{Compression, Sid, peers_dir};
use testkit::registry::Registry;

/// Made when first asked for, and cleared away at the end.
static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

struct Shared {
    place: TempDir,
    registry: Option<Arc<Registry>>,
    /// By name: whether it is there.
    made: HashMap<String, Arc<Mutex<bool>>>,
}

/// The command under test.
pub(crate) fn binary() -> PathBuf {
    let beside = || {
        // target/debug/deps/scenarios-… → target/debug/reflayer
        let test = std::env::current_exe().unwrap_or_default();
        test.ancestors().nth(2).unwrap_or(Path::new(".")).join("reflayer")
    };
    std::env::var_os("REFLAYER_BIN").map_or_else(beside, PathBuf::from)
}

/// Why no scenario can run, if so.
pub(crate) fn missing() -> Option<String> {
    if !binary().is_file() {
        return Some(format!("{} is not built", binary().display()));
    }
    let images = peers_dir().join("images");
    let peers = Sid::find().map(drop).and_then(|()| {
        images.is_dir().then_some(()).with_context(|| format!("no images at {}", images.display()))
    });
    peers.err().map(|error| format!("{error:#}"))
}

/// The peers.
pub(crate) fn sid() -> Result<Sid> {
    Sid::find()
}

/// The real images, in one form.
pub(crate) fn images(form: Compression) -> Layout {
    Layout::open(&peers_dir().join("images").join(format!("oci-{}", form.word())))
}

/// The two versions of every real image.
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v2"];

/// The tar of a layer of the real images.
pub(crate) fn tar_of(diff_id: &str) -> PathBuf {
    peers_dir().join("images/tars").join(format!("{diff_id}.tar"))
}

fn shared<T>(with: impl FnOnce(&mut Shared) -> Result<T>) -> Result<T> {
    let mut guard = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        let place = tempfile::Builder::new().prefix("scenarios-").tempdir_in("/var/tmp");
        let place = place.context("make a place for what scenarios share")?;
        *guard = Some(Shared { place, registry: None, made: HashMap::new() });
    }
    with(guard.as_mut().context("it was just made")?)
}

/// Stops the registry and removes all that was shared.
pub(crate) fn clear() {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// The registry.
pub(crate) fn registry() -> Result<Arc<Registry>> {
    shared(|shared| {
        if let Some(registry) = &shared.registry {
            return Ok(Arc::clone(registry));
        }
        let registry = Registry::start(&shared.place.path().join("registry"))?;
        Ok(Arc::clone(shared.registry.insert(Arc::new(registry))))
    })
}

/// The registry, with the real images in zstd:chunked form as `REPOSITORY:v1` and `:v2`.
///
/// A repository of its own lets a scenario find its requests in the log.
pub(crate) fn registry_with(repository: &str) -> Result<Arc<Registry>> {
    let registry = registry()?;
    let layout = images(Compression::Chunked);
    for version in VERSIONS {
        push(&sid()?, &registry, &layout, version, &format!("{repository}:{version}"))?;
    }
    Ok(registry)
}

/// Pushes an image of a layout as it is.
pub(crate) fn push(
    sid: &Sid,
    registry: &Registry,
    layout: &Layout,
    tag: &str,
    name: &str,
) -> Result<()> {
    let from = format!("oci:{}:{tag}", layout.dir().display());
    sid.copy(&[layout.dir()], &from, &registry.reference(name), Compression::Keep)
}

/// What GNU tar makes of a layer of the real images. Nobody may change it.
pub(crate) fn judged_tree(diff_id: &str) -> Result<PathBuf> {
    once(&format!("tree-{diff_id}"), |tree| {
        std::fs::create_dir_all(tree).context("make a place for a tree")?;
        judge::unpack(&tar_of(diff_id), tree)
    })
}

/// A place with something that is made when first asked for. Nobody may change it.
pub(crate) fn once(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let (place, made) = shared(|shared| {
        let made = shared.made.entry(name.to_owned()).or_default();
        Ok((shared.place.path().join("made").join(name), Arc::clone(made)))
    })?;
    // Others who want the same wait; those who want something else do not.
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    if !*made {
        build(&place)?;
        *made = true;
    }
    Ok(place)
}

/// A number that a person set for this run, else the default.
pub(crate) fn setting(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// As `setting`, with another default in full.
pub(crate) fn setting_or(variable: &str, short: u64, long: u64) -> u64 {
    setting(variable, if full() { long } else { short })
}

/// Whether the full sizes are wanted, which take hours rather than minutes.
pub(crate) fn full() -> bool {
    setting("REFLAYER_FULL", 0) > 0
}
