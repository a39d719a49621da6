//! What came of the scenarios, a line of JSON for each, written when it ends.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::promises;

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) scenario: String,
    /// What was done, and how often.
    pub(super) tried: Vec<(String, u64)>,
    /// The log of a failure; empty if the promise held.
    pub(super) failed: String,
    pub(super) seconds: f64,
    pub(super) commit: String,
}

/// The results so far, and their file.
pub(super) struct Results {
    file: PathBuf,
    outcomes: Vec<Outcome>,
}

impl Results {
    /// A line that a stopped run has half written is left out.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let text = if file.exists() {
            fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?
        } else {
            String::new()
        };
        let outcomes = text.lines().filter_map(Outcome::parse).collect();
        let results = Self { file: file.to_owned(), outcomes };
        results.save()?;
        Ok(results)
    }

    /// Of several results of a scenario the last one counts.
    pub(super) fn add(&mut self, outcome: Outcome) -> Result<()> {
        self.outcomes.retain(|known| known.scenario != outcome.scenario);
        self.outcomes.push(outcome);
        self.save()
    }

    /// Begins these promises anew.
    pub(super) fn forget(&mut self, promises: &[u32]) -> Result<()> {
        self.outcomes.retain(|known| !known.is_of(promises));
        self.save()
    }

    pub(super) fn has_passed(&self, scenario: &str) -> bool {
        self.outcomes.iter().any(|known| known.scenario == scenario && known.failed.is_empty())
    }

    pub(super) fn of(&self, promise: u32) -> Vec<&Outcome> {
        self.outcomes.iter().filter(|known| known.is_of(&[promise])).collect()
    }

    /// The scenarios that failed, of these promises.
    pub(super) fn failed(&self, promises: &[u32]) -> Vec<String> {
        let failed = |known: &&Outcome| known.is_of(promises) && !known.failed.is_empty();
        self.outcomes.iter().filter(failed).map(|known| known.scenario.clone()).collect()
    }

    fn save(&self) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let new = self.file.with_extension("new");
            let mut file = File::create(&new)?;
            for outcome in &self.outcomes {
                writeln!(file, "{}", outcome.to_json())?;
            }
            fs::rename(new, &self.file)
        };
        write().with_context(|| format!("write {}", self.file.display()))
    }
}

impl Outcome {
    /// Whether it tells something of one of these promises.
    fn is_of(&self, promises: &[u32]) -> bool {
        promises::of(&self.scenario).any(|promise| promises.contains(&promise))
    }

    fn to_json(&self) -> Value {
        json!({
            "scenario": self.scenario, "tried": self.tried,
            "failed": self.failed, "seconds": self.seconds, "commit": self.commit,
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            scenario: text("scenario")?,
            tried: serde_json::from_value(value["tried"].clone()).ok()?,
            failed: text("failed")?,
            seconds: value["seconds"].as_f64()?,
            commit: text("commit")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Results};

    #[test]
    fn results_outlive_a_run_that_was_stopped() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("results");
        let outcome = |scenario: &str, failed: &str| Outcome {
            scenario: scenario.into(),
            tried: vec![("kills".into(), 7)],
            failed: failed.into(),
            seconds: 1.5,
            commit: "abc".into(),
        };
        let mut results = Results::open(&file).unwrap();
        results.add(outcome("r1_a", "log")).unwrap();
        results.add(outcome("r2_a", "")).unwrap();
        let half = std::fs::read_to_string(&file).unwrap() + "{\"scenario\":\"r3";
        std::fs::write(&file, half).unwrap();
        let mut results = Results::open(&file).unwrap();
        assert_eq!(results.outcomes, [outcome("r1_a", "log"), outcome("r2_a", "")]);
        assert!(results.has_passed("r2_a") && !results.has_passed("r1_a"));
        assert_eq!(results.failed(&[1, 2]), ["r1_a"]);
        results.add(outcome("r1_a", "")).unwrap();
        assert!(results.has_passed("r1_a"));
        results.forget(&[1]).unwrap();
        assert!(results.of(1).is_empty() && results.of(2).len() == 1);
    }
}
