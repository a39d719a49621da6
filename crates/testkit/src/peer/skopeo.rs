//! skopeo: copies of images from one place and form to another.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Sid;
use crate::judge;

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    Keep,
    /// gzip.
    Gzip,
    /// One plain zstd stream.
    Zstd,
    /// zstd:chunked.
    Chunked,
}

impl Compression {
    /// A word for file names and tags.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Chunked => "chunked",
        }
    }

    /// What skopeo's `copy` is told.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            // Without this, skopeo compresses what goes to a registry.
            Self::Keep => &["--preserve-digests"],
            Self::Gzip => &["--dest-compress-format=gzip", "--dest-force-compress-format"],
            Self::Zstd => &["--dest-compress-format=zstd", "--dest-force-compress-format"],
            Self::Chunked => {
                &["--dest-compress-format=zstd:chunked", "--dest-force-compress-format"]
            }
        }
    }
}

impl Sid {
    /// Copies an image; `shared` are the directories that the references name.
    ///
    /// # Errors
    ///
    /// If skopeo fails.
    pub fn copy(&self, shared: &[&Path], from: &str, to: &str, how: Compression) -> Result<()> {
        judge::run(self.skopeo_copy(shared, how).args([from, to]))
    }

    /// `skopeo copy`, without the two references.
    pub fn skopeo_copy(&self, shared: &[&Path], how: Compression) -> Command {
        let mut command = self.command(shared, "skopeo");
        command.args(["--insecure-policy", "copy", "--quiet"]);
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        command.args(how.options());
        command
    }
}
