//! Where the TOC is, and which digest is trusted.

use storage_core::{DigestError, TocDigest};

pub(crate) const TOC_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
pub(crate) const TOC_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
pub(crate) const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";
const ESTARGZ_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// The only kind of TOC there is; the fourth number of its position.
const KIND: u64 = 1;

/// Whether an annotation speaks of the TOC of one blob, and is wrong beside another.
///
/// ```
/// assert!(chunked::is_toc_annotation("io.github.containers.zstd-chunked.manifest-checksum"));
/// assert!(!chunked::is_toc_annotation("org.example.note"));
/// ```
pub fn is_toc_annotation(key: &str) -> bool {
    let families = ["io.github.containers.zstd-chunked.", "io.containers.estargz."];
    key == ESTARGZ_DIGEST || families.iter().any(|family| key.starts_with(family))
}

/// A compressed payload inside a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset in the blob of its first byte (a zstd frame inside a skippable one).
    pub offset: u64,
    /// Compressed length.
    pub length: u64,
    /// Length once decoded, as the producer says; a hint, never relied upon.
    pub uncompressed: u64,
}

impl Span {
    /// Offset just after the last byte; `None` if it overflows.
    pub(crate) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// Where a blob's TOC and tar-split are, from the annotations of its layer.
///
/// The digest is trusted as the manifest is. The positions need no trust:
/// what stands there is checked against digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocLocation {
    /// Of the compressed TOC.
    pub toc_digest: TocDigest,
    /// Where the TOC is.
    pub toc: Span,
    /// Where tar-split is; blobs of old producers have none.
    pub tar_split: Option<Span>,
}

/// Annotations that contradict themselves; the layer can still be pulled in full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationError {
    /// Both a zstd:chunked and an eStargz TOC are claimed.
    #[error("annotations claim both a zstd:chunked and an eStargz TOC")]
    TwoFormats,
    /// A digest without the position that belongs to it.
    #[error("annotation {TOC_POSITION} is missing")]
    NoPosition,
    /// The TOC's digest is none.
    #[error("annotation {TOC_DIGEST}")]
    Digest(#[source] DigestError),
    /// A position that is not made of numbers, or not of enough.
    #[error("annotation {key} has the value {value:?}, which is no position")]
    Position {
        /// Name of the annotation.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A TOC of a kind that is not known.
    #[error("TOC is of kind {0}, which is not known")]
    Kind(u64),
}

impl AnnotationError {
    /// Whether the annotations, and not the tar in the blob, are at fault: always.
    pub fn is_lie_of_the_toc(&self) -> bool {
        true
    }
}

impl TocLocation {
    /// Finds the TOC from a layer's annotations; `None` for a layer without a
    /// zstd:chunked TOC (plain, or eStargz).
    ///
    /// # Errors
    ///
    /// If the annotations contradict themselves.
    pub fn from_annotations<'a>(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, AnnotationError> {
        let (mut digest, mut toc, mut tar_split, mut estargz) = (None, None, None, false);
        for (key, value) in annotations {
            match key {
                TOC_DIGEST => digest = Some(value),
                TOC_POSITION => toc = Some(value),
                TAR_SPLIT_POSITION => tar_split = Some(value),
                ESTARGZ_DIGEST => estargz = true,
                _ => {}
            }
        }
        let Some(digest) = digest else { return Ok(None) };
        if estargz {
            return Err(AnnotationError::TwoFormats);
        }
        let toc_digest = digest.parse().map_err(AnnotationError::Digest)?;
        let [offset, length, uncompressed, kind] =
            numbers(TOC_POSITION, toc.ok_or(AnnotationError::NoPosition)?)?;
        if kind != KIND {
            return Err(AnnotationError::Kind(kind));
        }
        let toc = Span { offset, length, uncompressed };
        let tar_split = match tar_split {
            None => None,
            Some(value) => {
                let [offset, length, uncompressed] = numbers(TAR_SPLIT_POSITION, value)?;
                (offset > 0).then_some(Span { offset, length, uncompressed })
            }
        };
        Ok(Some(Self { toc_digest, toc, tar_split }))
    }
}

/// `N` decimal numbers with colons between them.
///
/// What follows the last number is ignored, as the readers in use do.
fn numbers<const N: usize>(key: &'static str, value: &str) -> Result<[u64; N], AnnotationError> {
    let wrong = || AnnotationError::Position { key, value: value.into() };
    let mut numbers = [0; N];
    let mut parts = value.splitn(N, ':');
    for (i, number) in numbers.iter_mut().enumerate() {
        let mut part = parts.next().ok_or_else(wrong)?;
        if i + 1 == N {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part = &part[..digits];
        }
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        *number = part.parse().map_err(|_| wrong())?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn locate(annotations: &[(&str, &str)]) -> Result<Option<TocLocation>, AnnotationError> {
        TocLocation::from_annotations(annotations.iter().copied())
    }

    #[test]
    fn a_layer_without_the_digest_has_no_toc() {
        assert_eq!(locate(&[]), Ok(None));
        assert_eq!(locate(&[(ESTARGZ_DIGEST, DIGEST)]), Ok(None));
        assert_eq!(locate(&[(TOC_POSITION, "1:2:3:1")]), Ok(None));
    }

    #[test]
    fn positions_are_read() {
        let found = locate(&[
            (TOC_DIGEST, DIGEST),
            (TOC_POSITION, "100:20:300:1"),
            (TAR_SPLIT_POSITION, "128:40:500"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.toc, Span { offset: 100, length: 20, uncompressed: 300 });
        let tar_split = Span { offset: 128, length: 40, uncompressed: 500 };
        assert_eq!(found.tar_split, Some(tar_split));
        assert_eq!(found.toc_digest, DIGEST.parse().unwrap());
    }

    #[test]
    fn what_follows_a_position_is_ignored_and_offset_zero_means_absent() {
        let found = locate(&[
            (TOC_DIGEST, DIGEST),
            (TOC_POSITION, "1:2:3:1:and more"),
            (TAR_SPLIT_POSITION, "0:0:0"),
        ]);
        assert_eq!(found.unwrap().unwrap().tar_split, None);
    }

    #[test]
    fn contradictions_are_errors() {
        let both = [(TOC_DIGEST, DIGEST), (ESTARGZ_DIGEST, DIGEST), (TOC_POSITION, "1:2:3:1")];
        assert_eq!(locate(&both), Err(AnnotationError::TwoFormats));
        assert_eq!(locate(&[(TOC_DIGEST, DIGEST)]), Err(AnnotationError::NoPosition));
        let kind = [(TOC_DIGEST, DIGEST), (TOC_POSITION, "1:2:3:2")];
        assert_eq!(locate(&kind), Err(AnnotationError::Kind(2)));
        for position in
            ["", "1", "1:2:3", "1:2:3:", "-1:2:3:1", "+1:2:3:1", "18446744073709551616:2:3:1"]
        {
            let bad = [(TOC_DIGEST, DIGEST), (TOC_POSITION, position)];
            assert!(matches!(locate(&bad), Err(AnnotationError::Position { .. })), "{position}");
        }
        let bad = [(TOC_DIGEST, "sha256:00"), (TOC_POSITION, "1:2:3:1")];
        assert!(matches!(locate(&bad), Err(AnnotationError::Digest(_))));
    }
}
