use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::find::Hits;
use super::*;

fn layer() -> impl Strategy<Value = Vec<Recipe>> {
    let contents = proptest::collection::vec(0..12_u8, 1..5);
    proptest::collection::btree_map("([ab]/){0,2}[a-z]{1,3}f", contents, 0..25).prop_map(|files| {
        files.into_iter().map(|(name, contents)| Recipe { name, contents }).collect()
    })
}

/// All places that an index of the layer lists, by the words of the format.
fn listed(source: u32, layer: &[Recipe]) -> Vec<(Digest, Candidate)> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for file in layer {
        all.push((file.digest(), place(source, file, 0, file.size())));
        let several = file.contents.len() > 1;
        for (i, (offset, content)) in file.chunks().enumerate().filter(|_| several) {
            if i == 0 || seen.insert(content) {
                let place = place(source, file, offset, Recipe::length_of(content));
                all.push((Recipe::digest_of(content), place));
            }
        }
    }
    all
}

/// Two that begin a file and two others, of the lowest sources.
fn kept(digest: Digest, listed: &[(Digest, Candidate)]) -> Vec<Candidate> {
    let places: BTreeSet<_> =
        listed.iter().filter(|(of, _)| *of == digest).map(|(_, place)| place).collect();
    let starts = places.iter().filter(|place| place.offset == 0).take(2);
    let others = places.iter().filter(|place| place.offset > 0).take(2);
    starts.chain(others).map(|&place| place.clone()).collect()
}

fn all_digests(layers: &[&[Recipe]]) -> BTreeSet<Digest> {
    let files = layers.iter().flat_map(|layer| layer.iter());
    files
        .flat_map(|file| {
            let chunks = file.contents.iter().map(|&content| Recipe::digest_of(content));
            chunks.chain([file.digest()])
        })
        .collect()
}

/// What is wanted of a layer: no chunk that is a hole, but a file that is one.
fn is_wanted(digest: Digest, target: &[Recipe]) -> bool {
    target.iter().any(|file| {
        let several = file.contents.len() > 1;
        let is_chunk = |&content: &u8| content > 0 && Recipe::digest_of(content) == digest;
        file.digest() == digest || several && file.contents.iter().any(is_chunk)
    })
}

proptest! {
    #[test]
    fn an_index_answers_as_the_layer_itself(
        target in layer(), layers in proptest::collection::vec(layer(), 1..4), backwards: bool,
    ) {
        let mut numbered: Vec<(u32, &Vec<Recipe>)> = (0..).zip(&layers).collect();
        if backwards {
            numbered.reverse();
        }
        let wanted = Wanted::of(&toc(&target));
        let [mut found, mut scanned, mut probed, mut read] =
            std::array::from_fn(|_| DedupMap::new(wanted.clone()));
        let mut listed = Vec::new();
        for &(source, layer) in &numbered {
            let index = open(&index(layer)).unwrap();
            index.find(source, &mut found).unwrap();
            let mut hits = Hits::new(&index, source, &mut scanned);
            index.scan(&mut hits).and_then(|()| hits.bring()).unwrap();
            let mut hits = Hits::new(&index, source, &mut probed);
            index.probe(&mut hits).and_then(|()| hits.bring()).unwrap();
            read_candidates(toc_json(layer).as_bytes(), source, &mut read).unwrap();
            listed.extend(self::listed(source, layer));
        }
        let layers: Vec<&[Recipe]> = layers.iter().map(|layer| &layer[..]).chain([&target[..]]).collect();
        for digest in all_digests(&layers) {
            let expected =
                if is_wanted(digest, &target) { kept(digest, &listed) } else { Vec::new() };
            prop_assert_eq!(wanted.contains(&digest.into()), is_wanted(digest, &target));
            for map in [&found, &scanned, &probed] {
                prop_assert_eq!(&places(map, digest), &expected);
            }
            // An index does not list every place, but every digest; a TOC's holes
            // are passed over.
            if digest != Recipe::digest_of(0) {
                prop_assert_eq!(places(&read, digest).is_empty(), expected.is_empty());
            }
        }
    }

    #[test]
    fn who_wants_what_first(layers in proptest::collection::vec(layer(), 0..4)) {
        let tocs: Vec<_> = layers.iter().map(|layer| toc(layer)).collect();
        let (at_once, mut one_by_one) = (Wanted::from_iter(&tocs), Wanted::default());
        for toc in &tocs {
            one_by_one.extend(toc);
        }
        let slices: Vec<&[Recipe]> = layers.iter().map(|layer| &layer[..]).collect();
        let digests = all_digests(&slices);
        for wanted in [&at_once, &one_by_one] {
            let mut count = 0;
            for &digest in &digests {
                let places = (0..).zip(&layers).flat_map(|(number, layer)| {
                    let of_file = move |file: &Recipe| {
                        let several = file.contents.len() > 1;
                        let chunks = file.contents.iter().filter(|&&content| {
                            several && content > 0 && Recipe::digest_of(content) == digest
                        });
                        usize::from(file.digest() == digest) + chunks.count()
                    };
                    let in_layer: usize = layer.iter().map(of_file).sum();
                    std::iter::repeat_n(number, in_layer)
                });
                let places: Vec<u32> = places.collect();
                count += usize::from(!places.is_empty());
                let digest = digest.into();
                prop_assert_eq!(wanted.contains(&digest), !places.is_empty());
                prop_assert_eq!(wanted.repeated(&digest).is_some(), places.len() > 1);
                for (layer, _) in (0..).zip(&tocs) {
                    let goes_on = places.first() == Some(&layer) && places.last() != Some(&layer);
                    prop_assert_eq!(wanted.goes_on_from(layer, &digest), goes_on);
                }
            }
            prop_assert_eq!(wanted.len(), count);
        }
    }
}
