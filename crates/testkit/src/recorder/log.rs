//! The log of a disk's writes, in the format of the device-mapper target `log-writes`.
//!
//! ```text
//! sector 0   magic, version, entries: u64 · sector size: u32
//! then, for each entry, whole sectors:
//!            first sector, sectors, flags, length of a mark: u64 · the data that was written
//! ```
//!
//! Little endian; first sector and length count in units of the log's sector size.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One thing that the disk was asked to do. Offsets and lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// All that came before is on the disk for good.
    pub(super) flush: bool,
    /// It is on the disk for good itself.
    pub(super) durable: bool,
    /// Where on the disk.
    pub(super) start: u64,
    /// 0 for a mere flush.
    pub(super) length: u64,
    /// Where in the log the data are; a discard has none, and is read as zeros.
    pub(super) data: Option<u64>,
}

/// How many entries a log has so far.
pub(super) fn count(path: &Path) -> Result<u64> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(head(&file)?.0)
}

/// All entries of a log, in their order.
pub(super) fn entries(log: &File) -> Result<Vec<Entry>> {
    let (count, sector) = head(log)?;
    let mut at = sector;
    let mut entries = Vec::new();
    for number in 0..count {
        let [first, sectors, flags, _] = words(log, at)?;
        ensure!(flags <= FLUSH | FUA | DISCARD, "entry {number} has the flags {flags:#x}");
        at += sector;
        let (start, length) = (first * sector, sectors * sector);
        let has_data = flags & DISCARD == 0;
        entries.push(Entry {
            flush: flags & FLUSH != 0,
            durable: flags & FUA != 0,
            start,
            length,
            data: has_data.then_some(at),
        });
        at += if has_data { length } else { 0 };
    }
    Ok(entries)
}

/// The number of entries, and the size of a sector.
fn head(log: &File) -> Result<(u64, u64)> {
    let [magic, version, count, sector] = words(log, 0)?;
    if (magic, version) != (MAGIC, VERSION) {
        bail!("not a log of writes: magic {magic:#x}, version {version}");
    }
    Ok((count, sector & u64::from(u32::MAX)))
}

fn words(log: &File, at: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; 32];
    log.read_exact_at(&mut bytes, at).with_context(|| format!("read the log at {at}"))?;
    let word = |index: usize| {
        let bytes = &bytes[index * 8..][..8];
        u64::from_le_bytes(bytes.try_into().expect("these are eight"))
    };
    Ok([word(0), word(1), word(2), word(3)])
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::{Entry, entries};

    /// Of sectors of 512 bytes: first sector, flags, data; a discard has its length as data.
    pub(in super::super) fn written(entries: &[(u64, u64, Vec<u8>)]) -> File {
        let mut log = tempfile::tempfile().expect("a file");
        let sector = |words: [u64; 4]| {
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector([super::MAGIC, 1, entries.len() as u64, 512]);
        for (first, flags, data) in entries {
            bytes.extend(sector([*first, data.len() as u64 / 512, *flags, 0]));
            if flags & super::DISCARD == 0 {
                bytes.extend(data);
            }
        }
        log.write_all(&bytes).expect("written");
        log
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let log = written(&[
            (8, 0, vec![1; 1024]),
            (0, super::FLUSH, vec![]),
            (2, super::DISCARD, vec![0; 512]),
            (1, super::FUA, vec![2; 512]),
        ]);
        let entry =
            |start, length, data| Entry { flush: false, durable: false, start, length, data };
        let expected = [
            entry(4096, 1024, Some(1024)),
            Entry { flush: true, ..entry(0, 0, Some(2560)) },
            entry(1024, 512, None),
            Entry { durable: true, ..entry(512, 512, Some(3584)) },
        ];
        assert_eq!(entries(&log).expect("a log"), expected);
        assert!(entries(&written(&[(0, 8, vec![])])).is_err(), "a mark");
        assert!(entries(&tempfile::tempfile().expect("a file")).is_err(), "nothing");
    }
}
