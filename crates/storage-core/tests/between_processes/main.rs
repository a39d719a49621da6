//! Locks and stores between processes: ours, and one that locks as the Go tools do.
//!
//! A test starts this program again to be its other process; see `child`. Hence
//! a `main` of its own.

mod child;
mod classic;
mod modes;
mod stores;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Some((role, directory)) = child::role() {
        return match role.as_str() {
            "reader" => stores::read(&directory),
            "writer" => stores::write(&directory, std::process::id()),
            "tireless writer" => stores::write_tirelessly(&directory),
            "umask 077" => modes::populate(&directory, 0o077),
            "umask 000" => modes::populate(&directory, 0o000),
            other => panic!("no role {other}"),
        };
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = vec![
        test("our_locks_keep_classic_ones_out", classic::ours_keep_theirs_out),
        test("classic_locks_keep_ours_out_until_their_holder_dies", classic::theirs_keep_ours_out),
        test("temp_dirs_are_respected_both_ways", classic::temp_dirs),
        test("threads_lose_nothing", stores::threads),
        test("processes_lose_nothing", stores::processes),
        test("r1_r14_a_killed_writer_leaves_old_or_new_records_and_no_lock", stores::killed),
        test("r24_modes_are_exact_under_umask_077", || modes::check("umask 077")),
        test("r24_modes_are_exact_under_umask_000", || modes::check("umask 000")),
    ];
    let mut arguments = Arguments::from_args();
    // A child of another test would share the locks of this one until it is a program of its own.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests).exit();
}
