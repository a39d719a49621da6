//! A reference: its text gives it back, and its parts can stand in an address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transport::{DockerReference, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let again = reference.to_string().parse();
        assert_eq!(again.as_ref(), Ok(&reference));
    }
    let Ok(docker) = text.parse::<DockerReference>() else { return };
    assert_eq!(docker.to_string().parse().as_ref(), Ok(&docker));
    let full = format!("docker://{text}").parse();
    assert_eq!(full, Ok(Reference::Docker(docker.clone())));
    assert!(docker.tag().is_some() || docker.digest().is_some());
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    assert!(plain(docker.host(), b".-:[]"));
    assert!(plain(docker.repository(), b"._-/") && docker.repository().len() <= 255);
    assert!(docker.repository().split('/').all(|part| !matches!(part, "" | "." | "..")));
    assert!(docker.tag().is_none_or(|tag| plain(tag, b"._-") && tag.len() <= 128));
    assert_eq!(docker.name(), format!("{}/{}", docker.host(), docker.repository()));
});
