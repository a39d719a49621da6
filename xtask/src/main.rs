//! Tasks of this workspace: `cargo xtask --help` lists them.
#![expect(clippy::print_stderr, reason = "tasks talk to a person")]

mod bench;
mod ci;
mod demo;
mod flags;
mod fuzz;
mod integration;
mod layering;
mod licences;
mod made;
mod packages;
mod peers;
mod say;
mod scale;
mod search;
mod syscalls;
mod torture;
mod workspace;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let flags = flags::Xtask::parse();
    match flags.task {
        flags::Task::Bench(flags) => bench::run(&flags),
        flags::Task::Ci => ci::run(),
        flags::Task::Demo => demo::run(),
        flags::Task::Fuzz(flags) => fuzz::run(&flags),
        flags::Task::Integration(flags) => integration::run(&flags),
        flags::Task::Layering => layering::run(),
        flags::Task::Peers => peers::run(),
        flags::Task::Scale(flags) => scale::run(&flags),
        flags::Task::Syscalls => syscalls::run(),
        flags::Task::Torture(flags) => torture::run(&flags),
    }
}
