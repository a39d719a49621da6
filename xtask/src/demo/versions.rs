//! Trees for the demonstration: some of /usr, and the same after an imagined update.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// Where files are taken from, in this order.
const SOURCES: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];

/// Bytes to take in all, and from one file at most.
const BUDGET: u64 = 300_000_000;
const LARGEST: u64 = 64_000_000;

/// Of this many files the update changes one, drops one, and brings a new one.
const EVERY: usize = 60;

/// Makes `v1` and `v2` in `place`.
pub(super) fn make(place: &Path) -> Result<()> {
    let mut tree = Versions { v1: place.join("v1"), v2: place.join("v2"), bytes: 0, files: 0 };
    for source in SOURCES {
        let name = source.trim_start_matches('/');
        tree.copy_directory(Path::new(source), Path::new(name))?;
    }
    eprintln!("{} files, {} MB", tree.files, tree.bytes / 1_000_000);
    Ok(())
}

struct Versions {
    v1: std::path::PathBuf,
    v2: std::path::PathBuf,
    bytes: u64,
    files: usize,
}

impl Versions {
    fn copy_directory(&mut self, from: &Path, to: &Path) -> Result<()> {
        for version in [&self.v1, &self.v2] {
            let directory = version.join(to);
            fs::create_dir_all(&directory)
                .with_context(|| format!("create {}", directory.display()))?;
        }
        // What this user may not read is simply not part of the demonstration.
        let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        for name in names {
            if self.bytes >= BUDGET {
                break;
            }
            let (from, to) = (from.join(&name), to.join(&name));
            let Ok(metadata) = from.symlink_metadata() else { continue };
            if metadata.is_dir() {
                self.copy_directory(&from, &to)?;
            } else if metadata.is_symlink() {
                self.copy_link(&from, &to)?;
            } else if metadata.is_file() && metadata.size() <= LARGEST && File::open(&from).is_ok()
            {
                self.copy_file(&from, &to, metadata.size())?;
            }
        }
        Ok(())
    }

    fn copy_link(&self, from: &Path, to: &Path) -> Result<()> {
        let target = fs::read_link(from).with_context(|| format!("read {}", from.display()))?;
        for version in [&self.v1, &self.v2] {
            let link = version.join(to);
            symlink(&target, &link).with_context(|| format!("create {}", link.display()))?;
        }
        Ok(())
    }

    fn copy_file(&mut self, from: &Path, to: &Path, size: u64) -> Result<()> {
        let (old, new) = (self.v1.join(to), self.v2.join(to));
        copy(from, &old)?;
        self.bytes += size;
        self.files += 1;
        match self.files % EVERY {
            0 => {
                copy(&old, &new)?;
                make_writable(&new)?;
                append(&new, b"changed by the update\n")
            }
            1 => append(
                &new.with_extension("new"),
                format!("brought with {}\n", to.display()).as_bytes(),
            ),
            _ => fs::hard_link(&old, &new).with_context(|| format!("link {}", new.display())),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = fs::copy(from, to);
    content.with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    let modified = from.metadata()?.modified()?;
    let file = OpenOptions::new().read(true).open(to)?;
    file.set_modified(modified).with_context(|| format!("set time of {}", to.display()))
}

fn make_writable(path: &Path) -> Result<()> {
    let mut permissions = path.metadata()?.permissions();
    permissions.set_mode(permissions.mode() | 0o200);
    fs::set_permissions(path, permissions)
        .with_context(|| format!("set mode of {}", path.display()))
}

fn append(path: &Path, text: &[u8]) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("open {}", path.display()))?;
    file.write_all(text).with_context(|| format!("write {}", path.display()))
}
