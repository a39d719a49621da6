//! The media types of images.

use crate::Compression;

/// An image manifest of the OCI.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests of the OCI.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image's config of the OCI.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer of the OCI: a plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer of the OCI: a tar compressed by gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer of the OCI: a tar compressed by zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// An image manifest of Docker, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A list of manifests of Docker.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// An image's config of Docker.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry is asked for, best first.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What a manifest's media type says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Index,
}

/// The kind of document that a media type stands for.
pub(crate) fn kind(media_type: &str) -> Option<Kind> {
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => Some(Kind::Manifest),
        OCI_INDEX | DOCKER_LIST => Some(Kind::Index),
        _ => None,
    }
}

/// What a layer's media type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Tar(Compression),
    Foreign,
    Sentinel,
    Unknown,
}

/// Sorts the media types of layers.
pub(crate) fn layer(media_type: &str) -> Layer {
    match media_type {
        OCI_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => Layer::Tar(Compression::None),
        OCI_LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Layer::Tar(Compression::Gzip)
        }
        OCI_LAYER_ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Layer::Tar(Compression::Zstd)
        }
        "application/vnd.containers.zstd-chunked-sentinel" => Layer::Sentinel,
        other
            if other.starts_with("application/vnd.oci.image.layer.nondistributable.")
                || other.starts_with("application/vnd.docker.image.rootfs.foreign.") =>
        {
            Layer::Foreign
        }
        _ => Layer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_by_their_media_type() {
        for (media_type, expected) in [
            (OCI_LAYER, Layer::Tar(Compression::None)),
            (OCI_LAYER_GZIP, Layer::Tar(Compression::Gzip)),
            (OCI_LAYER_ZSTD, Layer::Tar(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Layer::Tar(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Layer::Foreign),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Layer::Foreign),
            ("application/vnd.containers.zstd-chunked-sentinel", Layer::Sentinel),
            ("application/vnd.oci.image.layer.v1.tar+brotli", Layer::Unknown),
            ("", Layer::Unknown),
        ] {
            assert_eq!(layer(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn a_registry_is_asked_for_every_kind_that_is_read() {
        assert!(ACCEPT.split(", ").all(|media_type| kind(media_type).is_some()), "{ACCEPT}");
        assert_eq!(ACCEPT.split(", ").count(), 4);
    }
}
