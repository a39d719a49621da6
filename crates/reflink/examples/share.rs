//! Copies a file, sharing its extents if the filesystem can:
//! `cargo run --example share -- FROM TO`.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::fs::File;
use std::io;

use reflink::{Outcome, reflink_or_copy, shared_bytes};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: share FROM TO"));
    };
    let from = File::open(from)?;
    let to = File::create_new(to)?;
    match reflink_or_copy(&from, &to)? {
        Outcome::Reflinked => println!("shared {} bytes", shared_bytes(&to)?),
        Outcome::Copied { bytes, refusal } => println!("copied {bytes} bytes: {refusal}"),
    }
    Ok(())
}
