//! What an update fetches and takes of the disk, against what it cannot do without.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::disk::{Places, used};
use testkit::exact::{AtHand, Exact};
use testkit::fs_role::{self, Filesystem};
use testkit::layout::Image;
use testkit::loop_fs::LoopFs;
use testkit::peer::Podman;
use testkit::registry::{Mark, Registry, Traffic};

use crate::needs::on;
use crate::pairs::{self, Pair, Which};
use crate::store::{Report, Store};
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    let each = |which: Which| {
        let names: &[&str] = match which {
            // The other two see these images in other scenarios.
            Which::Real if !world::full() => &["xfs"],
            _ => &fs_role::LARGE,
        };
        names.iter().map(move |name| {
            on(name, &format!("an_update_fetches_what_is_missing::{}", which.word()), move |fs| {
                update(which, fs)
            })
        })
    };
    pairs::ALL.into_iter().flat_map(each).collect()
}

/// Nothing is written to most of it.
const DISK: u64 = 20 << 30;
/// Fetched and written bytes may be so many parts of a hundred of what is missing.
const PERCENT: u64 = 110;

/// The filesystem given tells the kind; the store gets one of its own, for `df` to be true.
fn update(which: Which, kind: &Filesystem) -> Result<()> {
    let pair = which.make()?;
    let place = tempfile::Builder::new().prefix("updates-").tempdir_in("/var/tmp")?;
    let own = LoopFs::make(place.path(), kind.name, DISK)?;
    let bench = Bench::new(which, &pair, &own.filesystem)?;
    let [old, new] = VERSIONS.map(|version| pair.layout().image(version));
    let (old, new) = (old?, new?);
    let mut at_hand = AtHand::default();
    let cold = at_hand.add(&pair.layout(), &old)?;
    let (_, fetched) = bench.pull("v1", &old)?;
    eprintln!("{} {} cold: fetched {fetched} of {}", kind.name, which.word(), cold.fetched());
    let before = bench.disk()?;
    let exact = at_hand.add(&pair.layout(), &new)?;
    let planned = Report(bench.store.json(&["plan", &bench.reference("v2")])?);
    let (report, fetched) = bench.pull("v2", &new)?;
    let after = bench.disk()?;
    expect_as_planned(&planned, &report)?;
    bench.tell(&exact, &report, fetched);
    bench.podman()?;
    pair.expect_in(&bench.store, &new)?;
    let disk = bench.added((&planned, &report), &exact, before, after, &old, &new);
    let limit = exact.fetched() * PERCENT / 100;
    ensure!(
        fetched <= limit,
        "fetched {fetched}, more than {limit}, 1.1 of {}: {exact:?}; {:?} {:?}",
        exact.fetched(),
        report.paths(),
        report.reasons()
    );
    disk
}

struct Bench<'a> {
    which: Which,
    filesystem: &'a Filesystem,
    store: Store,
    registry: std::sync::Arc<Registry>,
    repository: String,
}

/// Bytes of the disk that are taken, by everything and by records and what is kept of blobs.
#[derive(Debug, Clone, Copy)]
struct Taken {
    all: u64,
    kept: u64,
}

impl<'a> Bench<'a> {
    fn new(which: Which, pair: &Pair, filesystem: &'a Filesystem) -> Result<Self> {
        let registry = world::registry()?;
        let repository = format!("updates-{}-{}/app", which.word(), filesystem.name);
        let layout = pair.layout();
        for version in VERSIONS {
            let name = format!("{repository}:{version}");
            world::push(&world::sid()?, &registry, &layout, version, &name)?;
        }
        let store = Store::new(filesystem)?;
        Ok(Self { which, filesystem, store, registry, repository })
    }

    /// Pulls; gives the report, and how many bytes of layers the registry sent.
    fn pull(&self, version: &str, image: &Image) -> Result<(Report, u64)> {
        let mark = self.registry.mark()?;
        let report = self.store.pull(&self.reference(version))?;
        Ok((report, self.sent(mark, image)?))
    }

    fn reference(&self, version: &str) -> String {
        self.registry.reference(&format!("{}:{version}", self.repository))
    }

    fn sent(&self, mark: Mark, image: &Image) -> Result<u64> {
        let mut requests = self.registry.since(mark)?;
        requests.retain(|request| {
            let of_layer = image.layers.iter().any(|layer| request.uri.contains(&layer.digest));
            request.uri.contains(&self.repository) && of_layer
        });
        Ok(Traffic::of_blobs(&requests).bytes)
    }

    fn tell(&self, exact: &Exact, report: &Report, fetched: u64) {
        eprintln!(
            "{} {} update: fetched {fetched}, {:.3} of {}: TOC {} tar-split {} missing {} \
             ({} plain)",
            self.filesystem.name,
            self.which.word(),
            ratio(fetched, exact.fetched()),
            exact.fetched(),
            exact.tocs,
            exact.tar_splits,
            exact.missing,
            exact.missing_plain
        );
        eprintln!("{} {}: {}", self.filesystem.name, self.which.word(), report.figures());
    }

    /// What podman fetches for the same, where that is wanted.
    fn podman(&self) -> Result<()> {
        let wanted = world::full() || world::setting("REFLAYER_PODMAN", 0) > 0;
        if !wanted || self.filesystem.name == "btrfs" {
            return Ok(());
        }
        let store = Store::new(self.filesystem)?;
        let podman: Podman = store.podman()?;
        let mut sent = Vec::new();
        for version in VERSIONS {
            let mark = self.registry.mark()?;
            podman.pull(&self.reference(version))?;
            let mut requests = self.registry.since(mark)?;
            requests.retain(|request| request.uri.contains(&self.repository));
            sent.push(Traffic::of_blobs(&requests).bytes);
        }
        eprintln!("{} {}: podman fetched {sent:?}", self.filesystem.name, self.which.word());
        Ok(())
    }

    fn disk(&self) -> Result<Taken> {
        let root = self.store.root();
        let kept = ["overlay-layers", "overlay-images"].map(|name| blocks(&root.join(name)));
        Ok(Taken {
            all: used(self.filesystem.path())?,
            kept: kept.into_iter().sum::<Result<u64>>()?,
        })
    }

    /// What the update added to the disk: told for all, judged where sharing is possible.
    fn added(
        &self,
        (planned, report): (&Report, &Report),
        exact: &Exact,
        before: Taken,
        after: Taken,
        old: &Image,
        new: &Image,
    ) -> Result<()> {
        let all = after.all.saturating_sub(before.all);
        let kept = after.kept.saturating_sub(before.kept);
        if self.filesystem.name == "ext4" {
            eprintln!("ext4 {}: df +{all}", self.which.word());
            return Ok(());
        }
        let trees = |image: &Image| -> Vec<PathBuf> {
            image.layers.iter().map(|layer| self.store.diff(&layer.layer_id)).collect()
        };
        let (theirs, ours) = (Places::of(&trees(old))?, Places::of(&trees(new))?);
        let shared = ours.common(&theirs);
        let own = ours.bytes() - shared;
        let reported = report.bytes("shared")?;
        eprintln!(
            "{} {}: df +{all}, of it kept from blobs and records {kept}; FIEMAP: {own} of its own, \
             {shared} shared, the report says {reported}; {} bytes were missing, in {} files",
            self.filesystem.name,
            self.which.word(),
            exact.missing_plain,
            exact.files
        );
        let [disk, expected] = ["disk", "shared"].map(|key| planned.bytes(key));
        let (disk, expected) = (disk?, expected?);
        eprintln!(
            "{} {}: planned {disk} of its own and {expected} shared",
            self.filesystem.name,
            self.which.word()
        );
        // Blocks of zeros take no room, wherever they come from.
        ensure!(own <= disk + FIXED, "{disk} bytes of the disk were planned, {own} taken");
        // Holes of files that are cloned are shared with nobody, nor is what lies in inodes.
        let alone = expected / 50 + ours.tiny();
        ensure!(
            expected.saturating_sub(reported) <= alone,
            "{expected} bytes were planned to be shared, {reported} are, and {alone} may be alone"
        );
        eprintln!(
            "{} {}: of its own {:.3} of what was missing; of other chunks {} bytes lie apart, {} \
             alike, in {} runs",
            self.filesystem.name,
            self.which.word(),
            ratio(own, exact.missing_plain),
            exact.apart,
            exact.alike,
            exact.runs
        );
        let rounding = exact.files * BLOCK;
        ensure!(
            reported <= shared + rounding,
            "{reported} bytes are reported as shared, by FIEMAP {shared} are"
        );
        if matches!(self.which, Which::Tiny | Which::Repeated) {
            // Files fit into inodes, or cost more to share than they take; and what repeats
            // in one image is copied, since it is not yet on the disk to be shared.
            return Ok(());
        }
        let strict = exact.missing_plain * PERCENT / 100;
        if own > strict {
            let word = self.which.word();
            eprintln!("{} {word}: OVER missing plus 10 %: {own} > {strict}", self.filesystem.name);
        }
        // What lies apart modulo the size of a block cannot lie in the same blocks, nor can the
        // first and last of a run. `REFLAYER_STRICT=1` allows for neither.
        let allowed = exact.apart + 2 * exact.runs * BLOCK;
        let limit = strict + if world::setting("REFLAYER_STRICT", 0) > 0 { 0 } else { allowed };
        ensure!(own <= limit, "FIEMAP: {own} of its own, more than {limit}");
        let metadata = exact.files * self.metadata() + self.inside(&ours) + kept + FIXED;
        ensure!(all <= limit + metadata, "df: {all} more, not {limit} and {metadata} of metadata");
        Ok(())
    }

    /// Bytes of files that are among the metadata, of which btrfs keeps two copies.
    fn inside(&self, ours: &Places) -> u64 {
        if self.filesystem.name == "btrfs" { 2 * ours.tiny() } else { 0 }
    }

    /// Bytes of metadata for one file of a new layer: its inode (512 on xfs, about 500 with
    /// reference and extent items on btrfs, which keeps two copies), its name in a directory,
    /// and its records in the trees of extents and reference counts.
    fn metadata(&self) -> u64 {
        if self.filesystem.name == "btrfs" { 2 * 1024 } else { 1024 }
    }
}

const BLOCK: u64 = 4096;
/// What a filesystem allots in one go, whatever is written: chunks of inodes, tree nodes, logs.
const FIXED: u64 = 2 << 20;

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// Bytes of the blocks that a directory's files take.
fn blocks(directory: &std::path::Path) -> Result<u64> {
    let text = testkit::judge::output(
        std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(directory),
    )?;
    let first = text.split_whitespace().next().context("du says nothing")?;
    first.parse().with_context(|| format!("du says {text}"))
}

/// That the pull took from where it was planned to take.
fn expect_as_planned(planned: &Report, report: &Report) -> Result<()> {
    for key in ["reused_files", "reused_chunks", "holes"] {
        ensure!(planned.bytes(key)? == report.bytes(key)?, "planned {key}: {}", planned.0);
    }
    let (shared, expected) = (report.bytes("shared")?, planned.bytes("shared")?);
    ensure!(shared <= expected, "{shared} bytes are shared, {expected} were planned");
    Ok(())
}
