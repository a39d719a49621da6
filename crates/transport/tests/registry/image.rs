//! An image, and how a good registry serves it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use storage_core::{BlobDigest, Digest, RangeSource};
use transport::{ImageSource, Options, Platform, Registry, TransportError, media_type};

use testkit::http::{Answer, Request, Server};

/// Documents and blobs by their digests, documents also by their tags.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(crate) layer: BlobDigest,
    pub(crate) size: u64,
}

/// Bytes that differ everywhere, so that a byte in a wrong place is seen.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = std::iter::from_fn(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(state.to_be_bytes()[0])
    });
    next.take(size).collect()
}

impl Image {
    /// An image `app:v1` for any platform, of one layer with `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        let (blobs, manifests) = (BTreeMap::new(), BTreeMap::new());
        let layer = Digest::of(b"").into();
        let mut image = Self { blobs, manifests, layer, size: size as u64 };
        image.layer = image.put(content(size)).parse().unwrap();
        let diff_id = Digest::of(b"the tar");
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
        let config_size = config.len();
        let config = image.put(config.into_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{config}","size":{config_size}}},
            "layers":[{{"mediaType":"{}","digest":"{}","size":{size},"annotations":{{"a":"b"}}}}]}}"#,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER_ZSTD,
            image.layer,
        );
        image.put_manifest("v1", media_type::OCI_MANIFEST, &manifest);
        image
    }

    pub(crate) fn put(&mut self, content: Vec<u8>) -> String {
        let digest = Digest::of(&content).to_string();
        self.blobs.insert(digest.clone(), content);
        digest
    }

    pub(crate) fn put_manifest(&mut self, tag: &str, media_type: &str, text: &str) -> String {
        let digest = Digest::of(text.as_bytes()).to_string();
        for name in [tag, &digest] {
            let manifest = (media_type.to_owned(), text.as_bytes().to_vec());
            self.manifests.insert(name.into(), manifest);
        }
        digest
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.blobs[&self.layer.to_string()]
    }

    /// What a good registry answers.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let path = request.target.split('?').next().unwrap();
        if path == "/v2/" {
            return Answer::new(200, "{}");
        }
        let Some((kind, name)) = path.strip_prefix("/v2/app/").and_then(|p| p.split_once('/'))
        else {
            return Answer::new(404, "no such repository");
        };
        match kind {
            "manifests" => match self.manifests.get(name) {
                Some((media_type, text)) => {
                    Answer::new(200, text.clone()).header("Content-Type", media_type)
                }
                None => Answer::new(
                    404,
                    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                ),
            },
            _ => match self.blobs.get(name) {
                Some(blob) => ranged(blob, request),
                None => Answer::new(404, "no such blob"),
            },
        }
    }

    /// Whether a request is for the layer.
    pub(crate) fn is_layer(&self, request: &Request) -> bool {
        request.target.contains(&self.layer.to_string())
    }

    /// A registry that is good but for the layer, for which `odd` answers.
    pub(crate) fn serve_layer(
        &self,
        odd: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let image = self.clone();
        Server::start(move |request| {
            let answer = image.answer(request);
            if image.is_layer(request) { odd(request, answer) } else { answer }
        })
    }
}

/// A part of a blob, or all of it: also if several parts are wanted, which is allowed.
pub(crate) fn ranged(blob: &[u8], request: &Request) -> Answer {
    let Some((first, last)) = request.range() else { return Answer::new(200, blob) };
    let size = blob.len();
    if last >= size {
        return Answer::new(416, "").header("Content-Range", format!("bytes */{size}"));
    }
    Answer::new(206, &blob[first..=last])
        .header("Content-Range", format!("bytes {first}-{last}/{size}"))
}

/// Options that wait for nothing.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.retry.first_pause = Duration::from_millis(1);
    options.retry.longest_pause = Duration::from_millis(2);
    options
}

pub(crate) fn open(server: &Server, options: &Options) -> Registry {
    Registry::new(&format!("{}/app:v1", server.host()).parse().unwrap(), options).unwrap()
}

pub(crate) fn resolve(registry: &Registry) -> Result<transport::ResolvedImage, TransportError> {
    registry.resolve(&Platform::new("linux", "amd64"))
}

pub(crate) fn blob(server: &Server, image: &Image, options: &Options) -> Arc<dyn RangeSource> {
    open(server, options).blob(&image.layer, image.size).unwrap()
}
