//! One case, tried both ways.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use reflayer::{CheckLevel, Durability, LayerWay, Progress, PullOptions, PullReport, Store};
use testkit::causes::chain;
use testkit::compare::{self, Kind, Options, Snapshot, Whiteouts};
use testkit::forged::{Forged, add_image};
use testkit::layout::Layout;
use transport::OciLayout;

use crate::canary;
use crate::case::{Case, Verdict};

type Outcome = Result<(), String>;

/// Tries a case, and shows its stores where the verdict is right.
pub(crate) fn run(case: &Case, held: fn(&[&Path])) -> Outcome {
    let place = canary::place();
    let layer = case.recipe.build();
    let layout = Layout::create(&place.path().join("layout")).map_err(text)?;
    add_image(&layout, "v1", std::slice::from_ref(&layer)).map_err(text)?;
    let by_toc = Attempt::new(place.path(), "by-toc", false);
    let whole = Attempt::new(place.path(), "whole", true);
    let judged = judge(case, &layer, &by_toc, &whole, place.path());
    canary::untouched()?;
    let said = || format!("\n  by its TOC: {by_toc}\n  whole: {whole}");
    judged.map_err(|error| format!("{:?}: {error}{}", case.verdict, said()))?;
    held(&[by_toc.store.root(), whole.store.root()]);
    Ok(())
}

fn judge(case: &Case, layer: &Forged, by_toc: &Attempt, whole: &Attempt, place: &Path) -> Outcome {
    match case.verdict {
        Verdict::Refuse(reason) => {
            by_toc.is_refused(reason)?;
            return whole.is_refused(reason);
        }
        Verdict::OnlyByToc(reason) => {
            by_toc.came(LayerWay::Partial, "")?;
            return whole.is_refused(reason);
        }
        Verdict::Whole(reason) | Verdict::WholeTree(reason, _) => {
            by_toc.came(LayerWay::Full, reason)?;
        }
        Verdict::Accept | Verdict::Tree(_) => by_toc.came(LayerWay::Partial, "")?,
    }
    whole.came(LayerWay::Full, "asked for")?;
    let tree = whole.tree()?;
    let found = compare::trees(&tree, &by_toc.tree()?, &Options::default()).map_err(text)?;
    compare::expect_none("the tree that came by its TOC", &found).map_err(text)?;
    match case.verdict {
        Verdict::Tree(expected) | Verdict::WholeTree(_, expected) => is_listed(&tree, expected),
        _ => is_what_gnu_tar_makes(layer, &tree, place),
    }
}

/// One way of pulling, and what came of it.
struct Attempt {
    store: Store,
    result: Result<PullReport, String>,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.result {
            Ok(report) => write!(f, "{:?}: {}", report.layers[0].path, report.layers[0].reason),
            Err(error) => write!(f, "{error}"),
        }
    }
}

impl Attempt {
    fn new(place: &Path, name: &str, full: bool) -> Self {
        let (root, run) = (place.join(name), place.join(format!("{name}-run")));
        let store = Store::open(&root, &run).expect("a new store");
        let layout = File::open(place.join("layout")).expect("it was made");
        let mut options = PullOptions::default();
        options.full = full;
        options.durability = Durability::Volatile;
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let reference = "oci:layout:v1".parse().expect("a reference");
        let result = match OciLayout::open(layout, Some("v1")) {
            Ok(source) => {
                store.pull(&source, &reference, &options, &quiet).map_err(|error| chain(&error))
            }
            Err(error) => Err(chain(&error)),
        };
        Self { store, result }
    }

    fn is_refused(&self, reason: &str) -> Outcome {
        match &self.result {
            Ok(_) => return Err("it was let in".into()),
            Err(error) if !error.contains(reason) => return Err("for another reason".into()),
            Err(_) => {}
        }
        let layers = self.store.layers().map_err(text)?;
        let mut left: Vec<PathBuf> = Vec::new();
        for dir in ["overlay/staging", "overlay/tempdirs", "overlay/l", "overlay-layers/tmp"] {
            let list = fs::read_dir(self.store.root().join(dir)).into_iter().flatten().flatten();
            left.extend(list.map(|entry| entry.path()));
        }
        if layers.is_empty() && left.is_empty() {
            return Ok(());
        }
        Err(format!("something is left: {layers:?} {left:?}"))
    }

    fn came(&self, way: LayerWay, reason: &str) -> Outcome {
        let Ok(report) = &self.result else { return Err("it was refused".into()) };
        let layer = &report.layers[0];
        if layer.path != way || !layer.reason.contains(reason) {
            return Err("it came another way, or for another reason".into());
        }
        if way == LayerWay::Full && layer.reason.is_empty() {
            return Err("nobody says why it came whole".into());
        }
        match self.store.check(CheckLevel::Content) {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(found) => Err(format!("the check finds {found:?}")),
            Err(error) => Err(chain(&error)),
        }
    }

    fn tree(&self) -> Result<PathBuf, String> {
        let layer = &self.result.as_ref()?.layers[0];
        Ok(self.store.root().join("overlay").join(&layer.layer_id).join("diff"))
    }
}

/// Lets GNU tar unpack the tar, and compares.
fn is_what_gnu_tar_makes(layer: &Forged, tree: &Path, place: &Path) -> Outcome {
    let (tar, reference) = (place.join("tar"), place.join("gnu-tar"));
    fs::write(&tar, &layer.tar).map_err(text)?;
    fs::create_dir(&reference).map_err(text)?;
    let mut command = Command::new("tar");
    command.arg("-x").arg("-f").arg(&tar).arg("-C").arg(&reference);
    command.args(["-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    command.args(["--delay-directory-restore", "--warning=none"]);
    testkit::judge::run(&mut command).map_err(text)?;
    let options = Options { whiteouts: Whiteouts::Aufs, ignore_top: true };
    let found = compare::trees(&reference, tree, &options).map_err(text)?;
    compare::expect_none("beside GNU tar's tree", &found).map_err(text)
}

/// Compares a tree with a list.
fn is_listed(tree: &Path, expected: &[&str]) -> Outcome {
    let snapshot = Snapshot::of(tree).map_err(text)?;
    let top = expected.iter().any(|line| format!("{line} ").contains(" . "));
    let found: Vec<String> = snapshot
        .nodes
        .iter()
        .filter(|(path, _)| top || !path.is_empty())
        .map(|(path, node)| line(path, node))
        .collect();
    let mut sorted: Vec<&str> = expected.to_vec();
    let mut named: Vec<&str> = found.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    named.sort_unstable();
    if sorted == named { Ok(()) } else { Err(format!("the tree is {found:#?}")) }
}

/// `d 755 0:0 etc`, `f 644 0:0 etc/passwd`, `l 0:0 link -> text`, `c 600 0:0 null 1,3`,
/// `w removed`; then `= first name` of the same inode, and xattrs `key=value`.
fn line(path: &[u8], node: &compare::Node) -> String {
    let name = match String::from_utf8_lossy(path) {
        name if name.is_empty() => ".".into(),
        name if name.len() > 60 => format!("{}…{}", &name[..20], name.len()),
        name => name.into_owned(),
    };
    if node.kind == Kind::Whiteout {
        return format!("w {name}");
    }
    let sign = match node.kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
        Kind::Socket | Kind::Whiteout => '?',
    };
    let mode = if sign == 'l' { String::new() } else { format!("{:o} ", node.mode) };
    let target = node.link.as_ref().map(|target| {
        let target = String::from_utf8_lossy(target).replace(canary::out(), "OUT");
        format!(" -> {target}")
    });
    let device = node.device.map(|(major, minor)| format!(" {major},{minor}"));
    let first = node.first_name.as_ref().map(|first| format!(" = {first}"));
    let xattrs = node.xattrs.iter();
    let xattrs = xattrs.map(|(key, value)| format!(" {key}={}", String::from_utf8_lossy(value)));
    let rest: String = [target, device, first].into_iter().flatten().chain(xattrs).collect();
    format!("{sign} {mode}{}:{} {name}{rest}", node.owner.0, node.owner.1)
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
