//! Programs of others, out of a Debian sid root: podman and skopeo.
//!
//! The root is made by `cargo xtask peers`. Each run has a mount namespace of
//! its own, in which `/proc`, `/sys`, `/dev` and the given directories are
//! mounted into the root; when it ends, so do the mounts.

mod podman;
mod skopeo;
pub mod user;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use podman::Podman;
pub use skopeo::Compression;

/// Where `cargo xtask peers` puts things.
pub const PEERS_VARIABLE: &str = "REFLAYER_PEERS";
const DEFAULT: &str = "/var/cache/reflayer-peers";

/// The directory of the peers and of the images that they made.
pub fn peers_dir() -> PathBuf {
    std::env::var_os(PEERS_VARIABLE).map_or_else(|| DEFAULT.into(), PathBuf::from)
}

/// A Debian root with the peers in it.
#[derive(Debug, Clone)]
pub struct Sid {
    root: PathBuf,
}

/// The first step into the root, which is the first argument.
///
/// What lies in it at run, tmp and the like is covered: nothing is left there, and
/// nothing that one run leaves (podman's locks, say) reaches another.
const PREPARE: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup" 2>/dev/null || true
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
for place in run tmp var/tmp var/cache mnt; do mount -t tmpfs tmpfs "$root/$place"; done
"#;

/// Each directory given before `--` appears at the same path inside.
const SHARE: &str = r#"
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --rbind "$1" "$root$1"
    shift
done
shift
"#;

/// The root's own home is covered, too.
const COVER_HOME: &str = "mount -t tmpfs tmpfs \"$root/root\"\n";

const ENTER: &str = "exec chroot \"$root\" \"$@\"\n";

impl Sid {
    /// Takes the root at `root`.
    ///
    /// # Errors
    ///
    /// If it is not there, or not whole.
    pub fn open(root: &Path) -> Result<Self> {
        ensure!(root.join(Self::READY).exists(), "no peers at {}", root.display());
        Ok(Self { root: root.to_owned() })
    }

    /// The file that says that a root is whole.
    pub const READY: &'static str = ".ready";

    /// Takes the root that `cargo xtask peers` made.
    ///
    /// # Errors
    ///
    /// If it was not made yet.
    pub fn find() -> Result<Self> {
        Self::open(&peers_dir().join("sid")).context("run `cargo xtask peers` first")
    }

    /// Releases whose podmans are 4.3 and 5.4; their roots are made if `REFLAYER_OLD_PODMANS`
    /// is set.
    pub const OLDER: [&'static str; 2] = ["bookworm", "trixie"];

    /// Takes the root of an older release, if it was made.
    pub fn find_older(release: &str) -> Option<Self> {
        Self::open(&peers_dir().join(release)).ok()
    }

    /// Whether ordinary users can give ids to their containers there.
    pub fn has_users(&self) -> bool {
        self.root.join("usr/bin/newuidmap").exists()
    }

    /// A command inside the root that sees the directories `shared` at their own paths.
    ///
    /// They must be below `/tmp`, `/var/tmp`, `/var/cache`, `/mnt` or `/root`.
    pub fn command(&self, shared: &[&Path], program: &str) -> Command {
        let mut command = Command::new("unshare");
        let enter = [PREPARE, COVER_HOME, SHARE, ENTER].concat();
        command.args(["-m", "--propagation", "slave", "sh", "-euc", &enter, "enter"]);
        command.arg(&self.root).args(shared).arg("--").arg(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", "/root");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}
