//! `push` and `convert`

use anyhow::{Context as _, bail};
use config::Environment;
use reflayer::{SendOptions, SendReport, Store};
use transport::{DockerReference, Reference};

use crate::args::{Access, Convert, Global, Push, Sending};
use crate::command::progress;
use crate::{exit, open, origin, policy, report};

pub(crate) fn push(global: &Global, args: &Push) -> anyhow::Result<u8> {
    let image = match args.image.parse() {
        Ok(Reference::ContainersStorage(name)) => name,
        Ok(other) => bail!("{other} is not in the store: use `reflayer convert`"),
        // Not a reference, so it is a name.
        Err(_) => args.image.clone(),
    };
    let target: Reference = args.target.parse()?;
    let store = open::store(global)?;
    let options = options(&args.sending);
    let pushed = from_store(&store, &image, &target, &options, &args.access)?;
    show(global, &pushed, &target)
}

pub(crate) fn convert(global: &Global, args: &Convert) -> anyhow::Result<u8> {
    let source: Reference = args.source.parse()?;
    let target: Reference = args.target.parse()?;
    let mut options = options(&args.sending);
    options.platform = origin::platform(&args.origin)?;
    let access = &args.origin.access;
    if let Reference::ContainersStorage(image) = &source {
        let pushed = from_store(&open::store(global)?, image, &target, &options, access)?;
        return show(global, &pushed, &target);
    }
    policy::check(&source, args.signature_policy.as_deref())?;
    let from = origin::open(&source, &args.origin)?;
    let related = if let Reference::Docker(docker) = &source { Some(docker) } else { None };
    let to = origin::open_target(&target, related, access)?;
    let converted = reflayer::convert(&*from, to, &options, &progress::of_sending())
        .with_context(|| format!("convert {source} to {target}"))?;
    show(global, &converted, &target)
}

fn from_store(
    store: &Store,
    image: &str,
    target: &Reference,
    options: &SendOptions,
    access: &Access,
) -> anyhow::Result<SendReport> {
    let failed = || format!("push {image} to {target}");
    let related = related(store, image, target).with_context(failed)?;
    let to = origin::open_target(target, related.as_ref(), access)?;
    store.push(image, to, options, &progress::of_sending()).with_context(failed)
}

/// An image at the registry that this one goes to, which may have blobs of it: that it
/// came from there is likely.
fn related(
    store: &Store,
    image: &str,
    target: &Reference,
) -> anyhow::Result<Option<DockerReference>> {
    let Reference::Docker(target) = target else { return Ok(None) };
    let names = store.related_names(image)?.into_iter();
    let names = names.filter_map(|name| name.parse::<DockerReference>().ok());
    let mut names = names.filter(|name| name.host() == target.host());
    Ok(names.find(|name| name.repository() != target.repository()))
}

fn options(sending: &Sending) -> SendOptions {
    let dir = sending.tmpdir.clone();
    let dir = dir.unwrap_or_else(|| Environment::of_process().temporary_dir());
    let mut options = SendOptions::new(dir);
    options.write.level = sending.compression_level;
    options
}

fn show(global: &Global, sent: &SendReport, target: &Reference) -> anyhow::Result<u8> {
    if global.json {
        report::json(sent)?;
    } else {
        report::sent(sent, target);
    }
    Ok(exit::SUCCESS)
}
