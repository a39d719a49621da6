//! R6: whatever of a store is cut or flipped is named, or shown to do no harm; and nothing
//! is lost by it, whoever comes next.

use std::collections::BTreeSet;

use reflayer::{CheckLevel, Mended, Problem};
use testkit::dice::Dice;
use testkit::tried::tried;

use crate::kinds::{Damage, Group, KINDS, Kind, Reason};
use crate::stocked::Stocked;
use crate::world::{FORMS, Form};

/// What other tools mounted.
const MOUNTS: &str = "run/overlay-layers/mountpoints.json";

/// Files up to this length are cut at every byte.
const SMALL: usize = 4 << 10;

/// Whether time does not matter.
fn full() -> bool {
    std::env::var("REFLAYER_FULL").is_ok_and(|value| value != "0")
}

/// Files of a group. Unless time does not matter, one of each kind, and in both forms only
/// what is not the same in both.
fn each_file(group: Group, mut take: impl FnMut(&Stocked, &Kind, &str)) {
    let forms = if group == Group::Data || full() { &FORMS[..] } else { &[Form::Plain] };
    for form in forms {
        let stocked = Stocked::new(*form);
        let mut known: Vec<&str> = Vec::new();
        for file in stocked.files().into_iter().rev() {
            let kind = kind_of(&file);
            if kind.group == group && (full() || !known.contains(&kind.pattern)) {
                known.push(kind.pattern);
                take(&stocked, kind, &file);
            }
        }
    }
}

fn kind_of(file: &str) -> &'static Kind {
    Kind::of(file).unwrap_or_else(|| panic!("{file} is of no kind"))
}

/// How often something was done, and to what end.
#[derive(Default)]
struct Count {
    named: u64,
    harmless: u64,
}

impl Count {
    fn tell(self, group: Group, what: &str) {
        let words = group.words();
        for (count, end) in [(self.named, "that were named"), (self.harmless, "that do no harm")] {
            if count > 0 {
                tried("memory", count, &format!("{what} of {words} {end}")).unwrap();
            }
        }
        assert!(self.named + self.harmless > 0);
    }

    /// Damages a file, and sees what is said of it.
    fn judge(&mut self, stocked: &Stocked, kind: &Kind, file: &str, damage: &Damage<'_>) {
        if !stocked.write(file, &damage.now) {
            return;
        }
        let found = stocked.world.check(kind.level);
        if found.is_empty() {
            let reason = kind.harmless(damage);
            let reason = reason.unwrap_or_else(|| panic!("{file} {damage:?} is not named"));
            stocked.expect_unharmed(reason == Reason::OwnText, reason == Reason::EmptyList);
            self.harmless += 1;
        } else {
            let is_named = found.iter().any(|finding| names(&finding.problem, file, damage));
            assert!(is_named, "{file} {damage:?}: {found:?}");
            self.named += 1;
        }
    }
}

/// Whether a problem is about a file.
fn names(problem: &Problem, file: &str, damage: &Damage<'_>) -> bool {
    if let Problem::DamagedRecords { file: named, .. } = problem {
        return file.ends_with(named.to_str().unwrap());
    }
    if Kind::of(file).is_some_and(|kind| kind.group == Group::Records) {
        return true;
    }
    let target = String::from_utf8_lossy(damage.whole);
    let mut ids = file.split(['/', '.']).chain(target.split('/')).filter(|part| part.len() == 64);
    ids.next().is_some_and(|id| problem.to_string().contains(id))
}

fn cut_points(length: usize) -> Vec<usize> {
    let dense = |length: usize| (0..length).step_by(length / 1000).chain(length - 64..length);
    if length <= SMALL || full() { (0..length).collect() } else { dense(length).collect() }
}

fn cut_all(group: Group) {
    let mut count = Count::default();
    each_file(group, |stocked, kind, file| {
        let whole = stocked.read(file);
        for length in cut_points(whole.len()) {
            count.judge(stocked, kind, file, &Damage::cut(&whole, length));
        }
        stocked.write(file, &whole);
    });
    count.tell(group, "cuts");
}

fn flip_all(group: Group) {
    let mut count = Count::default();
    let (mut dice, flips) = (Dice::new(6), if full() { 1000 } else { 200 });
    each_file(group, |stocked, kind, file| {
        let whole = stocked.read(file);
        for _ in 0..if whole.is_empty() { 0 } else { flips } {
            count.judge(stocked, kind, file, &flipped(&whole, &mut dice));
        }
        stocked.write(file, &whole);
    });
    count.tell(group, "flipped bits");
}

fn flipped<'a>(whole: &'a [u8], dice: &mut Dice) -> Damage<'a> {
    let at = usize::try_from(dice.below(whole.len() as u64)).unwrap();
    Damage::flip(whole, at, u32::try_from(dice.below(8)).unwrap())
}

#[test]
fn r6_every_file_of_a_store_is_of_a_kind_and_every_kind_is_there() {
    let mut seen: BTreeSet<&str> = KINDS.iter().map(|kind| kind.pattern).collect();
    for form in FORMS {
        for file in Stocked::new(form).files() {
            seen.remove(kind_of(&file).pattern);
        }
    }
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn r6_a_cut_record_file_is_named() {
    cut_all(Group::Records);
}

#[test]
fn r6_a_flipped_bit_of_a_record_file_is_named_or_changes_no_layer() {
    flip_all(Group::Records);
}

#[test]
fn r6_a_cut_document_is_named() {
    cut_all(Group::Documents);
}

#[test]
fn r6_a_flipped_bit_of_a_document_is_named() {
    flip_all(Group::Documents);
}

#[test]
fn r6_a_cut_file_of_a_layer_is_named() {
    cut_all(Group::Directories);
}

#[test]
fn r6_a_flipped_bit_of_a_file_of_a_layer_is_named() {
    flip_all(Group::Directories);
}

#[test]
fn r6_a_cut_file_beside_a_layer_is_named() {
    cut_all(Group::Data);
}

#[test]
fn r6_a_flipped_bit_beside_a_layer_is_named_or_says_the_same() {
    flip_all(Group::Data);
}

#[test]
fn r6_cut_or_flipped_locks_and_notes_do_no_harm() {
    cut_all(Group::Others);
    flip_all(Group::Others);
}

/// Damages of each file after which a pull or a repair comes.
fn samples(whole: &[u8]) -> Vec<Damage<'_>> {
    if whole.is_empty() {
        return Vec::new();
    }
    let mut dice = Dice::new(whole.len() as u64);
    let mut samples = vec![Damage::cut(whole, 0), Damage::cut(whole, whole.len() - 1)];
    samples.push(Damage::cut(whole, whole.len() / 2));
    samples.extend((0..if full() { 37 } else { 7 }).map(|_| flipped(whole, &mut dice)));
    samples
}

/// After damage comes a pull, or a repair; in the end all is there, or it is said what not.
fn lose_nothing(group: Group) {
    let mut count = 0;
    each_file(group, |stocked, _, file| {
        let whole = stocked.read(file);
        for (number, damage) in samples(&whole).into_iter().enumerate() {
            stocked.restore();
            if stocked.write(file, &damage.now) {
                if number % 2 == 0 {
                    pull_into_damage(stocked, group, file, &damage);
                }
                repair(stocked, file, &damage);
                count += 1;
            }
        }
        stocked.restore();
    });
    let what = format!("damaged {} after which nothing was lost", group.words());
    tried("memory", count, &what).unwrap();
}

/// Whether it succeeds or not, a pull overwrites no records that it cannot read.
fn pull_into_damage(stocked: &Stocked, group: Group, file: &str, damage: &Damage<'_>) {
    let others = || (stocked.records_of_containers(), stocked.read(MOUNTS));
    let before = others();
    let failed = stocked.pull();
    assert_eq!(others(), before, "{file} {damage:?}");
    stocked.expect_contents();
    if !failed.is_empty() {
        assert_eq!(group, Group::Records, "{file} {damage:?}: {failed:?}");
        assert_eq!(stocked.read(file), damage.now, "{failed:?}");
    }
}

/// A repair mends all, or says what it left alone and why; the next pull succeeds.
fn repair(stocked: &Stocked, file: &str, damage: &Damage<'_>) {
    let of_containers = stocked.records_of_containers();
    let report = stocked.repair();
    assert_eq!(stocked.records_of_containers(), of_containers, "{file} {damage:?}");
    let untold: Vec<_> =
        report.findings.iter().filter(|m| !m.repaired && m.reason.is_empty()).collect();
    assert!(untold.is_empty(), "{file} {damage:?}: {untold:#?}");
    let is_of_records = |m: &&Mended| matches!(m.finding.problem, Problem::DamagedRecords { .. });
    if report.findings.iter().filter(is_of_records).any(|mended| mended.repaired) {
        assert_eq!(stocked.read(&format!("{file}.damaged-1")), damage.now);
    }
    stocked.expect_contents();
    let failed = stocked.pull();
    assert!(failed.is_empty(), "{file} {damage:?}: {failed:?}; {report:#?}");
    stocked.expect_all_there();
    let left = stocked.world.check(CheckLevel::Content);
    let told = |problem: &Problem| report.left.iter().any(|left| left.problem == *problem);
    let new: Vec<_> = left.iter().filter(|finding| !told(&finding.problem)).collect();
    assert!(new.is_empty(), "{file} {damage:?}: {new:#?}; {report:#?}");
}

#[test]
fn r6_nothing_is_lost_by_a_damaged_record_file() {
    lose_nothing(Group::Records);
}

#[test]
fn r6_nothing_is_lost_by_a_damaged_document() {
    lose_nothing(Group::Documents);
}

#[test]
fn r6_nothing_is_lost_by_a_damaged_file_of_a_layer() {
    lose_nothing(Group::Directories);
}

#[test]
fn r6_nothing_is_lost_by_a_damaged_file_beside_a_layer() {
    lose_nothing(Group::Data);
}

#[test]
fn r6_nothing_is_lost_by_damaged_locks_and_notes() {
    lose_nothing(Group::Others);
}
