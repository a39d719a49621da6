//! The TOC and the index of a layer against what is known of it otherwise.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::os::fd::BorrowedFd;

use chunked::{Agreement, Toc};
use storage_core::{FsResultExt as _, LayerRecord};
use tarball::SplitPart;
use tree::{Maker, TreeError};

use super::CheckError;
use super::layer::LayerLook;
use super::look::{LayerData, maker_of};
use crate::pull::{INDEX_KEY, TOC_KEY, error_chain};
use crate::repair::{MendError, expect_files_of, index_of_tree};

/// Sees whether TOC and index of a layer that is sound otherwise say what is true: other
/// tools believe an index, and take what it leads them to without a look.
///
/// Who wrote these files other than this crate may have written them otherwise.
pub(super) fn look_beside(
    record: &LayerRecord,
    diff: BorrowedFd<'_>,
    data: &LayerData<'_>,
    look: &mut LayerLook,
) -> Result<(), CheckError> {
    if maker_of(record) != Maker::Writer {
        return Ok(());
    }
    let toc = data.toc()?.and_then(Result::ok);
    if let Some(toc) = &toc
        && !agrees(toc, data)?
    {
        look.damaged(TOC_KEY);
        return Ok(());
    }
    let Some(file) = data.index_file()? else { return Ok(()) };
    let mut same = Same::new(file);
    let compared = match &toc {
        Some(toc) => chunked::write_index(toc, &mut same),
        None => match told(index_of_tree(data, diff))?.flatten() {
            Some(index) => index.write(&mut same),
            None => return Ok(()),
        },
    };
    compared.during("read", INDEX_KEY)?;
    if !same.finish().during("read", INDEX_KEY)? {
        // The TOC and what was once made from it differ: the files tell which is wrong.
        let toc_holds = match &toc {
            Some(toc) => told(expect_files_of(toc, diff))?.is_some(),
            None => true,
        };
        look.damaged(if toc_holds { INDEX_KEY } else { TOC_KEY });
    }
    Ok(())
}

/// Whether a TOC and the tar-split beside it tell of the same entries.
fn agrees(toc: &Toc, data: &LayerData<'_>) -> Result<bool, CheckError> {
    let Some(parts) = data.tar_split()? else { return Ok(true) };
    let mut agreement = Agreement::new(toc);
    for part in parts {
        // A tar-split that cannot be read was named before.
        let Ok(part) = part else { return Ok(true) };
        if let SplitPart::File { entry, .. } = part
            && let Err(error) = agreement.compare(&entry)
        {
            tracing::warn!(error = error_chain(&error), "a TOC is not that of its layer");
            return Ok(false);
        }
    }
    Ok(agreement.finish().is_ok())
}

/// What could be read of the layer; `None` if that tells nothing, or something else.
fn told<T>(read: Result<T, MendError>) -> Result<Option<T>, CheckError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(MendError::Fs(error) | MendError::Tree(TreeError::Fs(error)))
            if error.is_for_want_of_room() =>
        {
            Err(error.into())
        }
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "what is beside a layer does not fit it");
            Ok(None)
        }
    }
}

/// Compares what is written with what a file holds.
struct Same {
    file: BufReader<File>,
    buffer: Vec<u8>,
    so_far: bool,
}

impl Same {
    fn new(file: File) -> Self {
        Self { file: BufReader::new(file), buffer: Vec::new(), so_far: true }
    }

    /// Whether all was the same, and the file has no more.
    fn finish(mut self) -> io::Result<bool> {
        Ok(self.so_far && self.file.read(&mut [0])? == 0)
    }
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.so_far {
            self.buffer.resize(bytes.len(), 0);
            match self.file.read_exact(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.so_far = false,
                read => {
                    read?;
                    self.so_far = self.buffer == bytes;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
