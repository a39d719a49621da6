//! Finding an image by what a person types.

use storage_core::ImageRecord;

/// No image, or more than one, is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nothing fits.
    #[error("no image is called {0:?}")]
    NotFound(String),
    /// Several images fit.
    #[error("{wanted:?} is ambiguous: it could be {}", candidates.join(" or "))]
    Ambiguous {
        /// What was typed.
        wanted: String,
        /// Names or ids of the images that fit.
        candidates: Vec<String>,
    },
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
