//! TOC and tar-split of a blob: fetched, verified, kept, and compared.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags, openat};
use storage_core::{
    Digest, Dirs, FsError, FsResultExt, Hasher, RangeReader, RangeSource, SourceError, VerifyError,
};
use tarball::{SplitLimits, SplitPart, TarSplitEntries, TarSplitError};

use super::agree::Agreement;
use super::feed::{Fault, Feed};
use super::{Disagreement, Toc, TocError};
use crate::annotation::Span;
use crate::write::SKIPPABLE_HEADER;
use crate::{Limits, TocLocation, ZstdReader, aside};

const BUFFER: usize = 128 << 10;

/// What is known of a layer once its TOC and tar-split were read.
#[derive(Debug)]
pub struct Scanned {
    /// The entries.
    pub toc: Toc,
    /// Length of the uncompressed tar stream, as tar-split tells it; proved later
    /// with the DiffID.
    pub diff_size: u64,
}

/// A TOC and tar-split that could not be had or are not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The bytes did not come.
    #[error("fetch TOC and tar-split")]
    Source(#[from] SourceError),
    /// The bytes came in a way that breaks the promise of the source.
    #[error("fetch TOC and tar-split")]
    Range(#[source] io::Error),
    /// A file beside the layer could not be written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The layer has no tar-split, so that nothing could be proved.
    #[error("the layer has no tar-split")]
    NoTarSplit,
    /// The annotations point to a place that is not in the blob.
    #[error("the annotations place the {what} outside of the blob")]
    Place {
        /// "TOC" or "tar-split".
        what: &'static str,
    },
    /// A payload's digest is not the one that was promised.
    #[error("verify the {what}")]
    Verify {
        /// "TOC" or "tar-split".
        what: &'static str,
        /// Both digests.
        source: VerifyError,
    },
    /// A payload that is no zstd stream.
    #[error("decompress the {what}")]
    Decode {
        /// "TOC" or "tar-split".
        what: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// A payload that grows beyond the limits.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// "TOC" or "tar-split".
        what: &'static str,
        /// Decoded bytes that were allowed.
        limit: u64,
    },
    /// The TOC is malformed or contradicts itself.
    #[error(transparent)]
    Toc(#[from] TocError),
    /// The tar-split is malformed.
    #[error(transparent)]
    TarSplit(TarSplitError),
    /// TOC and tar-split tell of different layers.
    #[error(transparent)]
    Disagree(#[from] Disagreement),
}

impl ScanError {
    /// Whether TOC, tar-split or annotations are at fault or absent, so that a
    /// full pull may succeed.
    pub fn is_lie_of_the_toc(&self) -> bool {
        !matches!(self, Self::Source(_) | Self::Range(_) | Self::Fs(_))
    }
}

/// Fetches and reads TOC and tar-split, and keeps both in `dirs.aside`: the TOC
/// as its plain JSON in [`aside::TOC`], tar-split as gzip in [`aside::TAR_SPLIT`].
///
/// Afterwards both digests are verified, and TOC and tar-split agree entry by
/// entry. Neither was in memory whole. One fetch is made for both.
///
/// # Errors
///
/// As [`ScanError`] says; where [`ScanError::is_lie_of_the_toc`] is true, a full
/// pull of the layer may succeed. The files in `aside` may exist in part then.
pub fn scan(
    source: &dyn RangeSource,
    location: &TocLocation,
    dirs: Dirs<'_>,
    limits: &Limits,
) -> Result<Scanned, ScanError> {
    let tar_split = location.tar_split.ok_or(ScanError::NoTarSplit)?;
    let toc = Payload::new("TOC", location.toc, limits.toc, limits, source)?;
    let tar_split = Payload::new("tar-split", tar_split, limits.tar_split, limits, source)?;
    let overlap = toc.span.offset < tar_split.end && tar_split.span.offset < toc.end;
    if overlap {
        return Err(ScanError::Place { what: "tar-split" });
    }
    let spans = [toc.span.offset..toc.end, tar_split.span.offset..tar_split.end];
    let mut feed = Feed::new(source, &spans, dirs.scratch);
    let data_end = toc.span.offset.min(tar_split.span.offset).saturating_sub(SKIPPABLE_HEADER);

    let mut scanned = scan_toc(&toc, &mut feed, location, dirs.aside, limits, data_end)?;
    let digest = *scanned.tar_split_digest().ok_or(ScanError::NoTarSplit)?;
    let diff_size = scan_tar_split(&tar_split, &mut feed, &scanned, digest, dirs.aside, limits)?;
    scanned.received = feed.received();
    Ok(Scanned { toc: scanned, diff_size })
}

fn scan_toc(
    payload: &Payload,
    feed: &mut Feed<'_>,
    location: &TocLocation,
    aside: BorrowedFd<'_>,
    limits: &Limits,
    data_end: u64,
) -> Result<Toc, ScanError> {
    let mut file = create(aside, aside::TOC)?;
    let stream = payload.open(feed.reader(0), &mut file, aside::TOC)?;
    read_toc(payload, stream, location, limits, data_end)
}

/// Reads a TOC to its end and compares digests.
fn read_toc<R: Read, W: Write>(
    payload: &Payload,
    mut stream: Decoded<R, W>,
    location: &TocLocation,
    limits: &Limits,
    data_end: u64,
) -> Result<Toc, ScanError> {
    let toc = Toc::read_for(&mut stream, limits, data_end).map_err(|error| match error {
        TocError::Read(error) => payload.error(error),
        other => ScanError::Toc(other),
    });
    payload.check(toc, stream, location.toc_digest.digest())
}

impl Toc {
    /// Fetches and reads the TOC alone, to look at it.
    ///
    /// Its digest is verified; nothing is compared with tar-split, and nothing
    /// kept. The JSON was not in memory whole.
    ///
    /// # Errors
    ///
    /// As for [`scan`].
    pub fn fetch(
        source: &dyn RangeSource,
        location: &TocLocation,
        limits: &Limits,
    ) -> Result<Self, ScanError> {
        let payload = Payload::new("TOC", location.toc, limits.toc, limits, source)?;
        let reader = Alone(RangeReader::new(source, payload.span.offset..payload.end));
        let stream = payload.open(reader, io::sink(), aside::TOC)?;
        let data_end = payload.span.offset.saturating_sub(SKIPPABLE_HEADER);
        let mut toc = read_toc(&payload, stream, location, limits, data_end)?;
        toc.received = payload.span.length;
        Ok(toc)
    }
}

/// A payload that is fetched alone.
struct Alone(RangeReader);

impl Read for Alone {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failed = |error: io::Error| match error.downcast::<SourceError>() {
            Ok(source) => Fault::Source(source).into(),
            Err(error) => error,
        };
        self.0.read(buffer).map_err(failed)
    }
}

fn scan_tar_split(
    payload: &Payload,
    feed: &mut Feed<'_>,
    toc: &Toc,
    digest: Digest,
    aside: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<u64, ScanError> {
    let file = create(aside, aside::TAR_SPLIT)?;
    let mut gzip = GzEncoder::new(file, Compression::fast());
    let mut stream = payload.open(feed.reader(1), &mut gzip, aside::TAR_SPLIT)?;
    let size = compare(&mut stream, toc, limits).map_err(|error| match error {
        ScanError::TarSplit(TarSplitError::Read(error)) => payload.error(error),
        other => other,
    });
    let size = payload.check(size, stream, &digest)?;
    gzip.finish().during("write", aside::TAR_SPLIT)?;
    Ok(size)
}

/// Reads a tar-split to its end; returns the size of its tar.
fn compare(stream: &mut impl io::BufRead, toc: &Toc, limits: &Limits) -> Result<u64, ScanError> {
    let mut split_limits = SplitLimits::default();
    split_limits.total_bytes = limits.tar_split;
    split_limits.entries = limits.entries;
    let mut tar_limits = tarball::Limits::default();
    tar_limits.entries = limits.entries;
    let mut agreement = Agreement::new(toc);
    let mut parts = TarSplitEntries::new(stream, split_limits, tar_limits);
    for part in &mut parts {
        if let SplitPart::File { entry, .. } = part.map_err(ScanError::TarSplit)? {
            agreement.compare(&entry)?;
        }
    }
    agreement.finish()?;
    Ok(parts.tar_size())
}

/// One of the two payloads.
#[derive(Debug)]
struct Payload {
    what: &'static str,
    span: Span,
    end: u64,
    /// Most bytes that may come out.
    limit: u64,
    window_log: u32,
}

impl Payload {
    fn new(
        what: &'static str,
        span: Span,
        limit: u64,
        limits: &Limits,
        source: &dyn RangeSource,
    ) -> Result<Self, ScanError> {
        let end = span.end().filter(|&end| end <= source.size() && span.length > 0);
        let end = end.ok_or(ScanError::Place { what })?;
        if span.uncompressed > limit || span.length > limit {
            return Err(ScanError::TooLarge { what, limit });
        }
        let grown = span.length.saturating_mul(limits.expansion);
        let limit = limit.min(grown.saturating_add(Limits::EXPANSION_FREE));
        Ok(Self { what, span, end, limit, window_log: limits.window_log })
    }

    /// What `compressed` decodes to, copied to `copy` as it is read.
    fn open<R: Read, W: Write>(
        &self,
        compressed: R,
        copy: W,
        name: &'static str,
    ) -> Result<Decoded<R, W>, ScanError> {
        let hashed = Hashed { inner: compressed, hasher: Hasher::new() };
        let hashed = BufReader::with_capacity(BUFFER, hashed);
        let zstd = ZstdReader::with_window_log(hashed, self.window_log);
        let zstd = zstd.map_err(|error| self.error(error))?;
        let buffer = vec![0; BUFFER];
        Ok(Decoded { zstd, copy, name, left: self.limit, limit: self.limit, buffer, unread: 0..0 })
    }

    /// `result`, if all was read and the compressed bytes have the digest `expected`.
    fn check<T, R: Read, W: Write>(
        &self,
        result: Result<T, ScanError>,
        mut stream: Decoded<R, W>,
        expected: &Digest,
    ) -> Result<T, ScanError> {
        let result = result?;
        let rest = stream.fill_buf().map_err(|error| self.error(error))?;
        debug_assert!(rest.is_empty(), "both readers read to the end");
        let actual = stream.zstd.into_inner().into_inner().hasher.finish();
        if actual != *expected {
            let source = VerifyError::Digest { expected: *expected, actual };
            return Err(ScanError::Verify { what: self.what, source });
        }
        Ok(result)
    }

    fn error(&self, error: io::Error) -> ScanError {
        let what = self.what;
        match error.downcast::<Fault>() {
            Ok(Fault::Source(source)) => ScanError::Source(source),
            Ok(Fault::Fs(error)) => ScanError::Fs(error),
            Ok(Fault::TooLarge { limit }) => ScanError::TooLarge { what, limit },
            Ok(fault @ (Fault::Order { .. } | Fault::Short { .. })) => {
                ScanError::Range(fault.into())
            }
            Err(source) => ScanError::Decode { what, source },
        }
    }
}

fn create(aside: BorrowedFd<'_>, name: &'static str) -> Result<File, FsError> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(aside, name, flags, Mode::RUSR | Mode::WUSR).during("create", name)?.into())
}

/// Hashes what is read through it.
#[derive(Debug)]
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// A payload as it is decoded; every byte is also written to `copy`.
struct Decoded<R: Read, W> {
    zstd: ZstdReader<BufReader<Hashed<R>>>,
    copy: W,
    name: &'static str,
    left: u64,
    limit: u64,
    buffer: Vec<u8>,
    unread: Range<usize>,
}

impl<R: Read, W: Write> BufRead for Decoded<R, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            let n = self.zstd.read(&mut self.buffer)?;
            let too_large = Fault::TooLarge { limit: self.limit };
            self.left = self.left.checked_sub(n as u64).ok_or(too_large)?;
            self.copy.write_all(&self.buffer[..n]).during("write", self.name).map_err(Fault::Fs)?;
            self.unread = 0..n;
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + amount);
    }
}

impl<R: Read, W: Write> Read for Decoded<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use storage_core::BytesSource;

    use super::*;

    #[test]
    fn what_comes_out_is_limited_by_what_goes_in() {
        let limits = Limits::default();
        let source = BytesSource::new(vec![0; 1000]);
        let payload = |length, uncompressed| {
            let span = Span { offset: 1, length, uncompressed };
            Payload::new("TOC", span, limits.toc, &limits, &source).map(|payload| payload.limit)
        };
        assert_eq!(payload(999, 1).unwrap(), Limits::EXPANSION_FREE + 999_000);
        for (length, uncompressed) in [(1000, 1), (0, 1), (u64::MAX, 1)] {
            assert!(matches!(payload(length, uncompressed), Err(ScanError::Place { .. })));
        }
        assert!(matches!(payload(1, (1 << 30) + 1), Err(ScanError::TooLarge { .. })));
    }
}
