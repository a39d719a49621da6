//! Names that belong to one record at a time.

use std::collections::HashSet;

/// Takes every name away from all records but the last that has it.
///
/// `names` gives the names of a record.
pub(super) fn make_unique<R>(records: &mut [R], names: impl Fn(&mut R) -> &mut Vec<String>) {
    let mut taken = HashSet::new();
    for record in records.iter_mut().rev() {
        // Within one record the first of two equal names stays.
        let mut own = HashSet::new();
        names(record).retain(|name| !taken.contains(name) && own.insert(name.clone()));
        taken.extend(own);
    }
}
