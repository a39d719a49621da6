//! Which bytes of files share their place on the disk, as `filefrag` tells.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::judge;

/// A run of bytes of a file, and where it is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset on the device.
    pub place: u64,
    /// Length.
    pub length: u64,
    /// The filesystem says that others share it.
    pub shared: bool,
}

/// The extents of a file.
///
/// # Errors
///
/// If `filefrag` fails, or says what is not understood.
pub fn of(file: &Path) -> Result<Vec<Extent>> {
    let text = judge::output(Command::new("filefrag").args(["-s", "-v", "-b1"]).arg(file))?;
    text.lines().filter_map(line).collect()
}

/// The extents of many files, all together, each file's in order.
///
/// # Errors
///
/// As [`of`].
pub fn of_all(files: &[PathBuf]) -> Result<Vec<Extent>> {
    let mut found = Vec::new();
    // So many names fit on a command line.
    for files in files.chunks(500) {
        let text = judge::output(Command::new("filefrag").args(["-s", "-v", "-b1"]).args(files))?;
        let extents: Result<Vec<Extent>> = text.lines().filter_map(line).collect();
        found.extend(extents?);
    }
    Ok(found)
}

/// How many bytes of two files lie at the same place of the device.
///
/// # Errors
///
/// As [`of`].
pub fn common(a: &Path, b: &Path) -> Result<u64> {
    let (a, b) = (of(a)?, of(b)?);
    let overlap = |x: &Extent, y: &Extent| {
        let end = (x.place + x.length).min(y.place + y.length);
        end.saturating_sub(x.place.max(y.place))
    };
    Ok(a.iter().flat_map(|x| b.iter().map(move |y| overlap(x, y))).sum())
}

/// `  0:        0..    4095:  131072..  135167:   4096:             last,shared,eof`
fn line(text: &str) -> Option<Result<Extent>> {
    let fields: Vec<&str> = text.split(':').map(str::trim).collect();
    let &[number, _, physical, length, ..] = fields.as_slice() else { return None };
    number.parse::<u32>().ok()?;
    let extent = || -> Result<Extent> {
        let (first, _) = physical.split_once("..").context("no range")?;
        Ok(Extent {
            place: first.trim().parse()?,
            length: length.parse()?,
            shared: text.contains("shared"),
        })
    };
    Some(extent().with_context(|| format!("not a line of filefrag: {text}")))
}

#[cfg(test)]
mod tests {
    use super::{Extent, line};

    #[test]
    fn a_line_is_an_extent() {
        let text =
            "   1:     4096..    8191:  135168..  139263:   4096:     131072: last,shared,eof";
        let extent = line(text).expect("a line of an extent").expect("understood");
        assert_eq!(extent, Extent { place: 135_168, length: 4096, shared: true });
        assert!(line(" ext:     logical_offset:        physical_offset: length:").is_none());
        assert!(line("File size of x is 4096 (4096 blocks of 1 byte)").is_none());
    }
}
