//! Where images come from and go to, as the command line and the configuration files say.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use config::{AuthFiles, CertificateDirs, Environment, Logins, ProxyVariables, RegistriesConfig};
use transport::{
    Credentials, CredentialsError, DockerReference, Endpoint, ImageSource, ImageTarget,
};
use transport::{Login, Platform, Reference, ReferenceError};

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

/// What a person's `text` may stand for, in the order in which it is to be tried.
///
/// A name without a transport is one of a registry; if it is short, aliases and the
/// registries to search complete it, as for `podman pull`.
pub(crate) fn references(text: &str) -> anyhow::Result<Vec<Reference>> {
    let error = match text.parse() {
        Ok(reference) => return Ok(vec![reference]),
        Err(error @ ReferenceError::Transport(_)) if is_name(text) => error,
        Err(error) => return Err(error.into()),
    };
    let registries = RegistriesConfig::load(&Environment::of_process())?;
    let names = registries.complete(text)?;
    let references = names.iter().map(|name| Ok(Reference::Docker(name.parse()?)));
    // The first complaint, that there is no transport, is the better one.
    references.collect::<Result<_, ReferenceError>>().map_err(|_| error.into())
}

/// Not so what begins with a transport that other tools know.
fn is_name(text: &str) -> bool {
    let others = ["dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif"];
    let transport = text.split_once(':').map(|(transport, _)| transport);
    text.parse::<DockerReference>().is_ok() && transport.is_none_or(|it| !others.contains(&it))
}

/// Calls `attempt` for one reference after the other until one succeeds.
pub(crate) fn first<T>(
    references: &[Reference],
    attempt: impl Fn(&Reference) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut failed = Vec::new();
    for reference in references {
        match attempt(reference) {
            Ok(done) => return Ok(done),
            Err(error) => failed.push(error),
        }
    }
    let last = failed.pop().context("nothing to try")?;
    if failed.is_empty() {
        return Err(last);
    }
    let others: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
    Err(last.context(format!("no registry gave it; {}", others.join("; "))))
}

/// Places and credentials as the configuration files have them.
fn transport_options(reference: &Reference, access: &Access) -> anyhow::Result<transport::Options> {
    let mut options = transport::Options::default();
    let Reference::Docker(docker) = reference else { return Ok(options) };
    let environment = Environment::of_process();
    let registries = RegistriesConfig::load(&environment)?;
    options.tls_verify = access.tls_verify;
    let files = AuthFiles::of(&environment, access.authfile.as_deref());
    let logins = Logins::new(files, &registries.credential_helpers());
    options.credentials = Arc::new(FromFiles(logins));
    let certificates = CertificateDirs::of(&environment, access.cert_dir.as_deref());
    for place in registries.endpoints(&docker.to_string())? {
        options.endpoints.push(endpoint(place, &certificates)?);
    }
    let variables = ProxyVariables::of(&environment);
    options.proxies.http = variables.http;
    options.proxies.https = variables.https;
    options.proxies.none_for = variables.none_for.unwrap_or_default();
    Ok(options)
}

fn endpoint(place: config::Endpoint, certificates: &CertificateDirs) -> anyhow::Result<Endpoint> {
    let host = place.location.split('/').next().unwrap_or_default();
    let found = certificates.for_host(host)?;
    let mut endpoint = Endpoint::new(place.location, place.insecure);
    endpoint.certificates.authorities = found.authorities;
    // More than one is beyond the client library.
    endpoint.certificates.identity = found.identities.into_iter().next();
    Ok(endpoint)
}

/// Logins from auth.json and credential helpers.
#[derive(Debug)]
struct FromFiles(Logins);

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
