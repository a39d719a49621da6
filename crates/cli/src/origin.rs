//! Where images come from and go to, as the command line and the configuration files say.

use std::sync::Arc;

use anyhow::bail;
use config::{AuthFiles, Environment, RegistriesConfig};
use transport::{
    Credentials, CredentialsError, DockerReference, Endpoint, ImageSource, ImageTarget,
};
use transport::{Login, Platform, Reference};

use crate::args::{Access, Origin};

/// Opens what `reference` names.
pub(crate) fn open(reference: &Reference, origin: &Origin) -> anyhow::Result<Box<dyn ImageSource>> {
    Ok(transport::open(reference, &transport_options(reference, &origin.access)?)?)
}

/// Opens what `reference` names to write an image there; `related` is one that may have
/// blobs of it.
pub(crate) fn open_target(
    reference: &Reference,
    related: Option<&DockerReference>,
    access: &Access,
) -> anyhow::Result<Box<dyn ImageTarget>> {
    Ok(transport::open_target(reference, related, &transport_options(reference, access)?)?)
}

/// The platform to choose from an index: the machine's own unless another is named.
pub(crate) fn platform(origin: &Origin) -> anyhow::Result<Platform> {
    let Some(text) = &origin.platform else { return Ok(Platform::of_machine()) };
    let mut parts = text.splitn(3, '/');
    let (Some(os), Some(architecture)) = (parts.next(), parts.next()) else {
        bail!("{text:?} is not OS/ARCHITECTURE[/VARIANT]");
    };
    let mut platform = Platform::new(os, architecture);
    platform.variant = parts.next().map(str::to_owned);
    Ok(platform)
}

/// Places and credentials as the configuration files have them.
fn transport_options(reference: &Reference, access: &Access) -> anyhow::Result<transport::Options> {
    let environment = Environment::of_process();
    let mut options = transport::Options::default();
    options.tls_verify = access.tls_verify;
    let files = AuthFiles::of(&environment, access.authfile.as_deref());
    options.credentials = Arc::new(FromFiles(files));
    if let Reference::Docker(docker) = reference {
        let name = docker.name();
        let places = RegistriesConfig::load(&environment)?.endpoints(&name);
        if places.is_empty() {
            bail!("{name} is blocked by registries.conf");
        }
        let endpoint = |place: config::Endpoint| Endpoint::new(place.location, place.insecure);
        options.endpoints = places.into_iter().map(endpoint).collect();
    }
    Ok(options)
}

/// Logins from auth.json and credential helpers.
#[derive(Debug)]
struct FromFiles(AuthFiles);

impl Credentials for FromFiles {
    fn for_repository(&self, name: &str) -> Result<Option<Login>, CredentialsError> {
        Ok(self.0.login(name)?.map(|login| match login {
            config::Login::Password { username, password } => {
                Login::Password { username, password }
            }
            config::Login::IdentityToken(token) => Login::IdentityToken(token),
        }))
    }
}
