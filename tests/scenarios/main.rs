//! Whole walks: the command, on real filesystems, with real images, judged by others' programs.
//!
//! `cargo xtask integration` prepares all that these need and runs them. Run
//! without it, what cannot be had shows up as ignored, with the reason.
#![expect(clippy::print_stderr, reason = "scenarios report figures to a person")]

mod additional;
mod build_image;
mod built;
mod citizen;
mod configured;
mod crowd;
mod extents;
mod failing;
mod forms;
mod full_disk;
mod gc;
mod hostile;
mod index;
mod kill;
mod kill_large;
mod mended_by_pull;
mod mixed;
mod mount;
mod mutator;
mod needs;
mod older;
mod out;
mod pairs;
mod podman;
mod power;
mod price;
mod pulls;
mod reader;
mod records;
mod repair;
mod rootless;
mod seat;
mod small;
mod source;
mod state;
mod store;
mod trouble;
mod two_at_once;
mod updates;
mod vanish;
mod victim;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> = [
        pulls::trials(),
        forms::trials(),
        podman::trials(),
        citizen::trials(),
        index::trials(),
        gc::trials(),
        repair::trials(),
        mended_by_pull::trials(),
        extents::trials(),
        mount::trials(),
        additional::trials(),
        configured::trials(),
        kill::trials(),
        kill_large::trials(),
        failing::trials(),
        full_disk::trials(),
        power::trials(),
        price::trials(),
        trouble::trials(),
        build_image::trials(),
        vanish::trials(),
        updates::trials(),
        two_at_once::trials(),
        crowd::trials(),
        out::trials(),
        reader::trials(),
        hostile::trials(),
        rootless::trials(),
        mixed::trials(),
        older::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::clear();
    if std::env::var_os("REFLAYER_ALL_ROLES").is_some() && conclusion.num_ignored > 0 {
        eprintln!(
            "{} scenarios were ignored, though all roles were to be had",
            conclusion.num_ignored
        );
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
