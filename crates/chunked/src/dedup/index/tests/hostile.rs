use super::super::find::Hits;
use super::super::write::write_limited;
use super::*;

fn some() -> Vec<Recipe> {
    vec![recipe("a/b", &[1]), recipe("a/c", &[1, 2, 0, 3]), recipe("d", &[2, 2])]
}

fn map() -> DedupMap {
    DedupMap::new(Wanted::of(&toc(&some())))
}

/// Everything that can be done with what may be an index; tells whether it went well.
fn use_it(bytes: &[u8]) -> bool {
    let Ok(index) = open(bytes) else { return false };
    let (mut scanned, mut probed) = (map(), map());
    let mut hits = Hits::new(&index, 0, &mut scanned);
    let scan = index.scan(&mut hits).and_then(|()| hits.bring());
    let mut hits = Hits::new(&index, 0, &mut probed);
    let probe = index.probe(&mut hits).and_then(|()| hits.bring());
    scan.is_ok() && probe.is_ok()
}

#[test]
fn an_index_that_was_cut_or_has_more_is_none() {
    let whole = index(&some());
    assert!(use_it(&whole));
    for length in 0..whole.len() {
        assert!(open(&whole[..length]).is_err(), "cut to {length}");
    }
    let longer = open(&[&whole[..], b"x"].concat());
    assert!(matches!(longer, Err(IndexError::Length { .. })));
}

#[test]
fn whatever_bit_is_wrong_nothing_worse_comes_of_it_than_an_error() {
    let whole = index(&some());
    let mut errors = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            errors += u32::from(!use_it(&bytes));
        }
    }
    assert!(errors > 500, "only {errors} were noticed");
}

#[test]
fn what_others_could_make_is_told_apart() {
    let whole = index(&some());
    let with = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        open(&bytes).unwrap_err()
    };
    let words = usize::try_from(u64::from_le_bytes(whole[24..32].try_into().unwrap())).unwrap();
    let lengths = 36 + 8 * words;
    assert!(matches!(with(0, 2), IndexError::Version(2)));
    assert!(matches!(with(8, 71), IndexError::Algorithm));
    assert!(matches!(with(16, 71), IndexError::Algorithm));
    assert!(matches!(with(24, 0), IndexError::Damaged(_)));
    assert!(matches!(with(24, u64::MAX), IndexError::TooLarge(_)));
    assert!(matches!(with(24, 1 << 25), IndexError::Read { .. }));
    assert!(matches!(with(lengths, 1 << 40), IndexError::TooLarge(_)));
    assert!(matches!(with(lengths + 8, u64::MAX), IndexError::Length { .. }));
    assert!(open(toc_json(&some()).as_bytes()).is_err());
}

#[test]
fn tags_that_are_not_sorted_are_noticed() {
    let mut bytes = index(&some());
    let words = usize::try_from(u64::from_le_bytes(bytes[24..32].try_into().unwrap())).unwrap();
    let tags = 60 + 8 * words;
    let (first, second) = bytes[tags..].split_at_mut(55);
    first.swap_with_slice(&mut second[..55]);
    let error = open(&bytes).unwrap().find(0, &mut map()).unwrap_err();
    assert!(matches!(error, IndexError::Damaged("tags")), "{error}");
}

#[test]
fn a_name_that_leaves_the_layer_is_not_used() {
    let mut bytes = index(&[recipe("a/b/c", &[1])]);
    let at = bytes.len() - 5;
    bytes[at..].copy_from_slice(b"../.x");
    let (index, mut map) = (open(&bytes).unwrap(), map());
    index.find(0, &mut map).unwrap();
    assert_eq!(places(&map, Recipe::digest_of(1)), []);
}

#[test]
fn beyond_the_limit_fingerprints_are_left_out_first_then_what_comes_last() {
    let layer = some();
    let written = |limit| {
        let mut bytes = Vec::new();
        write_limited(&toc(&layer), &mut bytes, limit).unwrap();
        let index = open(&bytes).unwrap();
        let mut map = map();
        index.find(0, &mut map).unwrap();
        let found = layer.iter().filter(|file| !places(&map, file.digest()).is_empty()).count();
        (index.count(), found)
    };
    // Three files with two tags each, and all chunks but the last, which is there before.
    assert_eq!(written(11), (11, 3));
    assert_eq!(written(10), (8, 3));
    assert_eq!(written(8), (8, 3));
    assert_eq!(written(7), (7, 3));
    assert_eq!(written(2), (2, 2));
    assert_eq!(written(0), (0, 0));
}

#[test]
fn an_index_of_nothing_has_68_bytes_and_gives_nothing() {
    let bytes = index(&[]);
    assert_eq!(bytes.len(), 68);
    assert!(use_it(&bytes));
}
