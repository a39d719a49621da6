//! Other tools judge our slots by the lock file, with the classic locks of POSIX.

use std::path::Path;
use std::process::Command;

use super::store::Store;

/// What the cleaner of the Go tools does: whichever slot's lock it gets, it removes.
const CLEANER: &str = "
import fcntl, os, shutil, sys
for name in os.listdir(sys.argv[1]):
    slot = os.path.join(sys.argv[1], name)
    with open(os.path.join(slot, 'staging.lock'), 'a+') as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(slot)
";

/// A slot of another tool, held until the end of input.
const HOLDER: &str = "
import fcntl, os, sys
os.makedirs(sys.argv[1] + '/dir')
lock = open(sys.argv[1] + '/staging.lock', 'w')
fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
print('locked', flush=True)
sys.stdin.read()
";

fn python(script: &str, argument: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(argument);
    command
}

#[test]
fn a_cleaner_with_classic_locks_spares_the_living_slot_and_takes_the_dead_one() {
    let store = Store::new();
    let staged = store.staged("f");
    let alive = store.names("staging");
    let dead = store.overlay("staging/123");
    std::fs::create_dir(dead).unwrap();
    assert!(python(CLEANER, &store.overlay("staging")).status().unwrap().success());
    assert_eq!(store.names("staging"), alive);
    staged.discard().unwrap();
    store.assert_tidy();
}

#[test]
fn a_slot_held_by_a_classic_lock_is_alive_until_its_holder_ends() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let store = Store::new();
    drop(store.staged("f"));
    let mut command = python(HOLDER, &store.overlay("staging/123"));
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    assert_eq!(store.driver.recover().unwrap().slots, 0);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(store.driver.recover().unwrap().slots, 1);
    store.assert_tidy();
}
