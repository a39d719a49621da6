//! `check`, which also repairs

use reflayer::{CheckLevel, Finding, Mended, RepairOptions, RepairReport, Store};
use transport::Reference;

use crate::args::{Check, LevelArg};
use crate::printable::say;
use crate::units::bytes;
use crate::{exit, origin, report};

pub(crate) fn run(store: &Store, args: &Check, json: bool) -> anyhow::Result<u8> {
    if args.repair {
        return repair(store, args, json);
    }
    let findings = store.check(level(args))?;
    if json {
        report::json(&findings)?;
    } else {
        for finding in &findings {
            say!("{}", finding.problem);
            harms(finding);
        }
        match findings.len() {
            0 => say!("nothing found"),
            count => say!("{count} found"),
        }
    }
    Ok(if findings.is_empty() { exit::SUCCESS } else { exit::FINDINGS })
}

fn repair(store: &Store, args: &Check, json: bool) -> anyhow::Result<u8> {
    let mut options = RepairOptions::default();
    options.level = level(args);
    options.platform = origin::platform(&args.origin)?;
    options.from = args.from.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let open =
        |reference: &Reference| origin::open(reference, &args.origin).map_err(anyhow::Error::into);
    let repaired = store.repair(&options, &open)?;
    if json {
        report::json(&repaired)?;
    } else {
        print(&repaired);
    }
    Ok(if repaired.is_whole() { exit::SUCCESS } else { exit::FINDINGS })
}

fn print(repaired: &RepairReport) {
    for mended in &repaired.findings {
        say!("{}", mended.finding.problem);
        say!("    {}", outcome(mended));
        if !mended.repaired {
            harms(&mended.finding);
        }
    }
    let mut left = repaired.findings.iter().filter(|mended| !mended.repaired).count();
    for finding in repaired.left.iter().filter(|finding| !is_told(finding, repaired)) {
        say!("{}", finding.problem);
        say!("    found afterwards");
        harms(finding);
        left += 1;
    }
    match (repaired.findings.len(), left) {
        (0, 0) => say!("nothing found"),
        (count, left) => {
            say!("{count} found, {left} left; fetched {}", bytes(repaired.fetched));
        }
    }
}

/// Whether a finding that is left was there, in the same words, before the repair.
fn is_told(finding: &Finding, repaired: &RepairReport) -> bool {
    let mut left = repaired.findings.iter().filter(|mended| !mended.repaired);
    left.any(|mended| mended.finding.problem == finding.problem)
}

fn outcome(mended: &Mended) -> String {
    let why = if mended.reason.is_empty() { String::new() } else { format!(": {}", mended.reason) };
    match (mended.repaired, mended.fetched, mended.reused) {
        (false, ..) => format!("not repaired{why}"),
        (true, 0, 0) => format!("repaired{why}"),
        (true, fetched, 0) => format!("repaired, fetched {}{why}", bytes(fetched)),
        (true, _, reused) => format!("repaired, reused {}{why}", bytes(reused)),
    }
}

fn harms(finding: &Finding) {
    if !finding.images.is_empty() {
        say!("    harms {}", finding.images.join(", "));
    }
}

/// Files of a hundred that a sample has when nobody says how many.
const SAMPLE: u8 = 10;

fn level(args: &Check) -> CheckLevel {
    let sample = |percent| CheckLevel::Sample { percent, seed: args.seed.unwrap_or_else(any_seed) };
    match (args.sample, args.level) {
        _ if args.quick => CheckLevel::Records,
        (Some(percent), _) => sample(percent),
        (None, LevelArg::Sample) => sample(SAMPLE),
        (None, LevelArg::Records) => CheckLevel::Records,
        (None, LevelArg::Attributes) => CheckLevel::Attributes,
        (None, LevelArg::Content) => CheckLevel::Content,
    }
}

/// Another one each time.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
