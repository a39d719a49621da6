//! `pull`, and `plan`, which goes the same way without its last steps.

use anyhow::Context as _;
use reflayer::{Durability, PullOptions, Reuse};
use transport::{ImageSource, Reference};

use crate::args::{Global, Pull, ReuseArg, Wanted};
use crate::command::progress;
use crate::{exit, open, origin, policy, report};

pub(crate) fn run(global: &Global, args: &Pull) -> anyhow::Result<u8> {
    let opened = open::store_and_ways(global)?;
    let mut options = options(&args.wanted, &opened.pull)?;
    options.patience = args.patience;
    options.trust_present = args.trust_present;
    options.memory = args.memory;
    if args.no_sync {
        options.durability = Durability::Volatile;
    }
    let references = origin::references(&args.wanted.reference)?;
    let pulled = origin::first(&references, |reference| {
        let source = source(reference, &args.wanted)?;
        opened
            .store
            .pull(&*source, reference, &options, &progress::on_terminal())
            .with_context(|| format!("pull {reference}"))
    })?;
    if global.json {
        report::json(&pulled)?;
    } else {
        report::pull(&pulled);
    }
    Ok(exit::SUCCESS)
}

pub(crate) fn plan(global: &Global, wanted: &Wanted) -> anyhow::Result<u8> {
    let opened = open::store_and_ways(global)?;
    let options = options(wanted, &opened.pull)?;
    let references = origin::references(&wanted.reference)?;
    let planned = origin::first(&references, |reference| {
        let source = source(reference, wanted)?;
        let planned = opened.store.plan(&*source, reference, &options);
        planned.with_context(|| format!("plan to pull {reference}"))
    })?;
    if global.json {
        report::json(&planned)?;
    } else {
        report::plan(&planned);
    }
    Ok(exit::SUCCESS)
}

fn source(reference: &Reference, wanted: &Wanted) -> anyhow::Result<Box<dyn ImageSource>> {
    policy::check(reference, wanted.signature_policy.as_deref())?;
    origin::open(reference, &wanted.origin)
}

/// What the command line says goes before what storage.conf says.
fn options(wanted: &Wanted, configured: &config::PullOptions) -> anyhow::Result<PullOptions> {
    let mut options = PullOptions::default();
    options.full = wanted.full || configured.enable_partial_images == Some(false);
    options.reuse = match wanted.reuse {
        Some(argument) => reuse(argument),
        None if configured.use_hard_links => Reuse::HardLink,
        None => options.reuse,
    };
    options.name.clone_from(&wanted.name);
    options.platform = origin::platform(&wanted.origin)?;
    Ok(options)
}

fn reuse(argument: ReuseArg) -> Reuse {
    match argument {
        ReuseArg::Reflink => Reuse::ReflinkOnly,
        ReuseArg::Copy => Reuse::ReflinkOrCopy,
        ReuseArg::Hardlink => Reuse::HardLink,
        ReuseArg::Never => Reuse::Never,
    }
}
