//! `pull`

use std::sync::Arc;

use anyhow::{Context as _, bail};
use config::{AuthFiles, Environment, RegistriesConfig};
use reflayer::{Durability, PullOptions, Reuse};
use transport::{Credentials, CredentialsError, Endpoint, Login, Platform, Reference};

use crate::args::{Global, Pull, ReuseArg};
use crate::command::progress;
use crate::{exit, open, report};

pub(crate) fn run(global: &Global, args: &Pull) -> anyhow::Result<u8> {
    let reference: Reference = args.reference.parse()?;
    let store = open::store(global)?;
    let source = transport::open(&reference, &transport_options(&reference, args)?)?;
    let mut options = PullOptions::default();
    options.full = args.full;
    options.reuse = reuse(args.reuse);
    options.patience = args.patience;
    options.name.clone_from(&args.name);
    if let Some(text) = &args.platform {
        options.platform = platform(text)?;
    }
    if args.no_sync {
        options.durability = Durability::Volatile;
    }
    let pulled = store
        .pull(&*source, &reference, &options, &progress::on_terminal())
        .with_context(|| format!("pull {reference}"))?;
    if global.json {
        report::json(&pulled)?;
    } else {
        report::pull(&pulled);
    }
    Ok(exit::SUCCESS)
}

fn reuse(argument: ReuseArg) -> Reuse {
    match argument {
        ReuseArg::Reflink => Reuse::ReflinkOnly,
        ReuseArg::Copy => Reuse::ReflinkOrCopy,
        ReuseArg::Hardlink => Reuse::HardLink,
        ReuseArg::Never => Reuse::Never,
    }
}

fn platform(text: &str) -> anyhow::Result<Platform> {
    let mut parts = text.splitn(3, '/');
    let (Some(os), Some(architecture)) = (parts.next(), parts.next()) else {
        bail!("{text:?} is not OS/ARCHITECTURE[/VARIANT]");
    };
    let mut platform = Platform::new(os, architecture);
    platform.variant = parts.next().map(str::to_owned);
    Ok(platform)
}

/// Places and credentials as the configuration files have them.
fn transport_options(reference: &Reference, args: &Pull) -> anyhow::Result<transport::Options> {
    let environment = Environment::of_process();
    let mut options = transport::Options::default();
    options.tls_verify = args.tls_verify;
    let files = AuthFiles::of(&environment, args.authfile.as_deref());
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
