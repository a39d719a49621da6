//! Makes a layout, or adds to one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use storage_core::{BlobDigest, FsError, FsResultExt, Hasher};

use super::temp::TempFile;
use super::{BLOBS, INDEX_FILE, LAYOUT_FILE, LAYOUT_VERSION, LayoutError, REF_NAME, blob_path};
use crate::Platform;
use crate::manifest::media_type;

/// Writes blobs and tags into an OCI layout directory.
///
/// Blobs and `index.json` are complete and on disk when they get their names. Several
/// writers, in several processes, may work on one layout.
#[derive(Debug)]
pub struct LayoutWriter {
    dir: OwnedFd,
}

/// A blob, where it is stored: in a layout or a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size: u64,
}

/// An entry of `index.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestDescriptor {
    /// Media type of the manifest or index.
    pub media_type: String,
    /// The manifest, which should be in the layout.
    pub blob: StoredBlob,
    /// What the image is for, where the entry should say it.
    pub platform: Option<Platform>,
    /// Further annotations; the tag is set by [`LayoutWriter::set_manifest`].
    pub annotations: BTreeMap<String, String>,
}

impl ManifestDescriptor {
    /// An entry that says no more than it must.
    pub fn new(media_type: &str, blob: StoredBlob) -> Self {
        let annotations = BTreeMap::new();
        Self { media_type: media_type.into(), blob, platform: None, annotations }
    }
}

impl LayoutWriter {
    /// Makes a layout in `dir`, or goes on with the one that is there.
    ///
    /// # Errors
    ///
    /// If files cannot be made in it, or it is a layout of another version.
    pub fn create(dir: impl AsFd) -> Result<Self, LayoutError> {
        // Opened anew: the caller's may be good for looking up names only.
        let writer = Self { dir: open_dir(dir.as_fd(), ".")? };
        for path in ["blobs", BLOBS] {
            match rustix::fs::mkdirat(&writer.dir, path, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(FsError::new("create directory", path, error).into()),
            }
        }
        let lock = writer.lock()?;
        if writer.read(INDEX_FILE)?.is_none() {
            writer.replace_json(INDEX_FILE, &empty_index())?;
        }
        match writer.read(LAYOUT_FILE)? {
            None => {
                writer.replace_json(LAYOUT_FILE, &layout_file())?;
            }
            Some(value) if value["imageLayoutVersion"] == LAYOUT_VERSION => {}
            Some(value) => {
                let version = value["imageLayoutVersion"].as_str().unwrap_or_default();
                return Err(LayoutError::Version(version.into()));
            }
        }
        drop(lock);
        Ok(writer)
    }

    /// A blob to be written piece by piece; it is in the layout once it is finished.
    ///
    /// # Errors
    ///
    /// If no file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        Ok(BlobWriter { file: TempFile::new(&self.dir)?, hasher: Hasher::new(), size: 0 })
    }

    /// Copies a blob into the layout.
    ///
    /// # Errors
    ///
    /// If the content cannot be read, or not be written.
    pub fn put_blob(&self, mut content: impl Read) -> Result<StoredBlob, LayoutError> {
        let mut writer = self.blob_writer()?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return writer.finish(),
                Ok(n) => writer.write_all(&buffer[..n]).during("write", "a new blob")?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayoutError::Content(error)),
            }
        }
    }

    /// Writes a small blob: a manifest or a config.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn put_bytes(&self, content: &[u8]) -> Result<StoredBlob, LayoutError> {
        self.put_blob(content)
    }

    /// The length of a blob that is in the layout already; its content is not looked at.
    ///
    /// # Errors
    ///
    /// If it cannot be told.
    pub fn blob_size(&self, digest: &BlobDigest) -> Result<Option<u64>, LayoutError> {
        let path = blob_path(digest);
        match rustix::fs::statat(&self.dir, &path, rustix::fs::AtFlags::empty()) {
            Ok(stat) => Ok(u64::try_from(stat.st_size).ok()),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FsError::new("look at", path, error).into()),
        }
    }

    /// Makes `tag` mean this manifest and nothing else.
    ///
    /// Without a tag the entry is added beside those that are there, once. The file is
    /// replaced as a whole, under a lock; what others wrote into it stays.
    ///
    /// # Errors
    ///
    /// If `index.json` is broken or cannot be replaced; it is then as it was.
    pub fn set_manifest(
        &self,
        tag: Option<&str>,
        manifest: &ManifestDescriptor,
    ) -> Result<(), LayoutError> {
        let entry = entry(tag, manifest);
        // What the entry leads to is on disk before the entry is.
        rustix::fs::fsync(open_dir(self.dir.as_fd(), BLOBS)?).during("flush directory", BLOBS)?;
        let lock = self.lock()?;
        let mut index = self.read(INDEX_FILE)?.unwrap_or_else(empty_index);
        if !index.get("manifests").is_some_and(Value::is_array) {
            index["manifests"] = json!([]);
        }
        if let Some(entries) = index["manifests"].as_array_mut() {
            entries.retain(|old| match tag {
                Some(tag) => old["annotations"][REF_NAME] != tag,
                None => *old != entry,
            });
            entries.push(entry);
        }
        self.replace_json(INDEX_FILE, &index)?;
        drop(lock);
        Ok(())
    }

    fn read(&self, name: &'static str) -> Result<Option<Value>, LayoutError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(FsError::new("open", name, error).into()),
        };
        let mut bytes = Vec::new();
        std::fs::File::from(file).read_to_end(&mut bytes).during("read", name)?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|source| LayoutError::Json { file: name, source })?;
        if value.is_object() {
            Ok(Some(value))
        } else {
            let source = serde::de::Error::custom("not an object");
            Err(LayoutError::Json { file: name, source })
        }
    }

    fn replace_json(&self, name: &'static str, value: &Value) -> Result<(), LayoutError> {
        let mut temp = TempFile::new(&self.dir)?;
        temp.file().write_all(value.to_string().as_bytes()).during("write", name)?;
        temp.persist(name)?;
        Ok(rustix::fs::fsync(&self.dir).during("flush directory of", name)?)
    }

    /// Held while a file is read, changed and replaced; released when it is dropped.
    fn lock(&self) -> Result<OwnedFd, FsError> {
        // Opened anew: a lock belongs to the open file, which clones would share.
        let dir = open_dir(self.dir.as_fd(), ".")?;
        rustix::fs::flock(&dir, FlockOperation::LockExclusive).during("lock", ".")?;
        Ok(dir)
    }
}

fn open_dir(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, FsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty()).during("open directory", path)
}

fn layout_file() -> Value {
    json!({"imageLayoutVersion": LAYOUT_VERSION})
}

/// `oci-layout` and `index.json` of a layout with one image.
pub(super) fn layout_documents(
    tag: Option<&str>,
    manifest: &ManifestDescriptor,
) -> (Vec<u8>, Vec<u8>) {
    let mut index = empty_index();
    index["manifests"] = json!([entry(tag, manifest)]);
    (layout_file().to_string().into_bytes(), index.to_string().into_bytes())
}

fn empty_index() -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []})
}

fn entry(tag: Option<&str>, manifest: &ManifestDescriptor) -> Value {
    let mut annotations = manifest.annotations.clone();
    annotations.remove(REF_NAME);
    annotations.extend(tag.map(|tag| (REF_NAME.into(), tag.into())));
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.blob.digest,
        "size": manifest.blob.size,
    });
    if !annotations.is_empty() {
        entry["annotations"] = json!(annotations);
    }
    if let Some(Platform { os, architecture, variant }) = &manifest.platform {
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if let Some(variant) = variant {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    entry
}

/// A blob being written into a layout; dropping it unfinished leaves nothing.
#[derive(Debug)]
#[must_use = "a blob is in the layout only when it is finished"]
pub struct BlobWriter {
    file: TempFile,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    /// Brings the blob to disk and names it by its content.
    ///
    /// # Errors
    ///
    /// If that fails; nothing is left then.
    pub fn finish(self) -> Result<StoredBlob, LayoutError> {
        let blob = StoredBlob { digest: self.hasher.finish().into(), size: self.size };
        let path = blob_path(&blob.digest);
        self.file.persist(&path)?;
        Ok(blob)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.file().write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
