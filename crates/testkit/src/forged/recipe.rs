//! How a layer is made, and where it lies.

use std::fmt;

use serde_json::{Value, json};

use super::Forged;
use super::blob::{Parts, frame, skippable};
use super::item::Item;
use crate::digest::sha256;

type Edit<T> = Box<dyn Fn(T) -> T + Send + Sync>;

/// How a layer is made.
pub struct Recipe {
    items: Vec<Item>,
    trailer: Vec<u8>,
    chunk: Option<usize>,
    toc: Vec<Edit<Value>>,
    toc_bytes: Vec<Edit<Vec<u8>>>,
    toc_payload: Vec<Edit<Vec<u8>>>,
    split: Vec<Edit<Vec<Value>>>,
    split_bytes: Vec<Edit<Vec<u8>>>,
    data: Vec<Edit<Vec<u8>>>,
    annotations: Vec<Edit<Vec<(String, String)>>>,
    last: Vec<Edit<Forged>>,
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe").field("items", &self.items).finish_non_exhaustive()
    }
}

impl Recipe {
    /// An honest layer of these items, in this order, without an entry for its root.
    pub fn of(items: impl IntoIterator<Item = Item>) -> Self {
        Self {
            items: items.into_iter().collect(),
            trailer: vec![0; 1024],
            chunk: None,
            toc: Vec::new(),
            toc_bytes: Vec::new(),
            toc_payload: Vec::new(),
            split: Vec::new(),
            split_bytes: Vec::new(),
            data: Vec::new(),
            annotations: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Ends the tar with these bytes.
    #[must_use]
    pub fn trailer(self, trailer: impl Into<Vec<u8>>) -> Self {
        Self { trailer: trailer.into(), ..self }
    }

    /// Cuts files into chunks of this length.
    #[must_use]
    pub fn chunks(self, length: usize) -> Self {
        Self { chunk: Some(length), ..self }
    }

    /// Lies in the entries of the TOC.
    #[must_use]
    pub fn toc(self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.whole_toc(move |toc| edit(&mut toc["entries"]))
    }

    /// Lies anywhere in the TOC.
    #[must_use]
    pub fn whole_toc(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.toc.push(in_place(edit));
        self
    }

    /// Changes the bytes of the TOC's JSON.
    #[must_use]
    pub fn toc_bytes(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.toc_bytes.push(in_place(edit));
        self
    }

    /// Changes the TOC once it is compressed; the digest is of what comes out.
    #[must_use]
    pub fn toc_payload(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.toc_payload.push(in_place(edit));
        self
    }

    /// Lies in the lines of the tar-split.
    #[must_use]
    pub fn split(mut self, edit: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Self {
        self.split.push(in_place(edit));
        self
    }

    /// Changes the bytes of the tar-split's lines.
    #[must_use]
    pub fn split_bytes(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.split_bytes.push(in_place(edit));
        self
    }

    /// Changes the frames of data; the TOC knows nothing of it.
    #[must_use]
    pub fn data(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.data.push(in_place(edit));
        self
    }

    /// Sets an annotation, given by the end of its key.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let (key, value) = (annotation_key(key), value.to_owned());
        self.annotations.push(Box::new(move |mut all| {
            all.retain(|(known, _)| *known != key);
            all.push((key.clone(), value.clone()));
            all
        }));
        self
    }

    /// Changes the numbers of a position.
    #[must_use]
    pub fn position(
        mut self,
        key: &str,
        edit: impl Fn(&mut Vec<u64>) + Send + Sync + 'static,
    ) -> Self {
        let key = annotation_key(key);
        self.annotations.push(in_place(move |all: &mut Vec<(String, String)>| {
            for (known, value) in all.iter_mut().filter(|(known, _)| *known == key) {
                debug_assert!(!known.is_empty());
                let mut numbers = value.split(':').map(|n| n.parse().unwrap_or(0)).collect();
                edit(&mut numbers);
                let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                *value = texts.join(":");
            }
        }));
        self
    }

    /// Takes an annotation away, or all with the empty key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let (all, key) = (key.is_empty(), annotation_key(key));
        self.annotations.push(in_place(move |known: &mut Vec<(String, String)>| {
            known.retain(|(known, _)| !all && *known != key);
        }));
        self
    }

    /// Changes what the image says of the layer, or the blob, at the very end.
    #[must_use]
    pub fn last(mut self, edit: impl Fn(&mut Forged) + Send + Sync + 'static) -> Self {
        self.last.push(in_place(edit));
        self
    }

    /// The plain tar as the blob, as `compress` makes it; no annotations.
    #[must_use]
    pub fn as_blob(
        self,
        media_type: &'static str,
        compress: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.last(move |layer| {
            layer.annotations.clear();
            layer.media_type = format!("application/vnd.oci.image.layer.v1.{media_type}");
            layer.blob = compress(&layer.tar);
            layer.describe();
        })
    }

    /// Makes the layer.
    pub fn build(&self) -> Forged {
        let parts = Parts::of(&self.items, &self.trailer, self.chunk);
        let split = apply(&self.split, parts.split);
        let lines: Vec<Vec<u8>> =
            split.iter().map(|line| format!("{line}\n").into_bytes()).collect();
        let lines = apply(&self.split_bytes, lines.concat());
        let split = frame(&lines);
        let toc = json!({
            "version": 1, "entries": parts.entries,
            "tarSplitDigest": format!("sha256:{}", sha256(&split)),
        });
        let toc = apply(&self.toc_bytes, apply(&self.toc, toc).to_string().into_bytes());
        let payload = apply(&self.toc_payload, frame(&toc));
        let mut blob = apply(&self.data, parts.data);
        let toc_at = skippable(&mut blob, &payload);
        let split_at = skippable(&mut blob, &split);
        let places = [toc_at, payload.len(), toc.len(), 1, split_at, split.len(), lines.len()];
        skippable(&mut blob, &footer(&places));
        let annotations = vec![
            (annotation_key("manifest-checksum"), format!("sha256:{}", sha256(&payload))),
            (
                annotation_key("manifest-position"),
                format!("{toc_at}:{}:{}:1", payload.len(), toc.len()),
            ),
            (
                annotation_key("tarsplit-position"),
                format!("{split_at}:{}:{}", split.len(), lines.len()),
            ),
        ];
        let mut layer = Forged {
            diff_id: sha256(&parts.tar),
            tar: parts.tar,
            blob,
            annotations: apply(&self.annotations, annotations),
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".into(),
            size: 0,
            digest: String::new(),
        };
        layer.describe();
        apply(&self.last, layer)
    }
}

impl Forged {
    /// Makes size and digest those of the blob.
    pub fn describe(&mut self) {
        self.size = self.blob.len() as u64;
        self.digest = sha256(&self.blob);
    }
}

fn in_place<T>(edit: impl Fn(&mut T) + Send + Sync + 'static) -> Edit<T> {
    Box::new(move |mut value| {
        edit(&mut value);
        value
    })
}

fn apply<T>(edits: &[Edit<T>], value: T) -> T {
    edits.iter().fold(value, |value, edit| edit(value))
}

/// A key that has no dot is one of zstd:chunked.
fn annotation_key(key: &str) -> String {
    if key.contains('.') { key.into() } else { format!("io.github.containers.zstd-chunked.{key}") }
}

fn footer(places: &[usize; 7]) -> Vec<u8> {
    let numbers = places.iter().flat_map(|&place| (place as u64).to_le_bytes());
    numbers.chain(*b"GNUlInUx").collect()
}
