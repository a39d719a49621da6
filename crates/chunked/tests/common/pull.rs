//! The steps one by one, with sources of the test's own.

use std::fs::File;
use std::io::{self, BufReader};

use chunked::{
    Candidate, DedupMap, LocalTrees, Plan, Proved, Prover, Reuse, Sources, Wanted, aside,
};

use super::blob::Built;
use super::sources::{Odd, cut, interleave};
use super::{Stage, privileges};

/// Sources that are opened by way of a function.
struct Through<'a, F> {
    trees: &'a LocalTrees,
    open: F,
}

impl<F> Sources for Through<'_, F>
where
    F: Fn(&Candidate, &LocalTrees) -> io::Result<File> + Sync,
{
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        (self.open)(candidate, self.trees)
    }
}

/// Unpacks `built` into `stage` with the files of `bases` at hand, opened by `open`.
pub(crate) fn pull_through(
    built: &Built,
    stage: &Stage,
    bases: &[&Stage],
    reuse: Reuse,
    open: impl Fn(&Candidate, &LocalTrees) -> io::Result<File> + Sync,
) -> Proved {
    let change = |given| interleave(cut(given, 5000));
    let (source, limits) = (Odd { inner: built.source(), change }, chunked::Limits::default());
    let toc = chunked::scan(&source, &built.location(), stage.dirs(), &limits).unwrap().toc;
    let (mut trees, mut map) = (LocalTrees::new(), DedupMap::new(Wanted::of(&toc)));
    for base in bases {
        let toc_json = File::open(base.dir.path().join("aside").join(aside::TOC)).unwrap();
        let dest = base.dest.try_clone().unwrap();
        trees.add(dest, BufReader::new(toc_json), &mut map).unwrap();
    }
    let prover = Prover::start(stage.dirs(), built.diff_id).unwrap();
    let options = ::tree::TreeOptions::new(privileges());
    let sources = Through { trees: &trees, open };
    let plan = Plan::new(&toc, &map, reuse);
    let pinned = plan.pin(&source, &sources, stage.dirs(), options, &prover).unwrap();
    stage.check_scratch();
    let applied = pinned.apply().unwrap();
    stage.check_scratch();
    prover.finish(applied).unwrap()
}
