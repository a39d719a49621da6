//! What the crates that we stand on may be used under, and where they come from.
//!
//! `deny.toml` is the list, in the form of cargo-deny, which also knows of advisories. This
//! needs no more than cargo, so that nothing comes in unnoticed meanwhile.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use xshell::cmd;

use crate::workspace;

const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn run() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("deny.toml")).context("deny.toml")?;
    let allowed = allowed(&text)?;
    let sh = workspace::shell()?;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --locked").quiet().read()?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let wrong: Vec<String> =
        packages.iter().filter_map(|package| problem(package, &allowed)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

fn problem(package: &Value, allowed: &[Licensee]) -> Option<String> {
    // Without a source it is one of ours.
    let source = package["source"].as_str()?;
    let (name, version) = (package["name"].as_str()?, &package["version"]);
    if source != INDEX {
        return Some(format!("{name} {version} comes from {source}"));
    }
    let licence = package["license"].as_str().unwrap_or_default();
    (!is_allowed(licence, allowed)).then(|| format!("{name} {version} is under {licence:?}"))
}

/// The licences that deny.toml allows.
fn allowed(text: &str) -> Result<Vec<Licensee>> {
    let deny: toml::Value = toml::from_str(text).context("parse deny.toml")?;
    let list = deny["licenses"]["allow"].as_array().context("deny.toml allows nothing")?;
    let one = |name: &toml::Value| {
        let name = name.as_str().context("a licence that is no text")?;
        Licensee::parse(name).with_context(|| format!("the licence {name}"))
    };
    list.iter().map(one).collect()
}

/// Whether an SPDX expression can be met. Old crates write `/` for `OR`.
fn is_allowed(expression: &str, allowed: &[Licensee]) -> bool {
    Expression::parse_mode(expression, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|licence| allowed.iter().any(|allowed| allowed.satisfies(licence)))
    })
}

#[cfg(test)]
mod tests {
    use super::{allowed, is_allowed, run};

    #[test]
    fn what_we_stand_on_is_allowed() {
        run().unwrap();
    }

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        let list = "[licenses]\nallow = ['MIT', 'Apache-2.0 WITH LLVM-exception', 'ISC']";
        let list = allowed(list).unwrap();
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("ISC AND (GPL-3.0 OR MIT)", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("Apache-2.0", false),
            ("", false),
            ("MIT MIT", false),
            ("(MIT", false),
        ] {
            assert_eq!(is_allowed(expression, &list), met, "{expression}");
        }
    }
}
