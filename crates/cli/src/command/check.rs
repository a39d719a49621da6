//! `check`

use reflayer::{CheckLevel, Finding, Store};

use crate::args::{Check, LevelArg};
use crate::{exit, report};

pub(crate) fn run(store: &Store, args: &Check, json: bool) -> anyhow::Result<u8> {
    let findings = store.check(level(args))?;
    if json {
        report::json(&findings)?;
    } else {
        for finding in &findings {
            println!("{}", finding.problem);
            harms(finding);
        }
        match findings.len() {
            0 => println!("nothing found"),
            count => println!("{count} found"),
        }
    }
    Ok(if findings.is_empty() { exit::SUCCESS } else { exit::FINDINGS })
}

fn harms(finding: &Finding) {
    if !finding.images.is_empty() {
        println!("    harms {}", finding.images.join(", "));
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
