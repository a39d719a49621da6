//! Extended attributes of a path, which is not followed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::io::Errno;

/// 64 KiB is the kernel's own limit for a list of names and for a value.
const MAX: usize = 1 << 16;

/// The value of one attribute, if it is set.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; MAX];
    match rustix::fs::lgetxattr(path, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("xattr {name} of {}", path.display())),
    }
}

/// All attributes.
///
/// # Errors
///
/// If they cannot be read.
pub fn all(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut list = vec![0_u8; MAX];
    let length = rustix::fs::llistxattr(path, &mut list[..])
        .with_context(|| format!("xattrs of {}", path.display()))?;
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found = BTreeMap::new();
    for name in names {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = get(path, &name)?.unwrap_or_default();
        found.insert(name, value);
    }
    Ok(found)
}
