//! The store: its places, and how it is opened.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use overlay_driver::Driver;
use rustix::fs::{Mode, OFlags, chmod, mkdir, open};
use rustix::io::Errno;
use storage_core::{ContainerStore, ImageStore, LayerStore, MountStore, RecordError};
use storage_core::{FsError, FsResultExt as _};
use tree::Privileges;

use crate::sources::AdditionalStore;

/// A store of layers and images in the layout of containers/storage.
///
/// Opening is cheap and changes nothing but missing directories. No lock is
/// held between calls; every method takes those that it needs, in the order
/// storage, layers, images, containers.
#[derive(Debug)]
pub struct Store {
    pub(crate) run_root: OwnedFd,
    pub(crate) root_path: PathBuf,
    pub(crate) driver: Driver,
    pub(crate) layers: LayerStore,
    pub(crate) images: ImageStore,
    pub(crate) containers: ContainerStore,
    pub(crate) mounts: MountStore,
    pub(crate) privileges: Privileges,
    pub(crate) additional: Vec<AdditionalStore>,
}

/// What else there is to a store than its two directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Roots of other stores, which are read in place and never changed, and may lie on
    /// read-only filesystems. Their images are listed and mounted like the store's own,
    /// and a layer that they have is not pulled. One that cannot be read is left out,
    /// with a warning.
    pub additional: Vec<PathBuf>,
    /// Root of another directory in which images and their layers live; containers, and
    /// what is kept beside the records of layers, stay in the store's own. It is made if
    /// it is missing, like the store's own.
    pub image_store: Option<PathBuf>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A directory of the store could not be made or opened.
    #[error("open the store")]
    Fs(#[from] FsError),
    /// The records could not be reached.
    #[error("open the records of the store")]
    Record(#[from] RecordError),
}

impl Store {
    /// Opens the store at `root`, with state that a reboot clears at `run_root`.
    ///
    /// Both are made if they are missing, with mode 0700.
    ///
    /// # Errors
    ///
    /// If a directory cannot be made or opened.
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = reflayer::Store::open(&dir.path().join("root"), &dir.path().join("run"))?;
    /// assert!(store.images()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(root: &Path, run_root: &Path) -> Result<Self, OpenError> {
        Self::open_with(root, run_root, &StoreOptions::default())
    }

    /// Like [`Store::open`], with additional stores.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let mut options = reflayer::StoreOptions::default();
    /// options.additional.push("/usr/lib/containers/storage".into());
    /// let (root, run_root) = (dir.path().join("root"), dir.path().join("run"));
    /// let store = reflayer::Store::open_with(&root, &run_root, &options)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_with(
        root: &Path,
        run_root: &Path,
        options: &StoreOptions,
    ) -> Result<Self, OpenError> {
        let (root_path, root) = open_directory(root)?;
        let (_, run_root) = open_directory(run_root)?;
        let image_store = options.image_store.as_deref().map(open_directory).transpose()?;
        // One and the same place is locked once.
        let image_store = image_store.filter(|(path, _)| *path != root_path);
        let image_root = image_store.as_ref().map_or(&root, |(_, image_root)| image_root);
        let layers = match &image_store {
            Some((_, image_root)) => LayerStore::open_with_image_store(&root, image_root)?,
            None => LayerStore::open(&root)?,
        };
        // With an image store, what is below the store's own root is one of the others.
        let own = image_store.as_ref().map(|_| &root_path);
        let others: Vec<_> = own.into_iter().chain(&options.additional).cloned().collect();
        let additional = AdditionalStore::open_all(&others, image_root);
        let trees = additional.iter().map(|store| store.trees.clone()).collect();
        Ok(Self {
            driver: Driver::open(image_root)?.beside(trees)?,
            layers,
            images: ImageStore::open(image_root)?,
            containers: ContainerStore::open(&root)?,
            mounts: MountStore::open(&run_root)?,
            privileges: Privileges::of_process(),
            additional,
            run_root,
            root_path,
        })
    }

    /// The store's root directory, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root_path
    }
}

/// Makes a directory with mode 0700 where there is none, and opens it.
fn open_directory(path: &Path) -> Result<(PathBuf, OwnedFd), FsError> {
    create_directories(path)?;
    let path = path.canonicalize().during("resolve", path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(&path, flags, Mode::empty()).during("open directory", &path)?;
    Ok((path, directory))
}

/// Makes a directory, and those above it, with just this mode whatever the umask.
fn create_directories(path: &Path) -> Result<(), FsError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_directories(above)?;
    }
    match mkdir(path, Mode::RWXU) {
        Ok(()) => Ok(chmod(path, Mode::RWXU).during("change mode of", path)?),
        // Another process was faster, or opening it will say what it is.
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(FsError::new("create directory", path, errno)),
    }
}
