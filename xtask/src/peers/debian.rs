//! Debian roots: made by debootstrap, filled by their own apt.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::judge;
use xshell::{Shell, cmd};

use super::archives::Archives;

/// Runs in a mount namespace of its own, so that nothing stays mounted.
///
/// Where a lower and an upper directory are given, their overlay is mounted on the root first.
const ENTER: &str = r#"
root=$1; lower=$2; upper=$3; shift 3
if [ -n "$lower" ]; then
    mkdir -p "$upper.work" "$root"
    options="lowerdir=$lower,upperdir=$upper,workdir=$upper.work"
    mount -t overlay overlay -o "$options,redirect_dir=off,metacopy=off,index=off" "$root"
else
    mount --bind "$root" "$root"
fi
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
# The root knows no name server of its own; it borrows this machine's.
[ ! -f "$root/etc/resolv.conf" ] || mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
exec chroot "$root" "$@"
"#;

/// A root to run Debian's tools in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root<'a> {
    /// Where it is.
    pub(super) place: &'a Path,
    /// For a root that shows one tree with the changes that another keeps: the two.
    pub(super) overlay: Option<(&'a Path, &'a Path)>,
}

/// Makes a minimal Debian root at `place`.
pub(super) fn bootstrap(sh: &Shell, release: &str, place: &Path) -> Result<()> {
    let archives = Archives::of_host();
    let mirror = archives.mirror();
    let command = cmd!(
        sh,
        "debootstrap --variant=minbase --include=ca-certificates {release} {place} {mirror...}"
    );
    command.quiet().ignore_stdout().run().with_context(|| format!("bootstrap {release}"))
}

impl Root<'_> {
    /// Runs a command in the root.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-euc", ENTER, "enter"]);
        command.arg(self.place);
        match self.overlay {
            Some((lower, upper)) => command.arg(lower).arg(upper),
            None => command.args(["", ""]),
        };
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        judge::run(&mut command)
    }

    /// Runs `apt-get` in the root, with this machine's way to reach archives.
    pub(super) fn apt_get(&self, sh: &Shell, arguments: &[&str]) -> Result<()> {
        let options = host_options(sh);
        let mut all = vec!["apt-get", "-q", "-y", "--no-install-recommends"];
        all.extend(["-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3"]);
        // Else an update that reached nothing is called a success.
        all.extend(["-o", "APT::Update::Error-Mode=any"]);
        for option in &options {
            all.extend(["-o", option]);
        }
        all.extend(arguments);
        self.run(&all)
    }

    /// Removes what apt and dpkg leave behind that says when they ran.
    pub(super) fn clean(&self) -> Result<()> {
        self.run(&[
            "sh",
            "-c",
            "apt-get clean; rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/* \
             /var/log/*.log /var/log/apt/*",
        ])
    }
}

/// Proxies and the like.
fn host_options(sh: &Shell) -> Vec<String> {
    const KINDS: [&str; 4] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Check-Valid-Until=",
        "Acquire::Check-Date=",
    ];
    let format = "%f=%v%n";
    let dump = cmd!(sh, "apt-config dump --format {format}").quiet().ignore_stderr().read();
    let dump = dump.unwrap_or_default();
    let wanted = |line: &&str| KINDS.iter().any(|kind| line.starts_with(kind));
    dump.lines().filter(wanted).map(str::to_owned).collect()
}
