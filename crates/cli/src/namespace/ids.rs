//! Which ids a user namespace of this user has.
//!
//! ```text
//! /etc/subuid        inside       outside
//! ada:200000:65536   0            ada
//!                    1..=65536    200000..
//! ```

use std::fs;
use std::io;

/// One run of ids, as the kernel and its helpers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) inside: u32,
    pub(super) outside: u32,
    pub(super) count: u32,
}

/// The map from `own` to 0 and from the user's subordinate ids to 1 and up, in the order
/// of their numbers, as podman has it.
///
/// The user's lines are those with its name or number; with none only the first run is there.
pub(super) fn map(own: u32, subordinate: &str, name: Option<&str>, uid: u32) -> Vec<Run> {
    let number = uid.to_string();
    let mut ranges: Vec<(u32, u32)> = subordinate
        .lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let ours = Some(owner) == name || owner == number;
            (ours && range.1 > 0).then_some(range)
        })
        .collect();
    ranges.sort_unstable();
    ranges.dedup();
    let mut runs = vec![Run { inside: 0, outside: own, count: 1 }];
    let mut inside = 1_u32;
    for (outside, count) in ranges {
        runs.push(Run { inside, outside, count });
        // More ids than there are: what comes after them has no number.
        let Some(next) = inside.checked_add(count) else { break };
        inside = next;
    }
    runs
}

/// A file of subordinate ids; one that is not there says nothing.
pub(super) fn read(path: &str) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The map as the files in `/proc` take it.
pub(super) fn lines(runs: &[Run]) -> String {
    let line = |run: &Run| format!("{} {} {}", run.inside, run.outside, run.count);
    runs.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(subordinate: &str) -> String {
        lines(&map(1000, subordinate, Some("ada"), 1000))
    }

    #[test]
    fn a_user_without_subordinate_ids_is_alone() {
        for none in ["", "bob:1:2\n", "ada\nada:x:y\nada:5:0\n#ada:1:2\n"] {
            assert_eq!(text(none), "0 1000 1", "{none}");
        }
    }

    #[test]
    fn ranges_follow_each_other_by_their_numbers_under_name_and_number() {
        let subordinate = "1000:500000:10\nbob:7:7\nada:200000:65536\nada:200000:65536\n";
        assert_eq!(text(subordinate), "0 1000 1\n1 200000 65536\n65537 500000 10");
    }

    #[test]
    fn more_ids_than_there_are_make_no_panic() {
        assert_eq!(text("ada:1:4294967295\nada:2:9\n"), "0 1000 1\n1 1 4294967295");
    }
}
