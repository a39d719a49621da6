//! What a test has tried, for the table of `cargo xtask torture`.
#![expect(clippy::print_stderr, reason = "a person may want to know, too")]

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context, Result};

/// Tells a person, and the table, that something was done so often in some place. Told at
/// the end: what was not gone through does not count.
///
/// # Errors
///
/// If the file that `REFLAYER_TRIED` names can't be written.
pub fn tried(place: &str, count: u64, what: &str) -> Result<()> {
    eprintln!("{place}: {count} {what}");
    let Some(file) = std::env::var_os("REFLAYER_TRIED") else { return Ok(()) };
    let mut file = File::options().append(true).open(file).context("open the file of counts")?;
    writeln!(file, "{count}\t{what}").context("write a count")
}
