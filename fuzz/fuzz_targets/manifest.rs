//! Documents of an image: the outermost, a manifest and a config, with zero bytes between.
#![no_main]

use laws::bounded;
use libfuzzer_sys::fuzz_target;
use transport::fuzzing::image;
use transport::{Platform, media_type};

fuzz_target!(|input: &[u8]| {
    let mut documents = input.splitn(3, |&byte| byte == 0);
    let mut next = || documents.next().unwrap_or_default();
    let documents = [next(), next(), next()];
    let platform = Platform::new("linux", "amd64");
    for outside in [media_type::OCI_MANIFEST, media_type::OCI_INDEX, ""] {
        let limit = (1 << 20) + 60 * input.len();
        let Ok(image) = bounded(limit, || image(documents, outside, &platform)) else { continue };
        let inner = image.index.is_some();
        assert_eq!(image.manifest.bytes, documents[usize::from(inner)]);
        assert_eq!(image.config.bytes, documents[2]);
        assert!(image.layers.iter().all(|layer| layer.media_type.len() <= input.len()));
    }
});
