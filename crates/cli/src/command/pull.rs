//! `pull`, and `plan`, which goes the same way without its last steps.

use anyhow::Context as _;
use reflayer::{Durability, PullOptions, Reuse};
use transport::Reference;

use crate::args::{Global, Pull, ReuseArg};
use crate::command::progress;
use crate::{exit, open, origin, report};

pub(crate) fn run(global: &Global, args: &Pull) -> anyhow::Result<u8> {
    let reference: Reference = args.reference.parse()?;
    let store = open::store(global)?;
    let source = origin::open(&reference, &args.origin)?;
    let options = options(args)?;
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

pub(crate) fn plan(global: &Global, args: &Pull) -> anyhow::Result<u8> {
    let reference: Reference = args.reference.parse()?;
    let store = open::store(global)?;
    let source = origin::open(&reference, &args.origin)?;
    let planned = store
        .plan(&*source, &reference, &options(args)?)
        .with_context(|| format!("plan to pull {reference}"))?;
    if global.json {
        report::json(&planned)?;
    } else {
        report::plan(&planned);
    }
    Ok(exit::SUCCESS)
}

fn options(args: &Pull) -> anyhow::Result<PullOptions> {
    let mut options = PullOptions::default();
    options.full = args.full;
    options.reuse = reuse(args.reuse);
    options.patience = args.patience;
    options.name.clone_from(&args.name);
    options.platform = origin::platform(&args.origin)?;
    if args.no_sync {
        options.durability = Durability::Volatile;
    }
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
