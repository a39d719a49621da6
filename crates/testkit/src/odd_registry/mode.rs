//! The ways to misbehave.

use super::tokens::Tokens;

/// What a registry does wrong, when layers are asked for unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Right,
    /// All of the blob and 200 for a range.
    WholeForRange,
    /// 206 with another range than was asked for, as it says itself.
    Shifted,
    /// 206 with other bytes than those of the range that it names.
    ShiftedInSecret,
    /// 206 with half of the range, as it says itself.
    Short,
    /// 206 without saying which range.
    NoContentRange,
    /// 206 with a range of a blob of another size.
    OtherTotal,
    /// For several ranges one that has them all.
    Merged,
    /// For several ranges the parts from the last to the first.
    Reordered,
    /// For several ranges only the first.
    FirstOnly,
    /// This status for every range.
    StatusForRange(u16),
    /// This status for everything of a blob.
    Status(u16),
    /// This status when something is asked for first, with `Retry-After: 0`.
    StatusAtFirst(u16),
    /// 429 with a pause of a day.
    BusyForADay,
    /// Bodies end in their middle, and the connection with them.
    Cut,
    /// Connections end before an answer.
    NoAnswer,
    /// Bodies never begin.
    Stalls,
    /// What is asked for first stops in its middle.
    StallsAtFirst,
    /// Bodies go on with other bytes behind their end.
    ExtraBytes,
    /// Bodies go on for ever.
    Endless,
    /// A length that is larger than the body.
    LengthTooLarge,
    /// A length that is smaller than the body.
    LengthTooSmall,
    /// No length; the end of the connection is the end of the body.
    NoLength,
    /// A byte of each body is another.
    Flipped,
    /// A content encoding that nobody asked for.
    Encoded,
    /// Blobs are `text/html`.
    BlobIsAPage,
    /// The manifest is said to be of this type.
    ManifestIsCalled(&'static str),
    /// The manifest has no type at all.
    ManifestHasNoType,
    /// The manifest is another one than its digest says.
    ManifestOfOtherDigest,
    /// The manifest has no end.
    ManifestEndless,
    /// An index stands before the manifest, and is said to be of this type.
    IndexIsCalled(&'static str),
    /// An index stands before the manifest, and says that this is of this type.
    IndexCallsManifest(&'static str),
    /// Blobs are elsewhere: on the second server, which has them.
    RedirectElsewhere,
    /// The same, with this status.
    RedirectBy(u16),
    /// The same, and the registry and the second server are reached by HTTPS.
    RedirectProtected,
    /// The same, and only the second server is reached by HTTPS.
    RedirectUp,
    /// The same, and only the registry is reached by HTTPS.
    RedirectDown,
    /// Blobs are elsewhere, where only a login would help.
    RedirectToALogin,
    /// Blobs are elsewhere, which says that they are here.
    RedirectThereAndBack,
    /// Blobs are here, by another name of this host.
    RedirectToOtherName,
    /// Redirects in a circle.
    RedirectInACircle,
    /// Redirects to this place.
    RedirectTo(&'static str),
    /// A redirect without a place.
    RedirectToNowhere,
    /// 100,000 headers.
    ManyHeaders,
    /// No HTTP at all.
    NoHttp,
    /// Nothing, by HTTPS.
    Protected,
    /// A certificate of an authority that the client does not know.
    UnknownAuthority,
    /// A certificate for another host.
    CertificateOfAnother,
    /// It says that it wants this, and takes a login.
    AsksFor(&'static str),
    /// It wants tokens.
    Tokens(Tokens),
}

impl Mode {
    /// Whether the registry itself is reached by HTTPS.
    pub(super) fn protects_registry(self) -> bool {
        match self {
            Self::Protected
            | Self::UnknownAuthority
            | Self::CertificateOfAnother
            | Self::RedirectProtected
            | Self::RedirectDown => true,
            Self::Tokens(tokens) => tokens.are_protected(),
            _ => false,
        }
    }

    /// Whether the second server is reached by HTTPS.
    pub(super) fn protects_elsewhere(self) -> bool {
        matches!(self, Self::RedirectProtected | Self::RedirectUp)
    }

    /// For whom the certificate of the registry is.
    pub(super) fn name(self) -> &'static str {
        if self == Self::CertificateOfAnother { "another.example" } else { "127.0.0.1" }
    }
}
