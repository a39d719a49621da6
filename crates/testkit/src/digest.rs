//! SHA-256 of what the tests hand around.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Of some bytes, as 64 hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Of a file, as 64 hex digits.
///
/// # Errors
///
/// If it cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut copy = || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                length => hasher.update(&buffer[..length]),
            }
        }
    };
    let copied: std::io::Result<()> = copy();
    copied.with_context(|| format!("hash {}", path.display()))?;
    Ok(hex::encode(hasher.finalize()))
}
