//! One of several manifests.

use super::document::Descriptor;
use super::{ManifestError, media_type};
use crate::Platform;

const ZSTD: &str = "io.github.containers.compression.zstd";

/// The manifest that suits `wanted` best: by variant, then one with zstd layers, then the first.
pub(crate) fn choose<'m>(
    manifests: &'m [Descriptor],
    wanted: &Platform,
) -> Result<&'m Descriptor, ManifestError> {
    let images = || manifests.iter().filter(|m| media_type::kind(&m.media_type).is_some());
    let suitable = images().filter_map(|manifest| {
        let distance = wanted.distance(&manifest.platform()?)?;
        let zstd = manifest.annotations.get(ZSTD).is_some_and(|value| value == "true");
        Some(((distance, !zstd), manifest))
    });
    if let Some((_, manifest)) = suitable.min_by_key(|(rank, _)| *rank) {
        return Ok(manifest);
    }
    let mut all = images();
    match (all.next(), all.next()) {
        // A list of one that does not say what it is for stands for that one.
        (Some(only), None) if only.platform().is_none() => Ok(only),
        _ => {
            let mut available: Vec<_> = images().filter_map(Descriptor::platform).collect();
            available.dedup();
            Err(ManifestError::Platform { wanted: wanted.clone(), available })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Index, parse};
    use super::*;

    fn chosen(entries: &[&str], wanted: &Platform) -> Result<u64, String> {
        let manifests: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(size, rest)| {
                format!(
                    r#"{{"mediaType":"{}","digest":"{}","size":{size}{rest}}}"#,
                    media_type::OCI_MANIFEST,
                    storage_core::Digest::of(b"")
                )
            })
            .collect();
        let index = format!(r#"{{"manifests":[{}]}}"#, manifests.join(","));
        let index: Index = parse(index.as_bytes()).unwrap();
        choose(&index.manifests, wanted).map(|m| m.size).map_err(|e| e.to_string())
    }

    const AMD64: &str = r#","platform":{"os":"linux","architecture":"amd64"}"#;
    const ARM7: &str = r#","platform":{"os":"linux","architecture":"arm","variant":"v7"}"#;
    const ARM6: &str = r#","platform":{"os":"linux","architecture":"arm","variant":"v6"}"#;
    const UNKNOWN: &str = r#","platform":{"os":"unknown","architecture":"unknown"}"#;

    #[test]
    fn the_nearest_platform_is_chosen() {
        let arm7 = Platform { variant: Some("v7".into()), ..Platform::new("linux", "arm") };
        let amd64 = Platform::new("linux", "amd64");
        assert_eq!(chosen(&[AMD64, ARM6, ARM7], &arm7), Ok(2));
        assert_eq!(chosen(&[AMD64, ARM6], &arm7), Ok(1));
        assert_eq!(chosen(&[UNKNOWN, AMD64, AMD64], &amd64), Ok(1));
        assert_eq!(chosen(&[""], &amd64), Ok(0));
    }

    #[test]
    fn among_equals_zstd_is_chosen() {
        let zstd = format!(r#"{AMD64},"annotations":{{"{ZSTD}":"true"}}"#);
        assert_eq!(chosen(&[AMD64, &zstd, &zstd], &Platform::new("linux", "amd64")), Ok(1));
    }

    #[test]
    fn a_missing_platform_is_answered_with_what_there_is() {
        let error = chosen(&[AMD64, ARM7, ARM7], &Platform::new("linux", "s390x")).unwrap_err();
        assert!(error.contains("linux/s390x; there are linux/amd64, linux/arm/v7"), "{error}");
        let error = chosen(&[], &Platform::new("linux", "s390x")).unwrap_err();
        assert!(error.contains("none for any platform"), "{error}");
        assert!(chosen(&["", ""], &Platform::new("linux", "s390x")).is_err());
    }
}
