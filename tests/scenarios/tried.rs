//! What a scenario has tried, for the table of `cargo xtask torture`.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context, Result};

/// Tells a person, and the table, that something was done so often. Told at the end: what
/// was not gone through does not count.
pub(crate) fn tried(filesystem: &str, count: u64, what: &str) -> Result<()> {
    eprintln!("{filesystem}: {count} {what}");
    let Some(file) = std::env::var_os("REFLAYER_TRIED") else { return Ok(()) };
    let mut file = File::options().append(true).open(file).context("open the file of counts")?;
    writeln!(file, "{count}\t{what}").context("write a count")
}
