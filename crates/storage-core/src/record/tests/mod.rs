//! Laws of the record files, and the stores at work.

mod damage;
mod images;
mod layers;
mod others;
mod round_trip;

use std::fs::File;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::{ImageId, LayerId, LayerRecord};

/// A root that vanishes with the test.
struct Root {
    directory: TempDir,
    handle: File,
}

impl Root {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let handle = File::open(directory.path()).unwrap();
        Self { directory, handle }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with its directory.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A new file is cheap; some filesystems flush one that is overwritten.
        drop(std::fs::remove_file(&path));
        std::fs::write(path, content).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn layer_id(n: u32) -> LayerId {
    format!("{n:064x}").parse().unwrap()
}

fn image_id(n: u32) -> ImageId {
    format!("{n:064x}").parse().unwrap()
}

fn layer(n: u32) -> LayerRecord {
    LayerRecord::new(layer_id(n))
}
