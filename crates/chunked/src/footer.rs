//! Where the TOC is, as the blob itself tells.
//!
//! ```text
//! └ skippable frame │ 50 2a 4d 18 │ 64 │ TOC: offset, length, decoded length │ 1
//!                                      │ tar-split: offset, length, decoded length
//!                                      │ "GNUlInUx"
//! ```
//!
//! All numbers are of eight bytes, little endian.

use std::io::{self, Read};

use storage_core::{Hasher, RangeReader, RangeSource, SourceError, TocDigest};

use crate::annotation::{Span, TocLocation};

/// Length of the frame: magic, length, payload.
pub(crate) const FOOTER_FRAME: u64 = 72;
/// What a skippable frame of 64 bytes begins with.
const HEADER: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 64, 0, 0, 0];
/// What the payload ends with.
pub(crate) const MAGIC: &[u8; 8] = b"GNUlInUx";
/// The only kind of TOC there is.
pub(crate) const KIND: u64 = 1;

/// A footer that leads nowhere, or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FooterError {
    /// The bytes did not come.
    #[error("read the end of the blob")]
    Source(#[from] SourceError),
    /// The bytes came in a way that breaks the promise of the source.
    #[error("read the end of the blob")]
    Read(#[source] io::Error),
    /// A TOC of a kind that is not known.
    #[error("the footer tells of a TOC of kind {0}, which is not known")]
    Kind(u64),
    /// A place outside of the blob, or one within another.
    #[error("the footer places the {what} where it cannot be")]
    Place {
        /// "TOC" or "tar-split".
        what: &'static str,
    },
}

impl TocLocation {
    /// Finds the TOC by the blob's own footer, for those who have nothing but the
    /// blob; `None` for a blob that has no such footer.
    ///
    /// Nothing vouches for such a TOC: its digest is computed from what stands
    /// there (one fetch of the compressed TOC), and proves nothing.
    ///
    /// # Errors
    ///
    /// If the blob cannot be read, or the footer leads out of it.
    pub fn from_footer(source: &dyn RangeSource) -> Result<Option<Self>, FooterError> {
        let Some(start) = source.size().checked_sub(FOOTER_FRAME) else { return Ok(None) };
        let mut frame = [0; 72];
        RangeReader::new(source, start..source.size()).read_exact(&mut frame).map_err(cause)?;
        let (header, payload) = frame.split_at(HEADER.len());
        if header != HEADER || !payload.ends_with(MAGIC) {
            return Ok(None);
        }
        let numbers: [u64; 7] = numbers(payload);
        let span = |at: usize| Span {
            offset: numbers[at],
            length: numbers[at + 1],
            uncompressed: numbers[at + 2],
        };
        let (toc, kind, tar_split) = (span(0), numbers[3], span(4));
        if kind != KIND {
            return Err(FooterError::Kind(kind));
        }
        let tar_split = (tar_split.offset > 0).then_some(tar_split);
        check("TOC", &toc, start)?;
        if let Some(tar_split) = &tar_split {
            check("tar-split", tar_split, start)?;
            let apart = toc.end() <= Some(tar_split.offset) || tar_split.end() <= Some(toc.offset);
            if !apart {
                return Err(FooterError::Place { what: "tar-split" });
            }
        }
        Ok(Some(Self { toc_digest: digest(source, &toc)?, toc, tar_split }))
    }
}

/// The numbers that a footer begins with.
fn numbers<const N: usize>(payload: &[u8]) -> [u64; N] {
    let (numbers, _) = payload.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(numbers[i]))
}

fn check(what: &'static str, span: &Span, data_end: u64) -> Result<(), FooterError> {
    let fits = span.length > 0 && span.end().is_some_and(|end| end <= data_end);
    if fits { Ok(()) } else { Err(FooterError::Place { what }) }
}

/// The digest of what stands at `span`.
fn digest(source: &dyn RangeSource, span: &Span) -> Result<TocDigest, FooterError> {
    let mut reader = RangeReader::new(source, span.offset..span.offset + span.length);
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 64 << 10]);
    loop {
        match reader.read(&mut buffer).map_err(cause)? {
            0 => return Ok(hasher.finish().into()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn cause(error: io::Error) -> FooterError {
    match error.downcast::<SourceError>() {
        Ok(source) => FooterError::Source(source),
        Err(error) => FooterError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use storage_core::{BytesSource, Digest};

    use super::*;
    use crate::write::{WriteOptions, write_blob};

    fn blob() -> (Vec<u8>, TocLocation) {
        let mut blob = Vec::new();
        let written = write_blob(&[0; 1024][..], &mut blob, &WriteOptions::default()).unwrap();
        let annotations = written.annotations.iter().map(|(key, value)| (&**key, &**value));
        (blob, TocLocation::from_annotations(annotations).unwrap().unwrap())
    }

    fn locate(blob: &[u8]) -> Result<Option<TocLocation>, FooterError> {
        TocLocation::from_footer(&BytesSource::new(blob.to_vec()))
    }

    /// The blob with number `index` of its footer replaced.
    fn with(blob: &[u8], index: usize, number: u64) -> Vec<u8> {
        let mut blob = blob.to_vec();
        let at = blob.len() - 64 + 8 * index;
        blob[at..at + 8].copy_from_slice(&number.to_le_bytes());
        blob
    }

    #[test]
    fn the_footer_leads_where_the_annotations_do() {
        let (blob, location) = blob();
        assert_eq!(locate(&blob).unwrap(), Some(location));
    }

    #[test]
    fn the_digest_is_that_of_what_stands_there() {
        let (mut blob, location) = blob();
        let at = usize::try_from(location.toc.offset).unwrap();
        blob[at] ^= 1;
        let length = usize::try_from(location.toc.length).unwrap();
        let expected = Digest::of(&blob[at..at + length]);
        assert_eq!(*locate(&blob).unwrap().unwrap().toc_digest.digest(), expected);
    }

    #[test]
    fn what_has_no_footer_has_no_location() {
        let (blob, _) = blob();
        let end = blob.len();
        let mut other_length = blob.clone();
        other_length[end - 68] = 65;
        for blob in [&[][..], &blob[..end - 1], &blob[end - 71..], &[0; 500], &other_length] {
            assert_eq!(locate(blob).unwrap(), None);
        }
        assert!(locate(&with(&blob, 7, 0)).unwrap().is_none());
    }

    #[test]
    fn a_footer_that_leads_out_of_the_blob_is_refused() {
        let (blob, location) = blob();
        let size = blob.len() as u64;
        for (index, number) in [
            (0, size),
            (0, u64::MAX),
            (1, 0),
            (1, size),
            (4, size - 72),
            (5, 0),
            (4, location.toc.offset),
        ] {
            let error = locate(&with(&blob, index, number)).unwrap_err();
            assert!(matches!(error, FooterError::Place { .. }), "{index} {number}: {error}");
        }
        assert!(matches!(locate(&with(&blob, 3, 2)), Err(FooterError::Kind(2))));
        assert_eq!(locate(&with(&blob, 4, 0)).unwrap().unwrap().tar_split, None);
    }
}
