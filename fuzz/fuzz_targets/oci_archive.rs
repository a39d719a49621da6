//! A layout in a tar: its files are those that the reader of layers finds there.
#![no_main]

use std::collections::HashMap;
use std::io::Read as _;

use laws::{bounded, file};
use libfuzzer_sys::fuzz_target;
use storage_core::{EntryKind, LayerPath};
use tarball::{Limits, TarReader};
use transport::{ImageSource as _, OciLayout, Platform};

fuzz_target!(|archive: &[u8]| {
    let (file, _) = file(archive);
    let limit = (4 << 20) + 40 * archive.len();
    let another = file.try_clone().expect("descriptors are left");
    let files = bounded(limit, || transport::fuzzing::archive(another));
    if let (Ok(files), Some(entries)) = (files, entries(archive)) {
        for (name, content) in &files {
            assert_eq!(entries.get(name), Some(content), "{name}");
        }
        assert_eq!(files.len(), entries.len());
    }
    let Ok(layout) = bounded(limit, || OciLayout::open_archive(file, None)) else { return };
    let platform = Platform::new("linux", "amd64");
    let Ok(image) = bounded(limit, || layout.resolve(&platform)) else { return };
    for layer in image.layers {
        if let Ok(blob) = layout.blob(&layer.digest, layer.size) {
            assert!(blob.size() == layer.size && layer.size <= archive.len() as u64);
        }
    }
});

/// Contents of regular files by their clean names, where the last of a name counts; `None`
/// if this is no tar that layers could be in.
fn entries(archive: &[u8]) -> Option<HashMap<LayerPath, Vec<u8>>> {
    let mut reader = TarReader::new(archive, Limits::default(), ());
    let mut files = HashMap::new();
    while let Some(entry) = reader.next_entry().ok()? {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).ok()?;
        if entry.kind == EntryKind::Regular
            && let Ok(path) = LayerPath::parse(&entry.name)
        {
            files.insert(path, content);
        }
    }
    Some(files)
}
