//! Plain tar streams, written without files on a disk: for layers of a million files.

use std::io::{self, Write};

const BLOCK: usize = 512;
const MTIME: u64 = 1_700_000_000;

/// A ustar stream in the making. Owner 0:0, one fixed time, modes 0644 and 0755.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Begins a stream.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a directory; the name ends with a slash. Names have at most 100 bytes.
    ///
    /// # Errors
    ///
    /// If the name is too long, or writing fails.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.out.write_all(&header(name, 0o755, 0, b'5')?)
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// As [`TarWriter::directory`].
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.out.write_all(&header(name, 0o644, content.len() as u64, b'0')?)?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; BLOCK][..content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// Ends the stream, and gives the writer back.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(name: &str, mode: u32, size: u64, kind: u8) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str, length: usize| {
        let fits = text.len() <= length;
        if fits {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        fits.then_some(()).ok_or_else(|| io::Error::other(format!("{text} does not fit")))
    };
    put(0, name, 100)?;
    put(100, &format!("{mode:07o}"), 7)?;
    put(108, "0000000", 7)?;
    put(116, "0000000", 7)?;
    put(124, &format!("{size:011o}"), 11)?;
    put(136, &format!("{MTIME:011o}"), 11)?;
    put(148, "        ", 8)?;
    put(257, "ustar\u{0}00", 8)?;
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::TarWriter;
    use crate::judge;

    #[test]
    fn gnu_tar_reads_what_was_written() -> anyhow::Result<()> {
        let place = tempfile::tempdir()?;
        let tar = place.path().join("tar");
        let mut writer = TarWriter::new(std::fs::File::create(&tar)?);
        writer.directory("d/")?;
        writer.file("d/a", b"text")?;
        writer.file("d/empty", b"")?;
        writer.finish()?;
        let tree = place.path().join("tree");
        std::fs::create_dir(&tree)?;
        judge::run(std::process::Command::new("tar").arg("-tvf").arg(&tar))?;
        judge::unpack(&tar, &tree)?;
        assert_eq!(std::fs::read(tree.join("d/a"))?, b"text");
        assert_eq!(tree.join("d/empty").metadata()?.len(), 0);
        Ok(())
    }
}
