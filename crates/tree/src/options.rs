//! What the writer may do, and what it had to leave out.

/// What this process may do to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Privileges {
    /// Root of the machine: owners, devices, all extended attributes.
    Root,
    /// Root of a user namespace: owners as far as they are mapped, no devices.
    UserNamespace,
    /// Nobody in particular: every file belongs to this process, no devices.
    Unprivileged,
}

impl Privileges {
    /// Those that this process has: by its user, and by whether that is a user of
    /// the machine or of a namespace.
    ///
    /// A root whose capabilities were taken away counts as root, and what it can't
    /// do is then an error.
    pub fn of_process() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Unprivileged;
        }
        match std::fs::read_to_string("/proc/self/uid_map") {
            Ok(map) if !maps_every_user(&map) => Self::UserNamespace,
            // A kernel without user namespaces has no such file.
            _ => Self::Root,
        }
    }
}

/// Whether this is the map of the machine's own users: all of them, as they are.
fn maps_every_user(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// How a tree is written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TreeOptions {
    /// What the writer may do.
    pub privileges: Privileges,
}

impl TreeOptions {
    /// With these privileges, and nothing else out of the ordinary.
    pub fn new(privileges: Privileges) -> Self {
        Self { privileges }
    }
}

/// What a finished [`TreeWriter`](crate::TreeWriter) met and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeReport {
    /// Whether an entry (`./`) described the root itself. If none did, its mode,
    /// owner and times are those that it had before.
    pub root_entry: bool,
    /// Devices that need more privileges, and hard links to them.
    pub skipped_devices: u64,
    /// Extended attributes that belong to the store or the host, and those that need more privileges.
    pub dropped_xattrs: u64,
    /// Bookkeeping of AUFS (`.wh..wh.plnk` and the like), which is no part of the tree.
    pub skipped_markers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_map_of_all_users_is_the_machines_own() {
        assert!(maps_every_user("         0          0 4294967295\n"));
        assert!(!maps_every_user("         0       1000          1\n"));
        assert!(!maps_every_user("0 1000 1\n1 100000 65536\n"));
        assert!(!maps_every_user("0 100000 4294967295\n"));
        assert!(!maps_every_user(""));
    }
}
