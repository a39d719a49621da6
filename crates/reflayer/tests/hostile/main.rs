//! Forged layers, and the verdict on each: R15 to R19.
//!
//! Every case is a layer that `testkit` forges, pulled by its TOC into one store and
//! whole into another. Where both are let in the two trees are compared, and judged by
//! GNU tar or by the list beside the case; where one is refused, the reason is looked
//! at, and that nothing is left. Files outside of the stores, which many cases try to
//! reach, must stay as they were.
//!
//! A case that cannot be tried without being root shows up as ignored.
#![expect(
    clippy::too_many_lines,
    clippy::items_after_statements,
    clippy::semicolon_if_nothing_returned,
    reason = "tables of cases, each with its lie beside it"
)]

mod annotations;
mod bombs;
mod canary;
mod case;
mod devices;
mod documents;
mod headers;
mod honest;
mod links;
mod numbers;
mod paths;
mod pax;
mod places;
mod race;
mod streams;
mod toc;
mod try_case;
mod whiteouts;
mod xattrs;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use case::Case;

fn main() -> ExitCode {
    let families: [(&str, Vec<Case>); 14] = [
        ("r16_r17_paths", paths::cases()),
        ("r16_r17_links", links::cases()),
        ("r17_toc", toc::cases()),
        ("r17_streams", streams::cases()),
        ("r17_headers", headers::cases()),
        ("r17_pax", pax::cases()),
        ("r17_whiteouts", whiteouts::cases()),
        ("r17_annotations", annotations::cases()),
        ("r18_xattrs", xattrs::cases()),
        ("r18_devices", devices::cases()),
        ("r19_numbers", numbers::cases()),
        ("r19_places", places::cases()),
        (bombs::FAMILY, bombs::cases()),
        ("r15_honest", honest::cases()),
    ];
    let root = rustix::process::geteuid().is_root();
    let mut trials: Vec<Trial> = families
        .into_iter()
        .flat_map(|(family, cases)| cases.into_iter().map(move |case| (family, case)))
        .map(|(family, case)| {
            let name = format!("{family}::{}", case.name);
            let held: fn(&[&Path]) = if family == bombs::FAMILY { bombs::held } else { |_| () };
            Trial::test(name, move || try_case::run(&case, held).map_err(Into::into))
        })
        .collect();
    trials.extend(documents::trials());
    trials.push(race::trial());
    let trials = trials.into_iter().map(|trial| {
        let kind = if root { "" } else { "not root" };
        trial.with_ignored_flag(!root).with_kind(kind)
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    bombs::tell();
    canary::remove();
    conclusion.exit_code()
}
