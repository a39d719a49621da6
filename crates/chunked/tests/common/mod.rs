//! What the tests of unpacking share.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod blob;
pub(crate) mod pull;
pub(crate) mod sources;
pub(crate) mod tree;

use std::fs::File;
use std::os::fd::AsFd;

use ::tree::Privileges;
use chunked::{LocalLayer, Proved, Reuse, TocLocation, UnpackError, UnpackOptions, aside, unpack};
use storage_core::{Dirs, RangeSource};

use blob::Built;

/// The three directories of a layer, in one temporary one.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) dest: File,
    pub(crate) aside: File,
    pub(crate) scratch: File,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::below(std::env::temp_dir())
    }

    pub(crate) fn below(parent: impl AsRef<std::path::Path>) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let open = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            File::open(dir.path().join(name)).unwrap()
        };
        let (dest, aside, scratch) = (open("dest"), open("aside"), open("scratch"));
        Self { dir, dest, aside, scratch }
    }

    pub(crate) fn dirs(&self) -> Dirs<'_> {
        Dirs { dest: self.dest.as_fd(), aside: self.aside.as_fd(), scratch: self.scratch.as_fd() }
    }

    pub(crate) fn local(&self) -> LocalLayer<'_> {
        LocalLayer { dest: self.dest.as_fd(), aside: self.aside.as_fd() }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("dest").join(name)
    }

    pub(crate) fn list(&self) -> Vec<tree::Found> {
        tree::list(&self.dir.path().join("dest"))
    }

    /// What must hold after every unpacking, whatever came of it.
    pub(crate) fn check_scratch(&self) {
        let left = std::fs::read_dir(self.dir.path().join("scratch")).unwrap().count();
        assert_eq!(left, 0, "files left in scratch");
    }

    pub(crate) fn unpack(&self, built: &Built) -> Result<Proved, UnpackError> {
        self.unpack_from(&built.source(), built, Reuse::default(), &[])
    }

    pub(crate) fn unpack_from(
        &self,
        source: &dyn RangeSource,
        built: &Built,
        reuse: Reuse,
        local: &[&Stage],
    ) -> Result<Proved, UnpackError> {
        let mut options = UnpackOptions::new(privileges());
        options.reuse = reuse;
        options.local = local.iter().map(|stage| stage.local()).collect();
        let outcome = unpack(source, &built.location(), self.dirs(), built.diff_id, &options);
        self.check_scratch();
        outcome
    }
}

pub(crate) fn privileges() -> Privileges {
    if is_root() { Privileges::Root } else { Privileges::Unprivileged }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Built {
    pub(crate) fn location(&self) -> TocLocation {
        let annotations = self.annotations.iter().map(|(key, value)| (&**key, &**value));
        TocLocation::from_annotations(annotations).unwrap().unwrap()
    }

    /// The kept TOC must be the decoded payload, byte for byte.
    pub(crate) fn check_aside(&self, stage: &Stage) {
        let kept = std::fs::read(stage.dir.path().join("aside").join(aside::TOC)).unwrap();
        assert!(kept == self.toc);
        let kept = File::open(stage.dir.path().join("aside").join(aside::TAR_SPLIT)).unwrap();
        let mut tar_split = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(kept), &mut tar_split)
            .unwrap();
        assert!(tar_split == self.tar_split);
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
