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
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::peer::Compression;

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::store::Store;
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    ["xfs", "ext4"].map(|name| on(name, "r13_podman_and_we_at_once", mixed)).into()
}

/// One process: it reads an operation and a version from a line, and says what came of it.
///
/// What is mounted is not read: podman may remove it under the mount.
const PROCESS: &str = r#"
work() {
    case $1 in
        pull) reflayer pull --name localhost/small:$2 oci:$IMAGES/chunked:$2 ;;
        pull-gzip) reflayer pull --name localhost/small:$2 oci:$IMAGES/gzip:$2 ;;
        remove) reflayer rmi small:$2 ;;
        list) reflayer images && reflayer layers ;;
        mount) reflayer mount small:$2 $ROOM/$who && reflayer umount $ROOM/$who ;;
        gc) reflayer gc ;;
        P-pull) skopeo --insecure-policy copy -q oci:$IMAGES/gzip:$2 containers-storage:localhost/small:$2 ;;
        P-remove) podman rmi small:$2 ;;
        P-list) podman images ;;
        P-mount) podman image mount small:$2 && podman image umount small:$2 ;;
        P-run) id=$(podman create --pull=never small:$2 /usr/bin/tool) && podman export -o /dev/null $id; podman rm -f $id ;;
        P-gc) podman image prune -f ;;
    esac
}
who=$1; mkdir -p $ROOM/$who
while read -r operation version; do
    status=0; said=$(work $operation $version 2>&1) || status=$?
    echo "$operation $status $(echo $said | tr '\n' ' ')"
done <$ROOM/$who.operations >$ROOM/$who.log
"#;

const OURS: [&str; 8] = ["pull", "pull", "pull-gzip", "remove", "remove", "list", "mount", "gc"];
const THEIRS: [&str; 8] =
    ["P-pull", "P-pull", "P-remove", "P-remove", "P-list", "P-mount", "P-run", "P-gc"];

fn mixed(filesystem: &Filesystem) -> Result<()> {
    let full = std::env::var("REFLAYER_MIXED").ok().and_then(|text| text.parse().ok());
    if let Some(operations) = full {
        let bench = Bench::new(filesystem)?;
        let log = bench.run(0, 8, operations)?;
        eprintln!("{} 8 podmans alone:\n{}", filesystem.name, figures(&log));
    }
    let (each, operations) = full.map_or((2, 8), |operations| (4, operations));
    let bench = Bench::new(filesystem)?;
    let log = bench.run(each, each, operations)?;
    eprintln!("{} {each} and {each}:\n{}", filesystem.name, figures(&log));
    let strange: Vec<_> = log.iter().filter(|line| !line.is_fair()).collect();
    ensure!(strange.is_empty(), "no race explains {strange:#?}");
    bench.expect_whole()?;
    bench.expect_nothing_left()
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

struct Bench {
    store: Store,
    images: Built,
}

impl Bench {
    fn new(filesystem: &Filesystem) -> Result<Self> {
        let store = Store::new(filesystem)?;
        // podman sees its two roots only; what it does not know there does not trouble it.
        let room = store.run_root().join("mixed");
        let forms = [Compression::Gzip, Compression::Chunked];
        let images = small::make(&room.join("images"), &forms)?;
        fs::copy(world::binary(), room.join("command")).context("copy the command")?;
        Ok(Self { store, images })
    }

    /// Runs so many processes of both kinds with so many operations each.
    fn run(&self, ours: usize, theirs: usize, operations: usize) -> Result<Vec<Line>> {
        let room = self.store.run_root().join("mixed");
        let kinds = std::iter::repeat_n(OURS, ours).chain(std::iter::repeat_n(THEIRS, theirs));
        let mut names = Vec::new();
        for (number, kind) in kinds.enumerate() {
            let mut dice = Dice::new(number as u64 + 1);
            let line = |_| format!("{} {}\n", dice.one_of(&kind), dice.one_of(&VERSIONS));
            let text: String = (0..operations).map(line).collect();
            fs::write(room.join(format!("{number}.operations")), text).context("write a list")?;
            names.push(number.to_string());
        }
        fs::write(room.join("process"), PROCESS).context("write a script")?;
        let room = room.display();
        let [graph, run] = [self.store.root(), self.store.run_root()];
        let script = format!(
            "export ROOM={room} IMAGES={room}/images
             printf '#!/bin/sh\\nexec {room}/command --root {} --runroot {} \"$@\"\\n' >/tmp/reflayer
             chmod +x /tmp/reflayer; export PATH=/tmp:$PATH
             for who in {}; do sh {room}/process $who & done; wait
             podman rm -af; podman image umount -a
             podman system check 2>&1 | tee {room}/check",
            graph.display(),
            run.display(),
            names.join(" "),
        );
        judge::output(&mut self.store.podman()?.shell(&script))?;
        let mut log = Vec::new();
        for name in names {
            let path = self.store.run_root().join("mixed").join(format!("{name}.log"));
            let text = fs::read_to_string(path).context("read a log")?;
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
        let found = fs::read_to_string(self.store.run_root().join("mixed/check"));
        let found = found.context("read what podman found")?;
        ensure!(!found.contains("* "), "podman system check: {found}");
        self.store.expect_clean()?;
        for version in VERSIONS {
            let reference = self.images.reference(Compression::Chunked, version);
            self.store.json(&[
                "pull",
                "--name",
                &format!("localhost/small:{version}"),
                &reference,
            ])?;
            let image = self.images.layout(Compression::Chunked).image(version)?;
            // podman ignores what a layer says of its top.
            self.images.expect_below_tops_in(&self.store, &image)?;
        }
        self.store.expect_clean()
    }

    /// With the last image goes everything.
    fn expect_nothing_left(&self) -> Result<()> {
        for id in self.store.image_ids()? {
            while self.store.image_ids()?.contains(&id) {
                self.store.json(&["rmi", &id])?;
            }
        }
        self.store.json(&["gc", "--all"])?;
        ensure!(self.store.layer_ids()?.is_empty(), "layers are left");
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        let list = |place: &str| -> Result<Vec<_>> {
            let entries = fs::read_dir(self.store.root().join(place)).context("list a place")?;
            Ok(entries.flatten().map(|entry| entry.file_name()).collect())
        };
        let trees = list("overlay")?.into_iter().filter(|name| name.len() == 64).count();
        ensure!(trees == 0, "{trees} trees are left");
        ensure!(list("overlay/l")?.is_empty(), "short links are left");
        Ok(())
    }
}
