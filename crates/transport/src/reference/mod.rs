//! Names of images as a user writes them.

mod docker;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use docker::DockerReference;

/// Where an image is, in the notation that skopeo and podman share.
///
/// Parsing what [`Display`](fmt::Display) writes gives the same reference back.
///
/// ```
/// use transport::Reference;
///
/// let short: Reference = "docker://alpine".parse()?;
/// assert_eq!(short.to_string(), "docker://docker.io/library/alpine:latest");
/// let layout: Reference = "oci:images/app:v1".parse()?;
/// assert_eq!(layout.to_string(), "oci:images/app:v1");
/// # Ok::<(), transport::ReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// `docker://host[:port]/repository[:tag][@digest]`: an image in a registry.
    Docker(DockerReference),
    /// `oci:DIR[:tag]`: a directory in the OCI image layout.
    OciLayout {
        /// The directory; its name holds no colon.
        dir: PathBuf,
        /// The `org.opencontainers.image.ref.name` of the image; none means the only image.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:tag]`: a tar file of an OCI image layout.
    OciArchive {
        /// The file; its name holds no colon.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
    /// `containers-storage:NAME`: an image in a local store, which this crate does not open.
    ContainersStorage(String),
}

/// Text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// None of the known words before the first colon.
    #[error("{0:?} does not begin with docker://, oci:, oci-archive: or containers-storage:")]
    Transport(String),
    /// No directory, file or image name after the transport.
    #[error("{0:?} names nothing after its transport")]
    Empty(String),
    /// A repository that a registry would not take.
    #[error(
        "repository {0:?} is not made of lower-case letters and digits, with single separators \
         (. _ __ -) inside its parts"
    )]
    Repository(String),
    /// A host or port that cannot be one.
    #[error("{0:?} is not a registry host, with a port or without")]
    Host(String),
    /// A tag with characters that tags do not have.
    #[error("tag {0:?} is not made of letters, digits, '_', '.' and '-', 128 of them at most")]
    Tag(String),
    /// A tag of a layout with characters that its annotation does not take.
    #[error("layout tag {0:?} is not made of letters, digits and separators (- . _ : @ / +)")]
    LayoutTag(String),
    /// A broken digest after the `@`.
    #[error(transparent)]
    Digest(#[from] storage_core::DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let unknown = || ReferenceError::Transport(text.into());
        let (transport, rest) = text.split_once(':').ok_or_else(unknown)?;
        let rest = match transport {
            "docker" => rest.strip_prefix("//").ok_or_else(unknown)?,
            "oci" | "oci-archive" | "containers-storage" => rest,
            _ => return Err(unknown()),
        };
        if rest.is_empty() || rest.starts_with(':') {
            return Err(ReferenceError::Empty(text.into()));
        }
        Ok(match transport {
            "docker" => Self::Docker(rest.parse()?),
            "containers-storage" => Self::ContainersStorage(rest.into()),
            _ => {
                let (path, tag) = path_and_tag(rest)?;
                if transport == "oci" {
                    Self::OciLayout { dir: path, tag }
                } else {
                    Self::OciArchive { file: path, tag }
                }
            }
        })
    }
}

/// Splits at the first colon, as other tools do: a path with a colon cannot be written.
fn path_and_tag(text: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (path, tag) = match text.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (text, None),
    };
    match tag {
        // `oci:DIR:` is what scripts write for an empty variable; others read it so, too.
        None | Some("") => Ok((path.into(), None)),
        Some(tag) if is_layout_tag(tag) => Ok((path.into(), Some(tag.into()))),
        Some(tag) => Err(ReferenceError::LayoutTag(tag.into())),
    }
}

/// The letters of `org.opencontainers.image.ref.name`, which often holds a whole image name.
fn is_layout_tag(tag: &str) -> bool {
    tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:@/+".contains(&b))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Self::Docker(docker) => return write!(f, "docker://{docker}"),
            Self::ContainersStorage(name) => return write!(f, "containers-storage:{name}"),
            Self::OciLayout { dir, tag } => ("oci", dir, tag),
            Self::OciArchive { file, tag } => ("oci-archive", file, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests;
