//! Which images policy.json lets in.

use std::path::Path;

use config::{Environment, Policy, Subject};
use transport::Reference;

/// Refuses what the policy refuses.
///
/// Where nobody has written a policy, everything is let in: podman stops there, but its
/// packages bring a policy along, and a machine without podman has none to follow.
pub(crate) fn check(reference: &Reference, file: Option<&Path>) -> anyhow::Result<()> {
    let subject = match reference {
        Reference::Docker(docker) => Subject::registry(docker.to_string()),
        Reference::OciLayout { dir, .. } => Subject::oci_layout(dir),
        Reference::OciArchive { file, .. } => Subject::oci_archive(file),
        // Nothing is pulled from there, as who tries is told.
        _ => return Ok(()),
    };
    match Policy::load(&Environment::of_process(), file)? {
        Some(policy) => Ok(policy.check(&subject)?),
        None => {
            tracing::info!("there is no policy.json: any image is taken");
            Ok(())
        }
    }
}
