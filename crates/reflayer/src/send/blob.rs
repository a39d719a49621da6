//! Blobs that wait in temporary files until they are sent, since their digest and the
//! annotations are known only at their end.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use chunked::write::{WriteError, WrittenBlob, write_blob};
use crossbeam::channel::Sender;
use storage_core::{RangeReader, Verified};
use tarball::RebuildError;
use transport::{ImageSource, LayerDescriptor, media_type};

use super::SendLayerError;
use super::layer::{Origin, Outbound, Way};
use super::report::SendProgress;
use crate::export::ExportError;
use crate::layer_tar::Hashing;
use crate::manifest::{Annotations, LayerEntry};
use crate::pipeline::{ChannelReader, ChannelWriter, channel, pump};
use crate::unpack::decompress;

/// What is read and written at once.
const BLOCK: usize = 256 * 1024;

/// A file without a name; it is gone when it is dropped.
#[derive(Debug)]
pub(super) struct TempBlob(File);

impl TempBlob {
    /// Makes an empty file in `dir`.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        tempfile::tempfile_in(dir).map(Self)
    }

    /// A file with this content.
    pub(super) fn of(dir: &Path, content: &[u8]) -> io::Result<Self> {
        let blob = Self::new(dir)?;
        (&blob.0).write_all(content)?;
        Ok(blob)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

/// Fetches a blob as it is, and makes sure that it is the one.
pub(super) fn fetch(
    source: &dyn ImageSource,
    blob: &LayerDescriptor,
    layer: &Outbound<'_>,
    way: &Way<'_>,
) -> Result<TempBlob, SendLayerError> {
    let temporary = |error| way.temporary(error);
    let to = TempBlob::new(&way.options.tmpdir).map_err(temporary)?;
    let mut from = open(source, blob, layer, way)?;
    let mut buffer = vec![0; BLOCK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(to),
            Ok(n) => to.file().write_all(&buffer[..n]).map_err(temporary)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SendLayerError::Fetch(error)),
        }
    }
}

/// Makes a zstd:chunked blob of a layer.
pub(super) fn make(
    layer: &Outbound<'_>,
    way: &Way<'_>,
) -> Result<(TempBlob, WrittenBlob), SendLayerError> {
    let blob = TempBlob::new(&way.options.tmpdir).map_err(|error| way.temporary(error))?;
    let out = BufWriter::with_capacity(BLOCK, blob.file());
    let written = with_tar(layer, way, |tar| match write_blob(tar, out, &way.options.write) {
        Err(WriteError::Write(error)) => Err(way.temporary(error)),
        result => result.map_err(SendLayerError::Blob),
    })?;
    if written.diff_id == layer.diff_id {
        Ok((blob, written))
    } else {
        Err(SendLayerError::DiffId { expected: layer.diff_id, actual: written.diff_id })
    }
}

/// Makes a plain zstd blob of a layer.
pub(super) fn make_plain(
    layer: &Outbound<'_>,
    way: &Way<'_>,
) -> Result<(TempBlob, LayerEntry), SendLayerError> {
    let temporary = |error| way.temporary(error);
    let blob = TempBlob::new(&way.options.tmpdir).map_err(temporary)?;
    let mut out = Hashing::new(BufWriter::with_capacity(BLOCK, blob.file()));
    with_tar(layer, way, |tar| {
        zstd::stream::copy_encode(tar, &mut out, way.options.write.level).map_err(temporary)
    })?;
    out.flush().map_err(temporary)?;
    let (digest, size) = out.finish();
    let media_type = media_type::OCI_LAYER_ZSTD.into();
    let digest = digest.into();
    Ok((blob, LayerEntry { media_type, digest, size, annotations: Annotations::new() }))
}

/// Lets `write` read the tar of a layer, which another thread brings.
fn with_tar<T>(
    layer: &Outbound<'_>,
    way: &Way<'_>,
    write: impl FnOnce(ChannelReader) -> Result<T, SendLayerError>,
) -> Result<T, SendLayerError> {
    let (sender, tar) = channel();
    thread::scope(|scope| {
        let bring = thread::Builder::new()
            .name("read".into())
            .spawn_scoped(scope, move || bring(layer, way, sender))
            .map_err(SendLayerError::Thread)?;
        let written = write(tar);
        match bring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            // Each side fails when the other does; the cause is the one that did not
            // lose its partner.
            Err(error) if !was_left(&error) => Err(error),
            _ => written,
        }
    })
}

fn was_left(error: &SendLayerError) -> bool {
    let SendLayerError::Export(ExportError::Rebuild { source, .. }) = error else { return false };
    matches!(source, RebuildError::Write(_))
}

/// Sends the tar of a layer; the channel ends without a last message if that fails.
fn bring(
    layer: &Outbound<'_>,
    way: &Way<'_>,
    to: Sender<io::Result<Bytes>>,
) -> Result<(), SendLayerError> {
    match layer.origin {
        Origin::Blob(source, blob) => {
            match decompress(open(source, blob, layer, way)?, blob.compression) {
                Ok(tar) => pump(tar, &to, |_| {}),
                // Who reads the stream reports it.
                Err(error) => drop(to.send(Err(error))),
            }
        }
        Origin::Store(store, record) => {
            let out = Counted::new(ChannelWriter::new(to), layer, way);
            let mut out = BufWriter::with_capacity(BLOCK, out);
            store.rebuild_tar(record, Some(layer.diff_id), &mut out)?;
            let end = out.into_inner().map_err(io::IntoInnerError::into_error);
            let end = end.and_then(|out| out.inner.finish());
            end.map_err(|error| ExportError::Rebuild {
                layer: record.id.clone(),
                source: RebuildError::Write(error),
            })?;
        }
    }
    Ok(())
}

/// The bytes of a blob; at their end they are known to be the right ones.
fn open(
    source: &dyn ImageSource,
    blob: &LayerDescriptor,
    layer: &Outbound<'_>,
    way: &Way<'_>,
) -> Result<impl Read + Send + 'static, SendLayerError> {
    let opened = source.blob(&blob.digest, blob.size).map_err(SendLayerError::Source)?;
    let bytes = Counted::new(RangeReader::new(&*opened, 0..blob.size), layer, way);
    Ok(Verified::new(bytes, *blob.digest.digest(), blob.size))
}

/// Tells how far reading is.
struct Counted<T> {
    inner: T,
    progress: Arc<dyn SendProgress>,
    index: usize,
    expected: u64,
    bytes: u64,
}

impl<T> Counted<T> {
    fn new(inner: T, layer: &Outbound<'_>, way: &Way<'_>) -> Self {
        let progress = way.progress.clone();
        Self { inner, progress, index: layer.index, expected: layer.to_read, bytes: 0 }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.progress.read(self.index, self.bytes, self.expected);
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count(n);
        Ok(n)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.count(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
