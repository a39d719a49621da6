//! What the crates that we stand on may be used under, and where they come from.
//!
//! `deny.toml` is the list, in the form of cargo-deny, which also knows of advisories. This
//! needs no more than cargo, so that nothing comes in unnoticed meanwhile.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xshell::cmd;

use crate::workspace;

const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn run() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("deny.toml")).context("deny.toml")?;
    let allowed = allowed(&text);
    ensure!(!allowed.is_empty(), "deny.toml allows nothing");
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

fn problem(package: &Value, allowed: &[String]) -> Option<String> {
    // Without a source it is one of ours.
    let source = package["source"].as_str()?;
    let (name, version) = (package["name"].as_str()?, &package["version"]);
    if source != INDEX {
        return Some(format!("{name} {version} comes from {source}"));
    }
    let licence = package["license"].as_str().unwrap_or_default();
    (!is_allowed(licence, allowed)).then(|| format!("{name} {version} is under {licence:?}"))
}

/// The quoted words of the list `allow`.
fn allowed(text: &str) -> Vec<String> {
    let list = text.lines().skip_while(|line| !line.starts_with("allow = ["));
    let list = list.take_while(|line| !line.starts_with(']'));
    list.filter_map(|line| line.trim().strip_prefix('"')?.split('"').next().map(Into::into))
        .collect()
}

/// Whether an SPDX expression can be met. `/` is an older `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'w> = std::iter::Peekable<std::str::SplitWhitespace<'w>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let met = any(words, allowed);
        return words.next() == Some(")") && met;
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
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
        let list = allowed(
            "[licenses]\nallow = [\n  \"MIT\", # note\n  \"A WITH x\",\n  \"ISC\",\n]\n\"no\"",
        );
        assert_eq!(list, ["MIT", "A WITH x", "ISC"]);
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("ISC AND (GPL-3.0 OR MIT)", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("A WITH x OR GPL-3.0", true),
            ("A", false),
            ("", false),
            ("MIT MIT", false),
            ("(MIT", false),
        ] {
            assert_eq!(is_allowed(expression, &list), met, "{expression}");
        }
    }
}
