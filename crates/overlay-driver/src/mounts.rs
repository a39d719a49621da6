//! Which layers the mounts of this machine show.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, Stat, openat2};
use storage_core::{FsError, FsResultExt, LayerId};

use crate::driver::Driver;
use crate::layout;
use crate::mount::table::{self, Mount};

const MOUNT_INFO: &str = "/proc/self/mountinfo";

/// Identity of a directory, whatever its path: device and inode.
type Identity = (u64, u64);

impl Driver {
    /// The layers of this store that are part of a mount, each with the mount points.
    ///
    /// A layer is part of a mount if it is one of an overlay's lower or upper
    /// layers, or if something is mounted inside its directory; then all the
    /// layers below it count as well. Mounts of another mount namespace are not
    /// seen: see [`Driver::layers_mounted_anywhere`].
    ///
    /// # Errors
    ///
    /// If the kernel's table of mounts cannot be read.
    pub fn mounts_using(&self) -> Result<BTreeMap<LayerId, Vec<PathBuf>>, FsError> {
        let table = read_table(MOUNT_INFO)?;
        let mut finder = Finder::new(self, None)?;
        let mut using: BTreeMap<LayerId, Vec<PathBuf>> = BTreeMap::new();
        for mount in table::parse(&table) {
            for id in finder.layers_of(&mount) {
                using.entry(id).or_default().push(mount.point.clone());
            }
        }
        Ok(using)
    }

    /// The layers of this store that are part of a mount in any mount namespace of which
    /// `/proc` shows a process.
    ///
    /// This looks at every process of the machine. One that cannot be looked at, as in
    /// another process namespace, shows nothing.
    ///
    /// # Errors
    ///
    /// If our own table of mounts cannot be read, or the processes not be listed.
    pub fn layers_mounted_anywhere(&self) -> Result<BTreeSet<LayerId>, FsError> {
        let mut layers: BTreeSet<_> = self.mounts_using()?.into_keys().collect();
        for view in views_of_all()? {
            let mut finder = Finder::new(self, view.root.as_ref())?;
            for mount in table::parse(&view.table) {
                layers.extend(finder.layers_of(&mount));
            }
        }
        Ok(layers)
    }

    /// The layers of this store that are mounted at their own places, as other tools mount
    /// them, each with that place, in the mount namespace of this process.
    ///
    /// # Errors
    ///
    /// If the kernel's table of mounts cannot be read.
    pub fn mounted_at_home(&self) -> Result<BTreeMap<LayerId, PathBuf>, FsError> {
        let table = read_table(MOUNT_INFO)?;
        let mut finder = Finder::new(self, None)?;
        let mounts = table::parse(&table).filter(|mount| mount.point.ends_with(layout::MERGED));
        let mut found = BTreeMap::new();
        for mount in mounts {
            let layer = mount.point.parent().and_then(Path::file_name);
            if let Some(id) = finder.layer_at(&mount.point)
                && layer.is_some_and(|layer| layer == id.as_str())
            {
                found.insert(id, mount.point);
            }
        }
        Ok(found)
    }

    fn identity(&self) -> Result<Identity, FsError> {
        let stat = rustix::fs::fstat(&self.home.dir).during("look at", layout::HOME)?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// Those of some absolute paths at which any process of this machine sees a mount.
///
/// For mounts of other mount namespaces. A process below another root directory sees
/// shorter paths, and one above it longer ones: a mount point counts if it ends with the
/// path. Processes that cannot be looked at, as in another process namespace, see nothing.
///
/// # Errors
///
/// If the processes cannot be listed.
pub fn mounted_anywhere(paths: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, FsError> {
    let mut found = BTreeSet::new();
    for view in views_of_all()? {
        for mount in table::parse(&view.table) {
            let is_it =
                |path: &&PathBuf| mount.point.ends_with(path.strip_prefix("/").unwrap_or(path));
            found.extend(paths.iter().filter(is_it).cloned());
        }
    }
    Ok(found)
}

fn read_table(path: &str) -> Result<Vec<u8>, FsError> {
    let mut table = Vec::new();
    open(path, OFlags::RDONLY)?.read_to_end(&mut table).during("read", path)?;
    Ok(table)
}

fn open(path: &str, flags: OFlags) -> Result<File, FsError> {
    let file = rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    Ok(file.during("open", path)?.into())
}

/// The mounts that a process sees.
struct View {
    /// Where the paths of its table start, if we may know.
    root: Option<OwnedFd>,
    table: Vec<u8>,
}

impl View {
    fn of(process: &str) -> Result<Self, FsError> {
        let root = format!("/proc/{process}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(CWD, &root, flags, Mode::empty()) {
            Err(errno) => {
                Err(FsError::new("open", &root, errno)).or_else(unless_for_want_of_room)?
            }
            Ok(root) => Some(root),
        };
        Ok(Self { root, table: read_table(&format!("/proc/{process}/mountinfo"))? })
    }
}

/// Nothing, where something else than this process is the reason.
fn unless_for_want_of_room<T>(error: FsError) -> Result<Option<T>, FsError> {
    if error.is_for_want_of_room() { Err(error) } else { Ok(None) }
}

/// What all processes see, that of each mount namespace once: or more than once, if some
/// of its processes are below another root directory and so see less.
fn views_of_all() -> Result<Vec<View>, FsError> {
    let directory = open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut seen = BTreeSet::new();
    let mut views: Vec<View> = Vec::new();
    for entry in Dir::new(directory).during("list", "/proc")? {
        let name = entry.during("list", "/proc")?.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // Those of somebody else do not tell; their tables may be read all the same.
        let link = |what| rustix::fs::readlinkat(CWD, format!("/proc/{name}/{what}"), Vec::new());
        let place = link("ns/mnt").and_then(|namespace| Ok((namespace, link("root")?))).ok();
        if place.as_ref().is_some_and(|place| seen.contains(place)) {
            continue;
        }
        // What fails here is a process that has ended: another may show its namespace.
        let view = View::of(&name).map(Some).or_else(unless_for_want_of_room)?;
        let Some(view) = view else { continue };
        if place.is_none() && views.iter().any(|other| other.table == view.table) {
            continue;
        }
        seen.extend(place);
        views.push(view);
    }
    Ok(views)
}

/// Tells which paths lie in a layer of this store.
struct Finder<'a> {
    driver: &'a Driver,
    identity: Identity,
    /// The root directory of another process, at which the paths may start as well.
    root: Option<&'a OwnedFd>,
    /// Directories that hold something called like a layer, and whether they are ours.
    known: HashMap<PathBuf, bool>,
}

impl<'a> Finder<'a> {
    fn new(driver: &'a Driver, root: Option<&'a OwnedFd>) -> Result<Self, FsError> {
        Ok(Self { driver, identity: driver.identity()?, root, known: HashMap::new() })
    }

    fn layers_of(&mut self, mount: &Mount) -> BTreeSet<LayerId> {
        let mut layers: BTreeSet<_> =
            mount.layer_paths.iter().filter_map(|path| self.layer_at(path)).collect();
        if let Some(mounted) = self.layer_at(&mount.point) {
            // The options may name the lower layers in ways that mean nothing to us
            // (by descriptors of the mounting process), but the layer's directory knows them.
            layers.extend(self.driver.lowers(&mounted).unwrap_or_default());
            layers.insert(mounted);
        }
        layers
    }

    /// The layer of this store whose directory holds `path`.
    fn layer_at(&mut self, path: &Path) -> Option<LayerId> {
        if let Some(id) = self.layer_of_short_link(path) {
            return Some(id);
        }
        let parts: Vec<_> = path.components().collect();
        (0..parts.len()).find_map(|at| {
            let Component::Normal(name) = parts[at] else { return None };
            let id: LayerId = name.to_str()?.parse().ok()?;
            // Only something inside is a use: a mount point *is* never a layer's directory.
            let part = parts.get(at + 1)?.as_os_str().to_str()?;
            let inside = layout::is_mountable_part(part);
            (inside && self.is_home(parts[..at].iter().collect())).then_some(id)
        })
    }

    /// Mounts with many layers name them relative to `overlay/`. Such a name is
    /// random enough to be in no other store.
    fn layer_of_short_link(&self, path: &Path) -> Option<LayerId> {
        let mut parts = path.components().rev();
        let link = parts.next()?.as_os_str().to_str()?;
        let dir = parts.next()?.as_os_str().to_str()?;
        let link = layout::link_of_lower_item(&format!("{dir}/{link}"))?;
        let target = self.driver.home.links.read_link(link.as_str()).ok()??;
        layout::layer_of_link_target(&target)
    }

    fn is_home(&mut self, dir: PathBuf) -> bool {
        let (own, root) = (self.identity, self.root);
        *self.known.entry(dir).or_insert_with_key(|dir| {
            let is_own = |stat: Stat| (stat.st_dev, stat.st_ino) == own;
            // An overlay's options have the paths of who mounted it, which need not be
            // those of the process whose table it is.
            rustix::fs::stat(dir).is_ok_and(is_own)
                || root.is_some_and(|root| stat_below(root, dir).is_ok_and(is_own))
        })
    }
}

/// Looks at a path as a process whose root directory is `root` does.
fn stat_below(root: &OwnedFd, path: &Path) -> rustix::io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::fstat(openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
}

/// A path made of raw bytes.
pub(crate) fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// The path by which this process knows an open directory.
pub(crate) fn path_of_fd(fd: impl AsFd) -> Result<PathBuf, FsError> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, &link, Vec::new()).during("read link", &link)?;
    Ok(path_of(path.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_the_end_of_their_paths() {
        let paths = ["/proc", "/nowhere/overlay/merged", "/"].map(PathBuf::from);
        let found = mounted_anywhere(&BTreeSet::from(paths)).unwrap();
        assert!(found.contains(Path::new("/proc")));
        assert!(!found.contains(Path::new("/nowhere/overlay/merged")));
    }
}
