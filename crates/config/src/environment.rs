//! The part of a process's surroundings that configuration depends on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// Variables, user and root directory that configuration is read with.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    uid: u32,
    root: PathBuf,
}

impl Environment {
    /// That of this process.
    ///
    /// All variables are taken, since a path in a file may name any of them; one that
    /// is no UTF-8 counts as not set. In a user namespace that podman has made the
    /// user is the one who made it, whose files and stores are meant.
    pub fn of_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables: BTreeMap<_, _> = std::env::vars_os().filter_map(text).collect();
        let of_namespace =
            variables.get("_CONTAINERS_ROOTLESS_UID").and_then(|uid| uid.parse().ok());
        let uid = of_namespace.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        Self { variables, uid, root: "/".into() }
    }

    /// One that knows a home directory and a user, and finds no system files.
    pub fn for_tests(home: &str, uid: u32) -> Self {
        let variables = BTreeMap::from([("HOME".to_owned(), home.to_owned())]);
        Self { variables, uid, root: "/nonexistent".into() }
    }

    /// The same with one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The same with the system's files looked up below `root`.
    #[must_use]
    pub fn with_system_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Where large temporary files go, as for podman: `TMPDIR`, or else a directory that
    /// is on a disk.
    pub fn temporary_dir(&self) -> PathBuf {
        self.path("TMPDIR").unwrap_or_else(|| "/var/tmp".into())
    }

    /// The user's shell: `SHELL`, or else the one that every system has.
    pub fn shell(&self) -> PathBuf {
        self.path("SHELL").unwrap_or_else(|| "/bin/sh".into())
    }

    /// A variable that is set, be it to nothing.
    pub(crate) fn get_even_empty(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The user whose configuration and stores these are.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A file of the system, such as `etc/containers/storage.conf`.
    pub(crate) fn system(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where the user's own configuration lives.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        self.path("XDG_CONFIG_HOME").or_else(|| Some(self.path("HOME")?.join(".config")))
    }

    /// Where the user's own data lives.
    pub(crate) fn data_home(&self) -> Option<PathBuf> {
        self.path("XDG_DATA_HOME").or_else(|| Some(self.path("HOME")?.join(".local/share")))
    }

    /// Where some tools look for the user's configuration, whatever `XDG_CONFIG_HOME` says.
    pub(crate) fn home_config(&self) -> Option<PathBuf> {
        Some(self.path("HOME")?.join(".config"))
    }

    /// Where the user's caches live.
    pub(crate) fn cache_home(&self) -> Option<PathBuf> {
        self.path("XDG_CACHE_HOME").or_else(|| Some(self.path("HOME")?.join(".cache")))
    }

    /// Where the user's state lives until logout, as the session says.
    pub(crate) fn runtime_dir(&self) -> Option<PathBuf> {
        self.path("XDG_RUNTIME_DIR")
    }

    /// The runtime directory that a session would have made, if it is there and the
    /// user's alone.
    pub(crate) fn runtime_dir_of_system(&self) -> Option<PathBuf> {
        let path = self.system(&format!("run/user/{}", self.uid));
        let stat = rustix::fs::stat(&path).ok()?;
        let private = Mode::from_raw_mode(stat.st_mode) == Mode::RWXU;
        (stat.st_uid == self.uid && private).then_some(path)
    }

    /// Replaces `$NAME` and `${NAME}` by the variables known here; `$UID` is the user.
    pub(crate) fn expand(&self, text: &str) -> PathBuf {
        let mut out = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let (name, after) = variable_name(&rest[dollar + 1..]);
            match name {
                "" => out.push('$'),
                "UID" => out.push_str(&self.uid.to_string()),
                name => out.push_str(self.get(name).unwrap_or_default()),
            }
            rest = after;
        }
        out.push_str(rest);
        Path::new(&out).to_owned()
    }
}

/// Splits the name of a variable from what follows it.
fn variable_name(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('{')
        && let Some(end) = inner.find('}')
    {
        return (&inner[..end], &inner[end + 1..]);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let environment = Environment::for_tests("/home/ada", 7);
        for (text, expected) in [
            ("/a/b", "/a/b"),
            ("$HOME/x", "/home/ada/x"),
            ("${HOME}x/$UID", "/home/adax/7"),
            ("/$NOTHING/y$", "//y$"),
        ] {
            assert_eq!(environment.expand(text).to_str(), Some(expected));
        }
    }

    #[test]
    fn large_temporary_files_go_where_the_user_says_or_to_a_disk() {
        let environment = Environment::for_tests("/home/ada", 7);
        assert_eq!(environment.temporary_dir(), Path::new("/var/tmp"));
        assert_eq!(environment.with("TMPDIR", "/scratch").temporary_dir(), Path::new("/scratch"));
    }
}
