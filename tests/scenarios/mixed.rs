//! reflayer and podman at once, doing whatever comes to mind on images that share files.
//!
//! `REFLAYER_MIXED=100` makes it 4 and 4 processes with 100 operations each, and runs 8
//! podmans besides, for what they do to each other without us.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::dice::Dice;
use testkit::peer::Compression::Chunked;
use testkit::tried::tried;

use crate::seat::{self, Seat};
use crate::store;
use crate::world::VERSIONS;

pub(crate) fn trials() -> Vec<Trial> {
    seat::trials("r13_podman_and_we_at_once", mixed)
}

/// One process: it reads an operation and a version from a line, and says what came of it.
///
/// What is mounted is not read: podman may remove it under the mount.
const PROCESS: &str = r#"
work() {
    case $1 in
        pull) reflayer pull --name localhost/small:$2 oci:$images/chunked:$2 ;;
        pull-gzip) reflayer pull --name localhost/small:$2 oci:$images/gzip:$2 ;;
        remove) reflayer rmi small:$2 ;;
        list) reflayer images && reflayer layers ;;
        mount) inside "reflayer mount small:$2 m-$who && reflayer umount m-$who" ;;
        gc) reflayer gc ;;
        P-pull) skopeo --insecure-policy copy -q oci:$images/gzip:$2 containers-storage:localhost/small:$2 ;;
        P-remove) podman rmi small:$2 ;;
        P-list) podman images ;;
        P-mount) podman_inside "podman image mount small:$2 && podman image umount small:$2" ;;
        P-run) in_container small:$2 /sbin/ldconfig --version ;;
        P-gc) podman image prune -f ;;
    esac
}
process() {
    who=$1; mkdir m-$who
    while read -r operation version; do
        status=0; said=$(work $operation $version 2>&1) || status=$?
        echo "$operation $status $(echo $said | tr '\n' ' ')"
    done <$who.operations >$who.log
}
"#;

const OURS: [&str; 8] = ["pull", "pull", "pull-gzip", "remove", "remove", "list", "mount", "gc"];
const THEIRS: [&str; 8] =
    ["P-pull", "P-pull", "P-remove", "P-remove", "P-list", "P-mount", "P-run", "P-gc"];

fn mixed(seat: &Seat) -> Result<()> {
    let full = std::env::var("REFLAYER_MIXED").ok().and_then(|text| text.parse().ok());
    let bench = Bench { seat };
    if let Some(operations) = full {
        let log = bench.run(0, 8, operations)?;
        eprintln!("{} 8 podmans alone:\n{}", seat.name, figures(&log));
        let failed = podmans_failed_pulls(&log);
        tried(
            &seat.name,
            log.len() as u64,
            &format!("operations of podman alone, failed pulls: {failed}"),
        )?;
        bench.expect_nothing_left()?;
    }
    let (each, operations) = full.map_or((2, 8), |operations| (4, operations));
    let log = bench.run(each, each, operations)?;
    eprintln!("{} {each} and {each}:\n{}", seat.name, figures(&log));
    let strange: Vec<_> = log.iter().filter(|line| !line.is_fair()).collect();
    ensure!(strange.is_empty(), "no race explains {strange:#?}");
    bench.expect_whole()?;
    bench.expect_nothing_left()?;
    let failed = podmans_failed_pulls(&log);
    let what =
        format!("operations of {each} and {each}, failed pulls of podman: {failed}, ours: 0");
    tried(&seat.name, log.len() as u64, &what)
}

fn podmans_failed_pulls(log: &[Line]) -> usize {
    log.iter().filter(|line| line.operation == "P-pull" && line.status != 0).count()
}

/// What came of one operation.
#[derive(Debug)]
struct Line {
    operation: String,
    status: i32,
    said: String,
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        let mut parts = line.splitn(3, ' ');
        let mut next = || parts.next().with_context(|| format!("a cut line: {line}"));
        let operation = next()?.to_owned();
        let status = next()?.parse().context("a status")?;
        Ok(Self { operation, status, said: next().unwrap_or_default().to_owned() })
    }

    /// Whether a store that somebody else changes at any moment explains it.
    ///
    /// Of podman all is believed to be its own but what names what it found damaged: the
    /// figures of podmans alone say how it is without us.
    fn is_fair(&self) -> bool {
        if self.operation.starts_with("P-") {
            let damage =
                ["invalid character", "unexpected end of JSON", "incomplete layer", "system reset"];
            return self.status == 0 || !damage.iter().any(|word| self.said.contains(word));
        }
        match &*self.operation {
            "remove" => [0, 4, 5].contains(&self.status),
            "mount" => [0, 4].contains(&self.status),
            _ => self.status == 0,
        }
    }
}

/// How often each operation ended how, and the words of each kind of failure once.
fn figures(log: &[Line]) -> String {
    let mut counts: BTreeMap<(&str, i32), (u32, &str)> = BTreeMap::new();
    for line in log {
        let counted = counts.entry((&line.operation, line.status)).or_insert((0, &line.said));
        counted.0 += 1;
    }
    let mut text = String::new();
    for ((operation, status), (count, said)) in counts {
        let said: String =
            if status == 0 { String::new() } else { said.chars().take(300).collect() };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {operation} {status}: {count} {said}");
    }
    text
}

struct Bench<'a> {
    seat: &'a Seat,
}

impl Bench<'_> {
    /// Runs so many processes of both kinds with so many operations each.
    fn run(&self, ours: usize, theirs: usize, operations: usize) -> Result<Vec<Line>> {
        let place = self.seat.place();
        let kinds = std::iter::repeat_n(OURS, ours).chain(std::iter::repeat_n(THEIRS, theirs));
        let mut names = Vec::new();
        for (number, kind) in kinds.enumerate() {
            let mut dice = Dice::new(number as u64 + 1);
            let line = |_| format!("{} {}\n", dice.one_of(&kind), dice.one_of(&VERSIONS));
            let text: String = (0..operations).map(line).collect();
            // Of runs in one place, each has its own numbers.
            let name = format!("{ours}-{number}");
            fs::write(place.join(format!("{name}.operations")), text).context("write a list")?;
            names.push(name);
        }
        self.seat.sh(&format!(
            "images={}\n{PROCESS}
             for one in {}; do process $one & done; wait
             podman rm -af; podman_inside 'podman image umount -a'
             podman system check >check 2>&1 || true",
            self.seat.images.place().display(),
            names.join(" "),
        ))?;
        let mut log = Vec::new();
        for name in names {
            let text = fs::read_to_string(place.join(format!("{name}.log")));
            let text = text.context("read a log")?;
            let before = log.len();
            for line in text.lines() {
                log.push(Line::parse(line)?);
            }
            let done = log.len() - before;
            ensure!(done == operations, "process {name} did {done} of {operations}");
        }
        Ok(log)
    }

    /// Both tools find nothing, and both images are what they are meant to be.
    fn expect_whole(&self) -> Result<()> {
        let found = fs::read_to_string(self.seat.place().join("check"));
        let found = found.context("read what podman found")?;
        // A user's layers have no devices, whoever pulls them.
        let is_known = |line: &str| self.seat.roots().is_none() && line.contains(": -/dev/null,");
        let strange = found.lines().find(|line| line.contains("* ") && !is_known(line));
        ensure!(strange.is_none(), "podman system check: {found}");
        self.seat.sh("reflayer check")?;
        for version in VERSIONS {
            let from = self.seat.reference(Chunked, version);
            self.seat.sh(&format!("reflayer pull --name localhost/small:{version} {from}"))?;
            let image = self.seat.images.layout(Chunked).image(version)?;
            if let Some(store) = self.seat.roots() {
                // podman ignores what a layer says of its top.
                self.seat.images.expect_below_tops_in(store, &image)?;
            }
        }
        self.seat.sh("reflayer check").map(drop)
    }

    /// With the last image goes everything.
    fn expect_nothing_left(&self) -> Result<()> {
        let list = |what: &str| store::ids(&self.seat.json(what)?);
        for id in list("images")? {
            while list("images")?.contains(&id) {
                self.seat.sh(&format!("reflayer rmi {id}"))?;
            }
        }
        self.seat.sh("reflayer gc --all")?;
        ensure!(list("layers")?.is_empty(), "layers are left");
        let root = self.seat.graph_root();
        let leftovers = store::leftovers(&root);
        ensure!(leftovers.is_empty(), "left over: {leftovers:?}");
        let list = |place: &str| -> Result<Vec<_>> {
            let entries = fs::read_dir(root.join(place)).context("list a place")?;
            Ok(entries.flatten().map(|entry| entry.file_name()).collect())
        };
        let trees = list("overlay")?.into_iter().filter(|name| name.len() == 64).count();
        ensure!(trees == 0, "{trees} trees are left");
        ensure!(list("overlay/l")?.is_empty(), "short links are left");
        Ok(())
    }
}
