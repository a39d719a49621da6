//! What was mended, and what was not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use storage_core::{LayerId, LayerPath, Usage};

use crate::check::{Finding, Problem};
use crate::pull::error_chain;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was found, and what became of it.
    pub findings: Vec<Mended>,
    /// Bytes received from where images come from, TOCs included.
    pub fetched: u64,
    /// Requests sent for blobs.
    pub requests: u64,
    /// What is still found afterwards.
    pub left: Vec<Finding>,
}

/// What became of one finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mended {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether it is no longer found, and nothing failed on the way, the last flush included.
    pub repaired: bool,
    /// How it was mended, or why not; empty where there is nothing to say.
    pub reason: String,
    /// Compressed bytes that were fetched for this file alone.
    pub fetched: u64,
    /// Bytes that were taken from files of other layers, or elsewhere in this one.
    pub reused: u64,
}

impl RepairReport {
    /// Whether all that was found is repaired, and nothing is found any more.
    pub fn is_whole(&self) -> bool {
        self.left.is_empty() && self.findings.iter().all(|mended| mended.repaired)
    }

    /// What was mended, and what was not and why: a line each.
    pub(crate) fn summary(&self) -> Vec<String> {
        let (mended, left): (Vec<_>, Vec<_>) = self.findings.iter().partition(|m| m.repaired);
        let mut lines = Vec::new();
        if !mended.is_empty() {
            lines.push(format!("{} damaged files mended", mended.len()));
        }
        if let Some(first) = left.first() {
            lines.push(format!("{} damaged files left alone: {}", left.len(), first.reason));
        }
        lines
    }

    /// Adds what another repair did.
    pub(crate) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.left.extend(other.left);
        self.fetched += other.fetched;
        self.requests += other.requests;
    }
}

/// Where the bytes of one file came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) fetched: u64,
    pub(super) reused: u64,
}

/// What is noted while mending goes on.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Why something of an id could not be mended.
    why_not: BTreeMap<String, String>,
    /// Of what something failed, and be it the last flush of what is then found sound.
    failed: BTreeSet<String>,
    /// How it was.
    how: BTreeMap<String, String>,
    files: BTreeMap<(LayerId, LayerPath), Got>,
    usage: Usage,
}

impl Notes {
    /// Says why something of a layer was not mended; what was said first stays.
    pub(super) fn layer(&mut self, layer: &LayerId, what: impl Into<String>) {
        self.id(layer.as_str(), what);
    }

    /// The same of a layer, an image or a record file.
    pub(super) fn id(&mut self, id: &str, what: impl Into<String>) {
        self.why_not.entry(id.into()).or_insert_with(|| what.into());
    }

    /// Says that mending something of an id failed.
    pub(super) fn failed(&mut self, id: &str, error: &dyn std::error::Error) {
        self.id(id, error_chain(error));
        self.failed.insert(id.into());
    }

    /// Says how a record file, or what has no record, was mended.
    pub(super) fn how(&mut self, id: &str, what: impl Into<String>) {
        self.how.entry(id.into()).or_insert_with(|| what.into());
    }

    pub(super) fn file(&mut self, layer: &LayerId, path: &LayerPath, got: Got) {
        self.files.insert((layer.clone(), path.clone()), got);
    }

    /// Counts what was received.
    pub(super) fn used(&mut self, usage: Usage) {
        self.usage.bytes += usage.bytes;
        self.usage.requests += usage.requests;
    }

    pub(super) fn report(self, before: Vec<Finding>, left: Vec<Finding>) -> RepairReport {
        let still: BTreeSet<_> = left.iter().map(|finding| subject(&finding.problem)).collect();
        let mended = |finding: Finding| {
            let (kind, id, _) = subject(&finding.problem);
            // Files of a layer are flushed apart from what is beside it.
            let failed = kind != "file" && self.failed.contains(&id);
            let repaired = !failed && !still.contains(&subject(&finding.problem));
            let got = match &finding.problem {
                Problem::File { layer, path, .. } => {
                    self.files.get(&(layer.clone(), path.clone())).copied()
                }
                _ => None,
            };
            let got = got.filter(|_| repaired).unwrap_or_default();
            let said = match (repaired, kind) {
                (true, "records" | "orphan") => &self.how,
                (true, _) => &BTreeMap::new(),
                (false, _) => &self.why_not,
            };
            let reason = said.get(&id).cloned().unwrap_or_default();
            Mended { finding, repaired, reason, fetched: got.fetched, reused: got.reused }
        };
        let findings = before.into_iter().map(mended).collect();
        let Usage { bytes: fetched, requests } = self.usage;
        RepairReport { findings, fetched, requests, left }
    }
}

/// What a problem is about: two problems with one subject are one, perhaps seen otherwise.
fn subject(problem: &Problem) -> (&'static str, String, String) {
    let layer = problem.layer().map(|layer| layer.to_string()).unwrap_or_default();
    match problem {
        Problem::DamagedRecords { file, .. } => {
            ("records", file.display().to_string(), String::new())
        }
        Problem::File { path, .. } => ("file", layer, path.to_string()),
        Problem::MissingBigData { id, key } | Problem::DamagedBigData { id, key } => {
            ("data", id.clone(), key.clone())
        }
        Problem::WrongRecord { id, field } => ("record", id.clone(), (*field).to_owned()),
        Problem::Orphan { id } => ("orphan", id.clone(), String::new()),
        Problem::MissingLayer { image, .. } => ("image", layer, image.clone()),
        Problem::Changed { .. } | Problem::Unreadable { .. } => ("content", layer, String::new()),
        Problem::Incomplete { .. } => ("incomplete", layer, String::new()),
        Problem::MissingTree { .. } => ("tree", layer, String::new()),
        Problem::MissingParent { .. } | Problem::WrongLowers { .. } => {
            ("parents", layer, String::new())
        }
    }
}
