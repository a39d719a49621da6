//! A layout in a tar file, read in place.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use storage_core::{FileSource, FsResultExt, LayerPath, RangeSource};
use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, HEADER_SIZE};

use super::LayoutError;
use super::files::Files;
use super::slice::Slice;

/// Bytes read at once while looking for headers.
const WINDOW: usize = 64 * 1024;
/// Where a header has the type of its entry, in bytes.
const TYPE_FLAG: usize = 156;
/// Files in an archive that are indexed: far more than images have blobs.
const MOST_FILES: usize = 100_000;

/// Where each file of a layout is in a tar.
#[derive(Debug)]
pub(super) struct Archive {
    source: Arc<FileSource>,
    files: HashMap<LayerPath, Range<u64>>,
}

impl Archive {
    /// Reads all headers of `file`, and no content.
    pub(super) fn index(file: File) -> Result<Self, LayoutError> {
        let metadata = file.metadata().during("look at", "the archive")?;
        if !metadata.is_file() {
            return Err(LayoutError::NotAFile("the archive".into()));
        }
        refuse_compressed(&file)?;
        let files = Walk::new(&file, metadata.len()).files()?;
        let source = Arc::new(FileSource::new(file).during("look at", "the archive")?);
        Ok(Self { source, files })
    }

    /// All names that there are.
    #[cfg(fuzzing)]
    pub(super) fn names(&self) -> impl Iterator<Item = &LayerPath> {
        self.files.keys()
    }
}

impl Files for Archive {
    fn file(&self, name: &str) -> Result<Arc<dyn RangeSource>, LayoutError> {
        let missing = || LayoutError::NotInArchive(name.into());
        let path = LayerPath::parse(name.as_bytes()).map_err(|_| missing())?;
        let range = self.files.get(&path).ok_or_else(missing)?;
        Ok(Arc::new(Slice::new(self.source.clone(), range.clone())))
    }
}

fn refuse_compressed(file: &File) -> Result<(), LayoutError> {
    let mut magic = [0; 6];
    let read = file.read_at(&mut magic, 0).during("read", "the archive")?;
    let kind = match &magic[..read] {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        _ => return Ok(()),
    };
    Err(LayoutError::Compressed(kind))
}

/// What follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// Something that no layout has, as long as its header says.
    Other,
    /// Nothing, whatever size the header claims: as Go's `archive/tar` and our reader of
    /// layers see it, or else a file of one would be a header to the other.
    NoContent,
}

fn kind(entry: &ParsedEntry<'_>, header: &[u8]) -> Kind {
    // Archives older than type 5 have directories by their names.
    let old_directory = header[TYPE_FLAG] == 0 && entry.path.ends_with(b"/");
    match entry.entry_type {
        EntryType::Regular | EntryType::Continuous if !old_directory => Kind::File,
        EntryType::Regular
        | EntryType::Link
        | EntryType::Symlink
        | EntryType::Char
        | EntryType::Block
        | EntryType::Directory
        | EntryType::Fifo => Kind::NoContent,
        _ => Kind::Other,
    }
}

/// A walk from header to header.
struct Walk<'f> {
    file: &'f File,
    size: u64,
    /// Where the next header should be.
    at: u64,
    files: HashMap<LayerPath, Range<u64>>,
}

impl<'f> Walk<'f> {
    fn new(file: &'f File, size: u64) -> Self {
        Self { file, size, at: 0, files: HashMap::new() }
    }

    fn files(mut self) -> Result<HashMap<LayerPath, Range<u64>>, LayoutError> {
        let mut parser = Parser::new(Limits::default());
        let mut window = self.window(WINDOW)?;
        loop {
            let event = parser.parse(&window).map_err(|e| self.broken(e))?;
            let entry = match event {
                // An archive may end without the blocks of zeros that should be there.
                ParseEvent::NeedData { .. } if window.is_empty() => return Ok(self.files),
                ParseEvent::NeedData { min_bytes } if min_bytes > window.len() => {
                    let len = window.len();
                    window = self.window(min_bytes)?;
                    if window.len() <= len {
                        return Err(self.broken("it ends in the middle of a header"));
                    }
                    continue;
                }
                ParseEvent::NeedData { .. } => {
                    return Err(self.broken("a header that cannot be read"));
                }
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    self.at += consumed as u64;
                    None
                }
                ParseEvent::End { .. } => return Ok(self.files),
                ParseEvent::SparseEntry { .. } => {
                    return Err(self.broken("a sparse file"));
                }
                ParseEvent::Entry { consumed, entry } => {
                    self.at += consumed as u64;
                    let header = &window[consumed - HEADER_SIZE..consumed];
                    if has_odd_prefix(header) {
                        return Err(self.broken("a header of which readers make two names"));
                    }
                    match kind(&entry, header) {
                        Kind::NoContent => None,
                        kind => Some((kind, entry.path.to_vec(), entry.size)),
                    }
                }
            };
            if let Some((kind, path, size)) = entry {
                self.add(kind, &path, size)?;
                self.at = self.at.saturating_add(size.next_multiple_of(HEADER_SIZE as u64));
            }
            window = self.window(WINDOW)?;
        }
    }

    /// As in any tar, the last of several entries of one name counts.
    fn add(&mut self, kind: Kind, path: &[u8], size: u64) -> Result<(), LayoutError> {
        let end = self.at.checked_add(size).filter(|end| *end <= self.size);
        let end = end.ok_or_else(|| self.broken("a file that is longer than the archive"))?;
        // Names outside of the layout are nothing that is asked for.
        if let (Kind::File, Ok(path)) = (kind, LayerPath::parse(path)) {
            self.files.insert(path, self.at..end);
        }
        if self.files.len() > MOST_FILES {
            return Err(self.broken("more files than any layout has"));
        }
        Ok(())
    }

    fn window(&self, len: usize) -> Result<Vec<u8>, LayoutError> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let mut window = vec![0; len.min(left)];
        self.file.read_exact_at(&mut window, self.at).during("read", "the archive")?;
        Ok(window)
    }

    fn broken(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LayoutError {
        let source = io::Error::new(io::ErrorKind::InvalidData, cause);
        LayoutError::Tar { offset: self.at, source }
    }
}

/// Whether a header has a prefix and no version of ustar: to some readers the prefix is part of
/// the name, to others it is not. No file of a layout needs one.
fn has_odd_prefix(header: &[u8]) -> bool {
    header[257..263] == *b"ustar\0" && header[263..265] != *b"00" && header[345] != 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use storage_core::RangeReader;

    use super::*;

    fn archive(content: &[u8]) -> Result<Archive, LayoutError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Archive::index(file)
    }

    /// A tar by another hand: header fields as POSIX has them.
    fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, kind, content) in entries {
            let mut header = [0u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..108].copy_from_slice(b"0000644\0");
            header[108..116].copy_from_slice(b"0000000\0");
            header[116..124].copy_from_slice(b"0000000\0");
            header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            header[136..148].copy_from_slice(b"00000000000\0");
            header[148..156].copy_from_slice(b"        ");
            header[156] = *kind;
            header[257..265].copy_from_slice(b"ustar\x0000");
            let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend_from_slice(&header);
            tar.extend_from_slice(content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar
    }

    fn read(archive: &Archive, name: &str) -> Vec<u8> {
        let file = archive.file(name).unwrap();
        let mut content = Vec::new();
        RangeReader::new(&*file, 0..file.size()).read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn files_are_found_under_their_clean_names() {
        let long = [b'x'; 1500];
        let pax = b"17 path=long/one\n";
        let tar = tar(&[
            ("./", b'5', b""),
            ("./oci-layout", b'0', b"old"),
            ("a/b", b'0', &long),
            ("oci-layout", b'0', b"new"),
            ("header", b'x', pax),
            ("short", b'0', b"named by its header"),
            ("link", b'2', b""),
        ]);
        for end in [0, 1024, 10_240] {
            let archive = archive(&[&tar[..], &vec![0; end]].concat()).unwrap();
            assert_eq!(read(&archive, "oci-layout"), b"new");
            assert_eq!(read(&archive, "a/b"), long);
            assert_eq!(read(&archive, "long/one"), b"named by its header");
            for missing in ["short", "link", "", "a", "../x"] {
                assert!(archive.file(missing).is_err(), "{missing}");
            }
        }
    }

    #[test]
    fn what_has_no_content_is_followed_by_a_header_whatever_its_size_says() {
        for (name, kind) in [
            ("d", b'5'),
            ("d/", 0),
            ("l", b'1'),
            ("s", b'2'),
            ("c", b'3'),
            ("b", b'4'),
            ("f", b'6'),
        ] {
            let sized = tar(&[(name, kind, &[b'x'; 65])]);
            let tar = [&sized[..512], &tar(&[("file", b'0', b"content")])].concat();
            let archive = archive(&tar).unwrap();
            assert_eq!(read(&archive, "file"), b"content", "after {name}");
            assert_eq!(archive.files.len(), 1, "after {name}");
        }
    }

    #[test]
    fn broken_archives_are_refused() {
        let good = tar(&[("a", b'0', &[1; 2000])]);
        assert!(archive(&good).is_ok());
        assert!(archive(&good[..2000]).is_err(), "cut in the content");
        assert!(archive(&good[..300]).is_err(), "cut in the header");
        for (version, prefix, is_good) in
            [(b"\0\0", b"d", false), (b"\0\0", b"\0", true), (b"00", b"d", true)]
        {
            let mut tar = good.clone();
            tar[263..265].copy_from_slice(version);
            tar[345..346].copy_from_slice(prefix);
            tar[148..156].copy_from_slice(b"        ");
            let sum: u32 = tar[..512].iter().map(|&byte| u32::from(byte)).sum();
            tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(archive(&tar).is_ok(), is_good, "{version:?} {prefix:?}");
        }
        let mut changed = good.clone();
        changed[0] = b'b';
        assert!(archive(&changed).is_err(), "checksum");
        for magic in [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"] {
            let error = archive(&[magic, &[0; 600]].concat()).unwrap_err();
            assert!(matches!(error, LayoutError::Compressed(_)), "{error}");
        }
    }
}
