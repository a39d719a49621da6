//! What tries to break promises, by name: scenarios, forged layers, odd registries, fuzzing.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::promises;
use crate::{fuzz, workspace};

/// The promise that fuzzing tests.
const FUZZING: &str = "r22_fuzz";

/// Test programs whose tests carry a promise's number, and the workspace members they are in.
const PROGRAMS: [(&str, &str); 5] = [
    (SCENARIOS, "tests"),
    ("hostile", "crates/reflayer"),
    ("odd_registry", "crates/reflayer"),
    ("damage", "crates/reflayer"),
    ("registry", "crates/transport"),
];
const SCENARIOS: &str = "scenarios";

/// One thing that is tried, and has a result of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    /// Has the numbers of the promises that it is for.
    pub(super) name: String,
    /// Where it runs.
    pub(super) directory: PathBuf,
    pub(super) how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// This test of this program; scenarios want filesystems.
    Test { program: PathBuf, wants_filesystems: bool },
    /// All tests of this program whose names begin with that of the trial.
    Family { program: PathBuf },
    /// A fuzz target.
    Fuzz { target: String },
}

impl Trial {
    pub(super) fn is_of(&self, promise: u32) -> bool {
        promises::of(&self.name).any(|of| of == promise)
    }

    pub(super) fn wants_filesystems(&self) -> bool {
        matches!(self.how, How::Test { wants_filesystems: true, .. })
    }
}

/// Builds all test programs, and copies them to `place`: a run takes hours, and what is built
/// meanwhile is not what it tells of.
pub(super) fn all(sh: &Shell, place: &Path) -> Result<Vec<Trial>> {
    let built = built_tests(sh)?;
    let mut trials = Vec::new();
    for (name, member) in PROGRAMS {
        let built =
            built.get(name).with_context(|| format!("cargo does not say where {name} is"))?;
        let program = place.join(name);
        fs::copy(built, &program).with_context(|| format!("copy {}", built.display()))?;
        let list = cmd!(sh, "{program} --list").quiet().ignore_stderr().read()?;
        let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
        let directory = workspace::root().join(member);
        trials.extend(of_program(&program, &directory, name == SCENARIOS, tests));
    }
    let targets = fuzz::targets(sh)?.into_iter();
    trials.extend(targets.map(|target| Trial {
        name: format!("{FUZZING}::{target}"),
        directory: workspace::root().into(),
        how: How::Fuzz { target },
    }));
    trials.retain(|trial| promises::of(&trial.name).next().is_some());
    Ok(trials)
}

/// Scenarios one by one; of others, which are many and short, those of one family together.
fn of_program<'a>(
    program: &Path,
    directory: &Path,
    scenarios: bool,
    tests: impl Iterator<Item = &'a str>,
) -> Vec<Trial> {
    let trial = |name: &str, how| Trial { name: name.into(), directory: directory.into(), how };
    if scenarios {
        let how = || How::Test { program: program.into(), wants_filesystems: true };
        return tests.map(|name| trial(name, how())).collect();
    }
    let family = |name: &'a str| match name.split_once("::") {
        Some((family, _)) if promises::of(family).next().is_some() => (family, true),
        _ => (name, false),
    };
    let families: BTreeSet<(&str, bool)> = tests.map(family).collect();
    let how = |several| {
        let program = program.into();
        if several {
            How::Family { program }
        } else {
            How::Test { program, wants_filesystems: false }
        }
    };
    families.into_iter().map(|(name, several)| trial(name, how(several))).collect()
}

/// The test programs, built, by name.
fn built_tests(sh: &Shell) -> Result<HashMap<String, PathBuf>> {
    let tests = PROGRAMS.iter().flat_map(|(name, _)| ["--test", name]);
    let build =
        cmd!(sh, "cargo test -q --workspace --locked {tests...} --no-run --message-format json");
    let messages = build.quiet().ignore_stderr().read()?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let programs = messages.filter_map(|message: serde_json::Value| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(programs.collect())
}

/// How many tests passed, as test programs say at their end.
pub(super) fn passed(log: &str) -> u64 {
    let last = log.lines().rev().find_map(|line| line.strip_prefix("test result: ok. "));
    last.and_then(|line| line.split_once(" passed")?.0.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tests_are_tried_family_by_family() {
        let tests = ["r17_toc::a", "r17_toc::b", "r16_alone", "records::r6_a"];
        let place = Path::new("p");
        let trials = of_program(place, place, false, tests.into_iter());
        let names: Vec<_> = trials.iter().map(|trial| &*trial.name).collect();
        assert_eq!(names, ["r16_alone", "r17_toc", "records::r6_a"]);
        assert!(matches!(trials[1].how, How::Family { .. }) && trials[1].is_of(17));
        assert!(matches!(trials[2].how, How::Test { .. }) && trials[2].is_of(6));
        let scenarios = of_program(place, place, true, tests.into_iter());
        assert!(scenarios.len() == 4 && scenarios.iter().all(Trial::wants_filesystems));
    }

    #[test]
    fn what_a_test_program_says_at_its_end_is_read() {
        let log = "running 2 tests\n\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!([passed(log), passed(""), passed("test result: FAILED. 1 passed")], [2, 0, 0]);
    }
}
