//! An ordinary user of the Debian root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{PREPARE, SHARE, Sid};

/// The user's number, and that of its group; the files in its home belong to it.
pub const UID: u32 = 4321;
/// The first of the 65,536 ids that the user may give to others.
pub const FIRST_SUBORDINATE: u32 = 200_000;

/// A user with subordinate ids and a home, but no rights.
///
/// Its runtime directory (`/run/user/4321`) begins empty with every command, as after a boot.
#[derive(Debug)]
pub struct User {
    sid: Sid,
    home: PathBuf,
}

/// Users are named in files that only this mount namespace sees. With the process namespace
/// all that the user leaves running ends, such as podman's process that keeps a namespace.
const ADD_USER: &str = r#"
home=$1; shift
mkdir "$root/run/etc" "$root/run/old"
chmod 1777 "$root/tmp" "$root/var/tmp"
for file in passwd group subuid subgid; do cp "$root/etc/$file" "$root/run/etc/$file"; done
echo "ada:x:4321:4321::$home:/bin/sh" >>"$root/run/etc/passwd"
echo "ada:x:4321:" >>"$root/run/etc/group"
echo "ada:200000:65536" | tee -a "$root/run/etc/subuid" >>"$root/run/etc/subgid"
for file in passwd group subuid subgid; do mount --bind "$root/run/etc/$file" "$root/etc/$file"; done
install -d -o 4321 -g 4321 -m 700 "$root/run/user/4321"
"#;

/// The root becomes `/` by `pivot_root`: below `chroot` the kernel makes no user namespaces.
const ENTER: &str = r#"
cd "$root"
pivot_root . run/old
umount -l /run/old
cd "$home"
exec setpriv --reuid 4321 --regid 4321 --clear-groups "$@"
"#;

impl User {
    /// A user with its home at `home`, which is made, and lets podman pull anything.
    ///
    /// `home` must be below one of the places that [`Sid::command`] names.
    ///
    /// # Errors
    ///
    /// If the home cannot be made.
    pub fn new(sid: &Sid, home: &Path) -> Result<Self> {
        let containers = home.join(".config/containers");
        fs::create_dir_all(&containers).context("make a home")?;
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(containers.join("policy.json"), policy).context("write policy.json")?;
        let storage = "[storage]\ndriver = \"overlay\"\n\
                       [storage.options.pull_options]\nenable_partial_images = \"true\"\n";
        fs::write(containers.join("storage.conf"), storage).context("write storage.conf")?;
        for path in [home, &home.join(".config"), &containers] {
            chown(path, Some(UID), Some(UID)).context("give the home to its user")?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .context("open the home")?;
        }
        Ok(Self { sid: sid.clone(), home: home.to_owned() })
    }

    /// The same user, with its home, among the tools of another root.
    #[must_use]
    pub fn among(&self, sid: &Sid) -> Self {
        Self { sid: sid.clone(), home: self.home.clone() }
    }

    /// Where podman has the user's store.
    pub fn graph_root(&self) -> PathBuf {
        self.home.join(".local/share/containers/storage")
    }

    /// A shell script run by the user, who sees the directories `shared` besides its home.
    pub fn shell(&self, shared: &[&Path], script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-m", "--pid", "--fork", "--kill-child", "--propagation", "slave"]);
        let enter = [PREPARE, ADD_USER, SHARE, ENTER].concat();
        command.args(["sh", "-euc", &enter, "enter"]);
        command.arg(&self.sid.root).arg(&self.home).arg(&self.home).args(shared);
        command.args(["--", "sh", "-euc", script]);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", &self.home).env("USER", "ada");
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{UID}"));
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command
    }
}
