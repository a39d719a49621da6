//! The name that an image gets in the store when nobody chose one.

use std::path::Path;

use transport::{Reference, ResolvedImage};

/// A registry image keeps its full name; a layout's image has the name that its
/// annotation holds, if that is a full one, else `localhost/<directory>:<tag>`.
pub(crate) fn name(reference: &Reference, image: &ResolvedImage) -> String {
    match reference {
        Reference::OciLayout { dir: path, tag } | Reference::OciArchive { file: path, tag } => {
            let annotation = image.ref_annotation.as_deref();
            match annotation.filter(|annotation| is_full_name(annotation)) {
                Some(full) => full.to_owned(),
                None => local_name(path, tag.as_deref().or(annotation).unwrap_or("latest")),
            }
        }
        Reference::ContainersStorage(name) => name.clone(),
        other => other.to_string().trim_start_matches("docker://").to_owned(),
    }
}

/// Host, repository and tag, such as `registry.example/app:v1`.
fn is_full_name(text: &str) -> bool {
    let Some((host, rest)) = text.split_once('/') else { return false };
    (host.contains(['.', ':']) || host == "localhost") && rest.contains([':', '@'])
}

fn local_name(path: &Path, tag: &str) -> String {
    let last = path.file_name().or_else(|| path.parent()?.file_name());
    let text = last.map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let clean = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(clean).collect();
    let name = name.trim_matches(['.', '_', '-']);
    let tag: String = tag.chars().map(clean).collect();
    format!("localhost/{}:{tag}", if name.is_empty() { "image" } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layouts_directory_becomes_a_name() {
        for (path, expected) in [
            ("/a/My App", "localhost/my-app:v1"),
            ("images/app.d/", "localhost/app.d:v1"),
            ("/", "localhost/image:v1"),
        ] {
            assert_eq!(local_name(Path::new(path), "v1"), expected);
        }
    }

    #[test]
    fn only_a_name_with_a_host_and_a_tag_is_full() {
        assert!(is_full_name("registry.example/app:v1"));
        assert!(is_full_name("localhost/app:v1"));
        for text in ["v1", "app:v1", "team/app:v1", "registry.example/app"] {
            assert!(!is_full_name(text), "{text}");
        }
    }
}
