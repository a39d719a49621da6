//! What a scenario cannot do without.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use libtest_mimic::{Completion, Failed, Trial};
use testkit::fs_role::{self, Filesystem};

use crate::world;

/// A scenario on the filesystem `name`; ignored, with the reason, where something is missing.
pub(crate) fn on(
    name: &'static str,
    title: &str,
    scenario: impl FnOnce(&Filesystem) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(format!("{title}::{name}"), move || {
        let lacking = fs_role::missing(name).or_else(world::missing);
        match (lacking, fs_role::named(name)) {
            (None, Some(filesystem)) => scenario(&filesystem).map_err(|error| failed(&error))?,
            (reason, _) => return Ok(Completion::ignored_with(reason.unwrap_or_default())),
        }
        Ok(Completion::Completed)
    })
}

/// A scenario on the filesystem `name` with something on `other`.
pub(crate) fn on_two(
    name: &'static str,
    other: &'static str,
    title: &str,
    scenario: impl FnOnce(&Filesystem, &Filesystem) -> Result<()> + Send + 'static,
) -> Trial {
    let lacking = fs_role::missing(other);
    let title = format!("{title}::from_{other}_to");
    if lacking.is_some() {
        return Trial::ignorable_test(format!("{title}::{name}"), || {
            Ok(Completion::ignored_with(lacking.unwrap_or_default()))
        });
    }
    on(name, &title, move |filesystem| {
        let other = fs_role::named(other).context("it was there a moment ago")?;
        scenario(filesystem, &other)
    })
}

/// One scenario on each of the large filesystems.
pub(crate) fn on_each(title: &str, scenario: fn(&Filesystem) -> Result<()>) -> Vec<Trial> {
    fs_role::LARGE.into_iter().map(|name| on(name, title, scenario)).collect()
}

/// The whole chain of causes, one a line.
fn failed(error: &anyhow::Error) -> Failed {
    let mut text = String::new();
    for cause in error.chain() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{cause}");
    }
    text.into()
}
