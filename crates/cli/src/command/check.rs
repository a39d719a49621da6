//! `check`

use reflayer::{CheckLevel, Store};

use crate::{exit, report};

pub(crate) fn run(store: &Store, quick: bool, json: bool) -> anyhow::Result<u8> {
    let level = if quick { CheckLevel::Records } else { CheckLevel::Content };
    let findings = store.check(level)?;
    if json {
        report::json(&findings)?;
    } else {
        for finding in &findings {
            println!("{}", finding.problem);
            if !finding.images.is_empty() {
                println!("    harms {}", finding.images.join(", "));
            }
        }
        match findings.len() {
            0 => println!("nothing found"),
            count => println!("{count} found"),
        }
    }
    Ok(if findings.is_empty() { exit::SUCCESS } else { exit::FINDINGS })
}
