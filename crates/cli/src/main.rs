//! The `reflayer` command: parses, calls one function of `command`, prints, exits.

mod args;
mod command;
mod exit;
mod namespace;
mod open;
mod origin;
mod policy;
mod printable;
mod report;
mod sys;
mod units;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, Place};
use printable::Lines;

fn main() -> ExitCode {
    sys::share_freed_memory();
    let cli = Cli::parse();
    log(cli.global.verbose);
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report::failure(&error);
            ExitCode::from(exit::of(&error))
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let global = &cli.global;
    // Before anything else: no thread may have started.
    match cli.command.place() {
        Place::Anywhere => {}
        Place::Namespace => namespace::enter()?,
        Place::MountsOfUser => ensure!(
            !namespace::is_outside(),
            "only root can mount, and a namespace ends with its command: \
             mount and use it within `reflayer unshare` or `podman unshare`"
        ),
    }
    let json = global.json;
    match &cli.command {
        Command::Pull(args) => command::pull::run(global, args),
        Command::Plan(args) => command::pull::plan(global, args),
        Command::Images => command::list::images(&open::store(global)?, json),
        Command::Layers => command::list::layers(&open::store(global)?, json),
        Command::Inspect { image } => command::list::inspect(&open::store(global)?, image),
        Command::Mount(args) => command::mount::mount(&open::store(global)?, args),
        Command::Umount { directory } => command::mount::umount(directory),
        Command::Rmi { image, dry_run } => {
            command::remove::rmi(&open::store(global)?, image, *dry_run, json)
        }
        Command::Gc { all, dry_run } => {
            command::remove::gc(&open::store(global)?, *all, *dry_run, json)
        }
        Command::BuildImage(args) => command::build_image::run(args, json),
        Command::Export(args) => command::export::run(&open::store(global)?, args, json),
        Command::Push(args) => command::send::push(global, args),
        Command::Convert(args) => command::send::convert(global, args),
        Command::Toc(args) => command::toc::run(args, json),
        Command::Unshare { program } => command::unshare::run(program),
        Command::Check(args) => command::check::run(&open::store(global)?, args, json),
    }
}

/// Logs go to standard error; `RUST_LOG` decides unless `-v` was given.
fn log(verbose: u8) {
    let filter = match verbose {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        1 => EnvFilter::new("info"),
        _ => EnvFilter::new("debug"),
    };
    let lines = || Lines(std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).init();
}
