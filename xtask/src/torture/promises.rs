//! The promises by their numbers.

/// What is promised, in a few words; the first is R1.
const PROMISES: [&str; 25] = [
    "killed anywhere, a store is whole",
    "a kill leaks nothing",
    "what a record names survives a power cut",
    "what was pulled survives a power cut",
    "durability has a small price",
    "damaged records are never an empty store",
    "damaged files are found and mended",
    "a bad source never hurts",
    "what is hashed is the private copy",
    "a failing call is a clean error",
    "a full disk is a clean error",
    "many processes do not hurt each other",
    "nor does podman beside us",
    "dead holders of locks never block",
    "one image, one tree",
    "nothing outside the store is touched",
    "hostile layers get the right verdict",
    "private xattrs are never stored",
    "sizes, ids and times are checked",
    "memory and output are bounded",
    "odd servers do no harm",
    "parsers survive fuzzing",
    "podman opens the store afterwards",
    "modes are exact",
    "no helpers, no devices",
];

/// The words of a promise.
pub(super) fn words(promise: u32) -> &'static str {
    let index = usize::try_from(promise).unwrap_or_default().wrapping_sub(1);
    PROMISES.get(index).copied().unwrap_or_default()
}

/// The promises that a test is for: `r3_r4_…` are 3 and 4, and so they are in a module.
pub(super) fn of(test: &str) -> impl Iterator<Item = u32> {
    let number = |word: &str| word.strip_prefix('r')?.parse().ok();
    test.split("::").flat_map(move |part| part.split('_').map_while(number))
}

/// Those that were asked for, or all.
pub(super) fn wanted(asked: &[u32]) -> Vec<u32> {
    let all = 1..=u32::try_from(PROMISES.len()).expect("there are few");
    all.filter(|promise| asked.is_empty() || asked.contains(promise)).collect()
}

/// Reads `R12`, `r12` or `12`.
pub(crate) fn number(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches(['r', 'R']);
    let number = digits.parse().ok().filter(|number| !words(*number).is_empty());
    number.ok_or_else(|| format!("the promises are R1 to R{}", PROMISES.len()))
}

#[cfg(test)]
mod tests {
    use super::{number, of, wanted};

    #[test]
    fn tests_belong_to_promises_by_name() {
        let of = |name: &str| -> Vec<u32> { of(name).collect() };
        assert_eq!(of("r12_eight_processes::xfs"), [12]);
        assert_eq!(of("r1_r14_r2_killed::ext4"), [1, 14, 2]);
        assert_eq!(of("records::r6_a_cut"), [6]);
        assert!(of("repeated::xfs").is_empty() && of("readers_r1").is_empty());
    }

    #[test]
    fn promises_are_read_in_every_spelling() {
        assert_eq!([number("R12"), number("r12"), number("12")], [Ok(12), Ok(12), Ok(12)]);
        assert!(["R0", "R26", "x", ""].iter().all(|text| number(text).is_err()));
        assert_eq!(wanted(&[3, 1]), [1, 3]);
        assert_eq!(wanted(&[]).len(), 25);
    }
}
