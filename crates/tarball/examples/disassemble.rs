//! Writes the tar-split of the tar stream on standard input to standard output, to
//! be compared with that of other tools.

use std::io::{self, BufWriter, Write};

use tarball::{Limits, Parts, Sink, TarSplitWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut parts = Parts::new(io::stdin().lock(), Limits::default());
    let mut tar_split = TarSplitWriter::new(BufWriter::new(io::stdout().lock()));
    while let Some(part) = parts.next_part()? {
        tar_split.part(&part)?;
    }
    if let Some(name) = tar_split.duplicate_name() {
        return Err(format!("{} comes twice", name.escape_ascii()).into());
    }
    tar_split.finish()?.flush()?;
    Ok(())
}
