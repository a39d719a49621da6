use std::process::{Command, Stdio};

use super::{
    Call, Errno, Outcome, Watch, calls, run_disturbed, run_failing, run_short, run_until,
    run_until_with, watched,
};

fn shell(script: &str, directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(directory.path()).stderr(Stdio::null());
    command
}

fn names(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(Call::name).collect()
}

#[test]
fn counts_what_changes_and_nothing_else() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let made = calls(shell("mkdir a; cat /etc/passwd >/dev/null; echo x >b; ln -s b c", &dir))?;
    assert_eq!(names(&made), ["mkdir", "openat", "openat", "write", "symlinkat"], "{made:?}");
    assert_eq!(made[3].file(), dir.path().join("b").to_str());
    Ok(())
}

#[test]
fn kills_before_the_call_at_every_point() -> anyhow::Result<()> {
    // What exists when the first, second, … call is prevented.
    let script = "mkdir a; (mkdir b) & wait; mkdir c";
    for (n, expected) in [(1, ""), (2, "a"), (3, "ab")] {
        let dir = tempfile::tempdir()?;
        let outcome = run_until(shell(script, &dir), n)?;
        assert!(matches!(outcome, Outcome::Killed(_)), "{outcome:?}");
        let found: String =
            ["a", "b", "c"].into_iter().filter(|name| dir.path().join(name).exists()).collect();
        assert_eq!(found, expected, "killed at call {n}");
    }
    let dir = tempfile::tempdir()?;
    let outcome = run_until(shell(script, &dir), 4)?;
    assert!(matches!(outcome, Outcome::Ended { calls, .. } if calls.len() == 3));
    Ok(())
}

#[test]
fn follows_threads_and_their_children() -> anyhow::Result<()> {
    // A program with threads, from the only toolchain that is surely here: this test itself.
    if let Some(dir) = std::env::var_os("TESTKIT_THREADS") {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let path = std::path::Path::new(&dir).join(name);
                scope.spawn(move || std::fs::create_dir(path).expect("make a directory"));
            }
        });
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let command = || -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "kill::tests::follows_threads_and_their_children"]);
        command.env("TESTKIT_THREADS", dir.path()).stdout(Stdio::null());
        Ok(command)
    };
    let outcome = run_until(command()?, 3)?;
    assert!(matches!(outcome, Outcome::Killed(_)), "{outcome:?}");
    assert!(dir.path().read_dir()?.count() <= 2, "no thread went on after the kill");
    Ok(())
}

#[test]
fn a_failing_command_is_an_error_of_counting() {
    assert!(calls(Command::new("false")).is_err());
    assert!(calls(Command::new("/does/not/exist")).is_err());
}

#[test]
fn disturbs_and_goes_on() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let moved = || std::fs::rename(dir.path().join("a"), dir.path().join("x")).expect("rename");
    let outcome = run_disturbed(shell("mkdir a; mkdir b; mkdir a", &dir), 2, moved)?;
    let Outcome::Ended { status, calls } = outcome else { panic!("{outcome:?}") };
    assert!(status.success() && calls.len() == 3, "{status} {calls:?}");
    assert!(["a", "b", "x"].iter().all(|name| dir.path().join(name).is_dir()));
    Ok(())
}

#[test]
fn something_happens_before_a_kill() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let seen = || std::fs::rename(dir.path().join("a"), dir.path().join("x")).expect("rename");
    let outcome = run_until_with(shell("mkdir a; mkdir b", &dir), 2, seen)?;
    assert!(matches!(outcome, Outcome::Killed(_)), "{outcome:?}");
    assert!(dir.path().join("x").is_dir() && !dir.path().join("b").exists());
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn fails_changes_from_one_on() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let command = shell("mkdir a; mkdir b; mkdir c", &dir);
    let outcome = run_failing(command, &Watch::Changes, 2.., Errno::ENOSPC)?;
    assert!(matches!(outcome, Outcome::Ended { calls, .. } if calls.len() == 3));
    assert!(dir.path().join("a").is_dir() && !dir.path().join("b").exists());
    assert!(!dir.path().join("c").exists());
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn moves_a_single_byte() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    // Whoever wrote too little goes on with the rest.
    for (n, writes) in [(1, 2), (2, 1)] {
        let command = shell("mkdir -p a; printf text >b", &dir);
        let outcome = run_short(command, &Watch::Changes, n)?;
        let Outcome::Ended { status, calls } = outcome else { panic!("{outcome:?}") };
        assert!(status.success() && names(&calls) == vec!["write"; writes], "{status} {calls:?}");
        assert_eq!(std::fs::read(dir.path().join("b"))?, b"text");
    }
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn fails_reads_below_a_directory() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("in"))?;
    std::fs::write(dir.path().join("in/file"), "text")?;
    std::fs::write(dir.path().join("other"), "text")?;
    let top = dir.path().join("in");
    let command = || {
        let mut command = Command::new("cat");
        command.arg(top.join("file")).arg(dir.path().join("other"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let reads = Watch::ReadsBelow(vec![top.clone()]);
    let made = watched(command(), &reads)?;
    assert_eq!(names(&made)[..2], ["openat", "read"], "{made:?}");
    assert!(made.iter().all(|call| call.file() == top.join("file").to_str()), "{made:?}");
    for (n, succeeds) in [(1, false), (2, false), (99, true)] {
        let outcome = run_failing(command(), &reads, n..=n, Errno::EIO)?;
        let Outcome::Ended { status, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(status.success(), succeeds, "call {n}");
    }
    Ok(())
}
