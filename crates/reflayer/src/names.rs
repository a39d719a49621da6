//! Finding an image or a layer by what a person types.

use storage_core::{ImageRecord, LayerRecord};

/// No image or layer, or more than one, is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nothing fits.
    #[error("no image is called {0:?}")]
    NotFound(String),
    /// No layer fits.
    #[error("no layer has an id or DiffID that begins with {0:?}")]
    NoLayer(String),
    /// Several fit.
    #[error("{wanted:?} is ambiguous: it could be {}", candidates.join(" or "))]
    Ambiguous {
        /// What was typed.
        wanted: String,
        /// Names or ids of those that fit.
        candidates: Vec<String>,
    },
}

impl LookupError {
    /// Whether nothing fits, rather than too much.
    pub fn is_not_found(&self) -> bool {
        !matches!(self, Self::Ambiguous { .. })
    }
}

/// The image that `wanted` stands for, and the name that matched, if it was a name.
///
/// In this order: a whole name, an id, a unique prefix of an id, the last part
/// of a name (`app:v2`, or `app` for `app:latest`) if only one image has it.
pub(crate) fn find<'a>(
    images: &'a [ImageRecord],
    wanted: &str,
) -> Result<(&'a ImageRecord, Option<String>), LookupError> {
    for spelling in [wanted.to_owned(), format!("{wanted}:latest")] {
        if let Some(image) = images.iter().find(|image| image.names.contains(&spelling)) {
            return Ok((image, Some(spelling)));
        }
    }
    if is_id_prefix(wanted) {
        let matching = images.iter().filter(|image| image.id.as_str().starts_with(wanted));
        if let Some(image) = only(wanted, matching, |image| image.id.to_string())? {
            return Ok((image, None));
        }
    }
    let named = images.iter().flat_map(|image| image.names.iter().map(move |name| (image, name)));
    let matching = named.filter(|(_, name)| ends_with_parts(name, wanted));
    let found = only(wanted, matching, |(_, name)| (*name).clone())?;
    let (image, name) = found.ok_or_else(|| LookupError::NotFound(wanted.into()))?;
    Ok((image, Some(name.clone())))
}

/// The layer that `wanted` stands for: an id, a unique prefix of one, or, with `sha256:`
/// or where no id fits, a `DiffID` or how one begins.
///
/// Layers of one `DiffID` are one tar, so any of them will do.
pub(crate) fn find_layer<'a>(
    layers: &'a [LayerRecord],
    wanted: &str,
) -> Result<&'a LayerRecord, LookupError> {
    let unknown = || LookupError::NoLayer(wanted.into());
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    if !is_id_prefix(hex) {
        return Err(unknown());
    }
    if hex == wanted {
        let matching = layers.iter().filter(|layer| layer.id.as_str().starts_with(hex));
        if let Some(layer) = only(wanted, matching, |layer| layer.id.to_string())? {
            return Ok(layer);
        }
    }
    let diff_id = |layer: &LayerRecord| layer.diff_digest.map(|diff_id| diff_id.to_string());
    let begins = |diff_id: String| diff_id.split(':').nth(1).is_some_and(|d| d.starts_with(hex));
    let mut matching: Vec<_> =
        layers.iter().filter(|layer| diff_id(layer).is_some_and(begins)).collect();
    // What is half made is taken only if there is nothing else.
    matching.sort_by_key(|layer| (layer.diff_digest, layer.is_incomplete()));
    matching.dedup_by_key(|layer| layer.diff_digest);
    let found = only(wanted, matching.into_iter(), |layer| diff_id(layer).unwrap_or_default())?;
    found.ok_or_else(unknown)
}

/// The same among the store's own images or, if none of them is meant, among those of
/// other stores.
pub(crate) fn find_in<'a>(
    own: &'a [ImageRecord],
    others: &'a [ImageRecord],
    wanted: &str,
) -> Result<(&'a ImageRecord, Option<String>), LookupError> {
    match find(own, wanted) {
        Err(LookupError::NotFound(_)) => find(others, wanted),
        found => found,
    }
}

/// The same for a layer.
pub(crate) fn find_layer_in<'a>(
    own: &'a [LayerRecord],
    others: &'a [LayerRecord],
    wanted: &str,
) -> Result<&'a LayerRecord, LookupError> {
    match find_layer(own, wanted) {
        Err(LookupError::NoLayer(_)) => find_layer(others, wanted),
        found => found,
    }
}

fn is_id_prefix(text: &str) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    !text.is_empty() && text.len() <= 64 && text.bytes().all(hex)
}

/// Whether the last parts of `name` are `wanted`, with `latest` for a missing tag.
fn ends_with_parts(name: &str, wanted: &str) -> bool {
    let ends = |wanted: &str| {
        let before = name.strip_suffix(wanted);
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    !wanted.is_empty() && (ends(wanted) || ends(&format!("{wanted}:latest")))
}

fn only<T>(
    wanted: &str,
    matching: impl Iterator<Item = T>,
    describe: impl Fn(&T) -> String,
) -> Result<Option<T>, LookupError> {
    let mut matching: Vec<T> = matching.collect();
    match matching.len() {
        0 | 1 => Ok(matching.pop()),
        _ => Err(LookupError::Ambiguous {
            wanted: wanted.into(),
            candidates: matching.iter().map(describe).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use storage_core::{Digest, LayerId};

    use super::*;

    fn layer(id: &str, diff_id: &[u8]) -> LayerRecord {
        let mut record = LayerRecord::new(id.repeat(32).parse::<LayerId>().unwrap());
        record.diff_digest = Some(Digest::of(diff_id).into());
        record
    }

    #[test]
    fn a_layer_is_found_by_the_beginning_of_its_id_or_by_its_diff_id() {
        let layers = [layer("5f", b"a"), layer("5e", b"b"), layer("aa", b"a")];
        let found = |wanted: &str| find_layer(&layers, wanted).map(|layer| &layer.id.as_str()[..2]);
        assert_eq!(found("5f").unwrap(), "5f");
        assert_eq!(found(&"5e".repeat(32)).unwrap(), "5e");
        let diff_id = Digest::of(b"b");
        for wanted in
            [diff_id.to_string(), diff_id.hex(), format!("sha256:{}", &diff_id.hex()[..9])]
        {
            assert_eq!(found(&wanted).unwrap(), "5e");
        }
        // Two layers of one DiffID are the same tar.
        assert_eq!(found(&Digest::of(b"a").to_string()).unwrap(), "5f");
        assert!(matches!(found("5"), Err(LookupError::Ambiguous { .. })));
        for wanted in ["", "sha256:", "xyz", "sha256:5f", "0123", &"5f".repeat(40)] {
            assert!(matches!(found(wanted), Err(LookupError::NoLayer(_))), "{wanted}");
        }
    }
}
