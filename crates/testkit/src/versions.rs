//! Layers in two versions that say something about updates, as tar streams.

use std::io::{self, Write};

use crate::dice::Dice;
use crate::tar::TarWriter;
use crate::tree::noise;

/// What is in the layers. The same words give the same bytes, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One file of so many bytes; the update inserts 1 to 3,000 bytes at 100 places.
    Insertions(usize),
    /// One file of so many bytes; the update writes over 3,000 bytes at 100 places.
    Changes(usize),
    /// So many files of 20 to 419 bytes; the update changes one out of `every`.
    Tiny {
        /// How many.
        files: u64,
        /// Of so many one changes.
        every: u64,
    },
    /// One small file; the update has two layers that say everything several times.
    Repeated,
}

const EDITS: u64 = 100;
const EDIT: usize = 3000;
/// So many files are in one directory.
const TOGETHER: u64 = 1000;

impl Content {
    /// How many layers the old or the updated version has.
    pub fn layers(self, updated: bool) -> u64 {
        if self == Self::Repeated && updated { 2 } else { 1 }
    }

    /// Writes a layer of the old or the updated version; the base layer is 0.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write<W: Write>(
        self,
        updated: bool,
        layer: u64,
        tar: &mut TarWriter<W>,
    ) -> io::Result<()> {
        let model = |length, edit: fn(&[u8]) -> Vec<u8>| {
            let content = noise(length, 5);
            if updated { edit(&content) } else { content }
        };
        match self {
            Self::Insertions(length) => tar.file("model", &model(length, insert)),
            Self::Changes(length) => tar.file("model", &model(length, overwrite)),
            Self::Tiny { files, every } => tiny(files, if updated { every } else { 0 }, tar),
            Self::Repeated if updated => repeated(layer, tar),
            Self::Repeated => tar.file("only", &noise(9000, 1)),
        }
    }
}

fn insert(before: &[u8]) -> Vec<u8> {
    let mut dice = Dice::new(6);
    let mut places: Vec<usize> = (0..EDITS).map(|_| index(&mut dice, before.len())).collect();
    places.sort_unstable();
    let (mut after, mut done) = (Vec::with_capacity(before.len()), 0);
    for place in places {
        after.extend_from_slice(&before[done..place]);
        after.extend(noise(1 + index(&mut dice, EDIT), place as u64));
        done = place;
    }
    after.extend_from_slice(&before[done..]);
    after
}

fn overwrite(before: &[u8]) -> Vec<u8> {
    let (mut dice, mut after) = (Dice::new(6), before.to_vec());
    for _ in 0..EDITS {
        let at = index(&mut dice, before.len() - EDIT);
        after[at..at + EDIT].copy_from_slice(&noise(EDIT, at as u64));
    }
    after
}

fn index(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end as u64)).expect("it is below an index")
}

fn tiny<W: Write>(files: u64, every: u64, tar: &mut TarWriter<W>) -> io::Result<()> {
    for number in 0..files {
        let directory = number / TOGETHER;
        if number % TOGETHER == 0 {
            tar.directory(&format!("d{directory}/"))?;
        }
        let changed = every > 0 && number % every == every / 2;
        let seed = if changed { number + (1 << 40) } else { number };
        let length = usize::try_from(20 + number % 400).expect("it is small");
        tar.file(&format!("d{directory}/{number}"), &noise(length, seed))?;
    }
    Ok(())
}

/// The same files under several names, and the same chunks inside larger files.
fn repeated<W: Write>(layer: u64, tar: &mut TarWriter<W>) -> io::Result<()> {
    let part = |number| noise(400_000, 200 + number);
    // The upper layer repeats the lower, and adds something of its own.
    for from in (0..=layer).map(|layer| 2 * layer) {
        for number in 0..8 {
            let between = noise(50_000, from + 90 + number);
            tar.file(&format!("a{from}-{number}"), &part(from + number % 3))?;
            let large = [part(from), between, part(from + 1)].concat();
            tar.file(&format!("b{from}-{number}"), &large)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{insert, overwrite};
    use crate::tree::noise;

    #[test]
    fn edits_leave_most_as_it_was() {
        let before = noise(2_000_000, 1);
        let after = overwrite(&before);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!((100_000..=300_000).contains(&changed), "{changed}");
        let grown = insert(&before).len() - before.len();
        assert!((100..=300_000).contains(&grown), "{grown}");
    }
}
