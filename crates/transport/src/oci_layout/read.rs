//! Images in a layout.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use serde::Deserialize;
use storage_core::{BlobDigest, FsResultExt, RangeReader, RangeSource, Verified};

use super::archive::Archive;
use super::files::{Directory, Files};
use super::{INDEX_FILE, LAYOUT_FILE, LAYOUT_VERSION, LayoutError, REF_NAME, blob_path};
use crate::manifest::{Descriptor, Documents, Index, MANIFEST_LIMIT, choose, media_type, resolve};
use crate::{ImageSource, Platform, ResolvedImage, TransportError};

/// One image in an OCI layout.
///
/// ```no_run
/// use transport::{ImageSource, OciLayout, Platform};
///
/// let layout = OciLayout::open(std::fs::File::open("images")?, Some("v1"))?;
/// for layer in layout.resolve(&Platform::of_machine())?.layers {
///     println!("{} {}", layer.digest, layer.size);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OciLayout {
    files: Box<dyn Files>,
    tag: Option<String>,
    place: String,
}

impl OciLayout {
    /// Opens the layout in a directory; the image is the one tagged `tag`, or the only one.
    ///
    /// # Errors
    ///
    /// If there is no layout of a known version.
    pub fn open(dir: impl AsFd, tag: Option<&str>) -> Result<Self, LayoutError> {
        let dir = dir.as_fd().try_clone_to_owned().during("keep open", ".")?;
        Self::new(Box::new(Directory(dir)), tag, "in an open directory".into())
    }

    /// Opens the layout in a plain tar file, as [`OciLayout::open`] does in a directory.
    ///
    /// The headers are read now, the blobs later where they are.
    ///
    /// # Errors
    ///
    /// If the file is no tar, is compressed, or there is no layout of a known version.
    pub fn open_archive(file: File, tag: Option<&str>) -> Result<Self, LayoutError> {
        Self::new(Box::new(Archive::index(file)?), tag, "in an open archive".into())
    }

    pub(crate) fn open_path(
        dir: &Path,
        tag: Option<&str>,
        place: String,
    ) -> Result<Self, LayoutError> {
        Self::new(Box::new(Directory(open_path(dir, OFlags::DIRECTORY)?)), tag, place)
    }

    pub(crate) fn open_archive_path(
        file: &Path,
        tag: Option<&str>,
        place: String,
    ) -> Result<Self, LayoutError> {
        let file = open_path(file, OFlags::NONBLOCK | OFlags::NOCTTY)?.into();
        Self::new(Box::new(Archive::index(file)?), tag, place)
    }

    fn new(files: Box<dyn Files>, tag: Option<&str>, place: String) -> Result<Self, LayoutError> {
        let layout = Self { files, tag: tag.map(Into::into), place };
        let version: LayoutFile = layout.json(LAYOUT_FILE)?;
        if version.image_layout_version == LAYOUT_VERSION {
            Ok(layout)
        } else {
            Err(LayoutError::Version(version.image_layout_version))
        }
    }

    /// The entry of `index.json` that the tag means.
    fn entry(&self, platform: &Platform) -> Result<Descriptor, LayoutError> {
        let mut images = self.json::<Index>(INDEX_FILE)?.manifests;
        images.retain(|entry| media_type::kind(&entry.media_type).is_some());
        let available = images.iter().filter_map(|entry| entry.annotations.get(REF_NAME)).cloned();
        match &self.tag {
            None if images.len() == 1 => Ok(images.remove(0)),
            None => {
                let available = available.collect();
                Err(LayoutError::NotOneImage { count: images.len(), available })
            }
            Some(tag) => {
                let available = available.collect();
                images.retain(|entry| entry.annotations.get(REF_NAME) == Some(tag));
                match images.len() {
                    0 => Err(LayoutError::NoSuchTag { tag: tag.clone(), available }),
                    1 => Ok(images.remove(0)),
                    _ => choose(&images, platform).cloned().map_err(LayoutError::Choose),
                }
            }
        }
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &'static str) -> Result<T, LayoutError> {
        let file = self.files.file(name)?;
        let size = file.size();
        if size > MANIFEST_LIMIT {
            return Err(LayoutError::TooLarge { file: name.into(), size, limit: MANIFEST_LIMIT });
        }
        let mut bytes = Vec::new();
        RangeReader::new(&*file, 0..size)
            .read_to_end(&mut bytes)
            .map_err(|source| LayoutError::Read { file: name.into(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| LayoutError::Json { file: name, source })
    }

    fn sized_blob(
        &self,
        digest: &BlobDigest,
        size: u64,
    ) -> Result<Arc<dyn RangeSource>, LayoutError> {
        let blob = self.files.file(&blob_path(digest))?;
        if blob.size() == size {
            Ok(blob)
        } else {
            Err(LayoutError::BlobSize { digest: *digest, expected: size, actual: blob.size() })
        }
    }

    /// A small blob, checked against its descriptor.
    fn whole(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let Descriptor { digest, size, .. } = *descriptor;
        if size > MANIFEST_LIMIT {
            let file = blob_path(&digest);
            return Err(LayoutError::TooLarge { file, size, limit: MANIFEST_LIMIT });
        }
        let blob = self.sized_blob(&digest, size)?;
        let mut bytes = Vec::new();
        Verified::new(RangeReader::new(&*blob, 0..size), *digest.digest(), size)
            .read_to_end(&mut bytes)
            .map_err(|source| LayoutError::Blob { digest, source })?;
        Ok(bytes)
    }

    fn placed<T>(&self, result: Result<T, LayoutError>) -> Result<T, TransportError> {
        result.map_err(|error| error.at(&self.place))
    }
}

fn open_path(path: &Path, flags: OFlags) -> Result<OwnedFd, LayoutError> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty()).during("open", path)?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

impl Documents for OciLayout {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.placed(self.whole(descriptor))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.placed(self.whole(descriptor))
    }
}

impl ImageSource for OciLayout {
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError> {
        let entry = self.placed(self.entry(platform))?;
        let bytes = self.placed(self.whole(&entry))?;
        let resolved = resolve(self, bytes, entry.digest, &entry.media_type, platform)?;
        let ref_annotation = entry.annotations.get(REF_NAME).cloned();
        Ok(ResolvedImage { ref_annotation, ..resolved })
    }

    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError> {
        self.placed(self.sized_blob(digest, size))
    }
}
