//! What is kept beside the records of layers: tar-split, big data.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::big_data::{self, open_file};
use super::place::{DIR_MODE, FILE_MODE, Place};
use super::{LayerStore, Layers, LayersWrite, RecordError};
use crate::atomic::Replacement;
use crate::dir::{make_dir, open_at, open_dir, rename_at, sync, text_names, unlink_at};
use crate::{Durability, FsError, FsResultExt, LayerId, TempDir, recover_temp_dirs};

const TAR_SPLIT: &str = ".tar-split.gz";

/// The directory of things to be removed.
const TMP: &str = "tmp";

fn tar_split_name(id: &LayerId) -> String {
    format!("{id}{TAR_SPLIT}")
}

impl LayerStore {
    /// Removes what dead processes were about to remove; tells how many heaps of it.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub fn recover(&self) -> Result<usize, RecordError> {
        let place = self.place();
        match place.within(open_dir(place.writable()?, TMP))? {
            Some(tmp) => Ok(recover_temp_dirs(&tmp).map_err(|e| e.within(place.path(TMP)))?),
            None => Ok(0),
        }
    }

    /// Opens a big data item of a layer without any lock; `None` if there is none.
    ///
    /// For what is useful but not needed: the layer may be removed at any moment,
    /// and what was opened stays readable then.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn peek_big_data(&self, id: &LayerId, key: &str) -> Result<Option<File>, RecordError> {
        big_data::open(self.place(), id.as_str(), key)
    }

    /// Opens the tar-split of a layer (gzip) without any lock; `None` if there is none.
    ///
    /// As for [`LayerStore::peek_big_data`].
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn peek_tar_split(&self, id: &LayerId) -> Result<Option<File>, RecordError> {
        open_tar_split(self.place(), id)
    }
}

fn open_tar_split(place: &Place, id: &LayerId) -> Result<Option<File>, RecordError> {
    let Some(dir) = place.dir() else { return Ok(None) };
    let name = tar_split_name(id);
    Ok(open_file(dir, &name).during("open", place.path(&name))?)
}

impl Layers<'_> {
    /// Opens a big data item of a layer for reading; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open_big_data(&self, id: &LayerId, key: &str) -> Result<Option<File>, RecordError> {
        big_data::open(self.place, id.as_str(), key)
    }

    /// Opens the tar-split of a layer (gzip) for reading; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open_tar_split(&self, id: &LayerId) -> Result<Option<File>, RecordError> {
        open_tar_split(self.place, id)
    }

    /// The keys of the big data that an id has on disk, whatever its record says.
    ///
    /// # Errors
    ///
    /// If its directory cannot be read.
    pub fn keys_on_disk(&self, id: &LayerId) -> Result<Vec<String>, RecordError> {
        big_data::keys(self.place, id.as_str())
    }

    /// Ids that have a tar-split or big data but no record: leftovers.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn orphans(&self) -> Result<Vec<LayerId>, RecordError> {
        let Some(dir) = self.place.dir() else { return Ok(Vec::new()) };
        let names = text_names(dir).during("read directory", self.place.path(""))?;
        let ids = names.iter().map(|name| name.strip_suffix(TAR_SPLIT).unwrap_or(name));
        let ids: BTreeSet<LayerId> = ids.filter_map(|id| id.parse().ok()).collect();
        Ok(ids.into_iter().filter(|id| self.get(id).is_none()).collect())
    }
}

impl LayersWrite<'_> {
    /// Moves the file `name` of `from` into place as a big data item, and notes
    /// its key in the record, which must be there already.
    ///
    /// One rename: the content must be durable before. Only where the trees are on
    /// another filesystem, in an image store, is it copied, which takes its time.
    /// [`LayersWrite::sync_layer`] makes the new name durable, too.
    ///
    /// # Errors
    ///
    /// If the layer has no record, the key cannot be a file name, or `name` is no
    /// regular file.
    pub fn adopt_big_data(
        &mut self,
        id: &LayerId,
        key: &str,
        from: impl AsFd,
        name: &str,
    ) -> Result<(), RecordError> {
        let file = big_data::file_name(key)?;
        let place = self.layers.place;
        self.get(id).ok_or_else(|| self.unknown(id))?;
        let (dir, _) = place.within(make_dir(place.writable()?, id.as_str(), DIR_MODE))?;
        let moved = adopt(from.as_fd(), name, dir.as_fd(), &file);
        moved.map_err(|error| error.within(place.path(id.as_str())))?;
        if let Some(record) = self.get_mut(id)
            && !record.big_data_names.iter().any(|known| known == key)
        {
            record.big_data_names.push(key.into());
        }
        Ok(())
    }

    /// Moves the file `name` of `from` into place as the layer's tar-split (gzip).
    ///
    /// As for [`LayersWrite::adopt_big_data`].
    ///
    /// # Errors
    ///
    /// If the layer has no record, or `name` is no regular file.
    pub fn adopt_tar_split(
        &mut self,
        id: &LayerId,
        from: impl AsFd,
        name: &str,
    ) -> Result<(), RecordError> {
        self.get(id).ok_or_else(|| self.unknown(id))?;
        let dir = self.place.writable()?;
        self.place.within(adopt(from.as_fd(), name, dir, &tar_split_name(id)))
    }

    /// Removes a big data item and its key; the file need not be there.
    ///
    /// # Errors
    ///
    /// If the key cannot be a file name, or the file cannot be removed.
    pub fn remove_big_data(&mut self, id: &LayerId, key: &str) -> Result<(), RecordError> {
        let name = big_data::file_name(key)?;
        if let Some(dir) = self.place.within(open_dir(self.place.writable()?, id.as_str()))? {
            let removed = remove_if_there(dir.as_fd(), &name);
            removed.during("remove", self.place.path(id.as_str()).join(&name))?;
        }
        if let Some(record) = self.get_mut(id) {
            record.big_data_names.retain(|known| known != key);
        }
        Ok(())
    }

    /// Makes the names of a layer's adopted files durable.
    ///
    /// # Errors
    ///
    /// If a directory cannot be flushed.
    pub fn sync_layer(&self, id: &LayerId) -> Result<(), RecordError> {
        self.sync_layers([id])
    }

    /// Makes the names of the adopted files of several layers durable.
    ///
    /// # Errors
    ///
    /// If a directory cannot be flushed.
    pub fn sync_layers<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i LayerId>,
    ) -> Result<(), RecordError> {
        let dir = self.place.writable()?;
        for id in ids {
            if let Some(own) = self.place.within(open_dir(dir, id.as_str()))? {
                sync(&own).during("flush", self.place.path(id.as_str()))?;
            }
        }
        Ok(sync(dir).during("flush", self.place.path(""))?)
    }

    /// Moves tar-split and big data of a layer away, so that they can be removed
    /// when the lock is released: by dropping what is returned, or by its
    /// [`TempDir::delete`]. `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// If something cannot be moved; what was moved before is then removed at once.
    pub fn discard_data(&self, id: &LayerId) -> Result<Option<TempDir>, RecordError> {
        let mut heap = None;
        self.discard_data_into(id, &mut heap)?;
        Ok(heap)
    }

    /// Like [`LayersWrite::discard_data`], onto one heap for several layers, which
    /// is made when it is needed.
    ///
    /// # Errors
    ///
    /// If something cannot be moved.
    pub fn discard_data_into(
        &self,
        id: &LayerId,
        heap: &mut Option<TempDir>,
    ) -> Result<(), RecordError> {
        let dir = self.place.writable()?;
        for name in [tar_split_name(id).as_str(), id.as_str()] {
            let heap = match heap {
                Some(heap) => heap,
                None if !exists(dir, name).during("look at", self.place.path(name))? => continue,
                None => heap.insert(self.new_heap(dir)?),
            };
            match heap.move_in(dir, name) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                moved => drop(self.place.within(moved)?),
            }
        }
        Ok(())
    }

    fn new_heap(&self, dir: BorrowedFd<'_>) -> Result<TempDir, RecordError> {
        let (tmp, _) = self.place.within(make_dir(dir, TMP, DIR_MODE))?;
        Ok(TempDir::create(&tmp).map_err(|error| error.within(self.place.path(TMP)))?)
    }
}

/// Gives a regular file the mode of stored data, and its final name.
fn adopt(from: BorrowedFd<'_>, name: &str, to: BorrowedFd<'_>, file: &str) -> Result<(), FsError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = open_at(from, name, flags).during("open", name)?;
    let stat = rustix::fs::fstat(&opened).during("look at", name)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Errno::INVAL).during("keep something that is no regular file as", file);
    }
    let mode = Mode::from_raw_mode(FILE_MODE);
    retry_on_intr(|| rustix::fs::fchmod(&opened, mode)).during("set mode of", name)?;
    match rename_at(from, name, to, file) {
        // Trees are on the filesystem of the image store, this may be on another.
        Err(Errno::XDEV) => {
            let copy = File::from(opened);
            Replacement::prepare(to, file, copy, FILE_MODE, Durability::Durable)?.place()?;
            unlink_at(from, name).during("remove", name)
        }
        renamed => renamed.during("move into place", file),
    }
}

fn exists(dir: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn remove_if_there(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match unlink_at(dir, name) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}
