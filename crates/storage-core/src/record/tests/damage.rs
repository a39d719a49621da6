use super::{Root, layer, layer_id};
use crate::{ContainerStore, ImageStore, LayerStore, RecordError};

/// A file of two records.
fn layers_json(root: &Root) -> Vec<u8> {
    let store = LayerStore::open(&root.handle).unwrap();
    let mut layers = store.write().unwrap();
    for n in 1..=2 {
        let mut record = layer(n);
        record.parent = (n > 1).then(|| layer_id(n - 1));
        record.names = vec![format!("name {n}")];
        record.big_data_names = vec!["key".into()];
        layers.records_mut().push(record);
    }
    layers.save().unwrap();
    std::fs::read(root.path("overlay-layers/layers.json")).unwrap()
}

#[test]
fn a_file_that_is_cut_anywhere_is_an_error_and_stays_as_it_is() {
    let root = Root::new();
    let whole = layers_json(&root);
    let store = LayerStore::open(&root.handle).unwrap();
    for length in 0..whole.len() {
        root.put("overlay-layers/layers.json", &whole[..length]);
        let error = store.read().unwrap_err();
        assert!(error.to_string().contains("overlay-layers/layers.json"), "{error}");
        assert!(store.write().is_err(), "cut to {length} bytes");
        let left = std::fs::read(root.path("overlay-layers/layers.json")).unwrap();
        assert!(left == whole[..length]);
    }
    assert!(matches!(
        {
            root.put("overlay-layers/layers.json", "");
            store.read().unwrap_err()
        },
        RecordError::Empty { .. }
    ));
    root.put("overlay-layers/layers.json", &whole);
    assert_eq!(store.read().unwrap().records().len(), 2);
}

#[test]
fn a_flipped_bit_never_makes_records_vanish() {
    let root = Root::new();
    let whole = layers_json(&root);
    let store = LayerStore::open(&root.handle).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            root.put("overlay-layers/layers.json", &flipped);
            if let Ok(layers) = store.read() {
                assert_eq!(layers.records().len(), 2, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn every_kind_of_record_file_is_checked() {
    for (file, read) in [
        (
            "overlay-layers/layers.json",
            (|root| LayerStore::open(&root.handle)?.read().map(drop))
                as fn(&Root) -> Result<(), RecordError>,
        ),
        ("overlay-layers/volatile-layers.json", |root| {
            LayerStore::open(&root.handle)?.read().map(drop)
        }),
        ("overlay-images/images.json", |root| ImageStore::open(&root.handle)?.read().map(drop)),
        ("overlay-containers/containers.json", |root| {
            ContainerStore::open(&root.handle)?.read().map(drop)
        }),
        ("overlay-containers/volatile-containers.json", |root| {
            ContainerStore::open(&root.handle)?.read().map(drop)
        }),
    ] {
        let root = Root::new();
        read(&root).expect("a missing file is an empty store");
        for bad in
            ["", " ", "[", "[]x", "{}", "null", "[null]", "[{}]", "[1]", r#"[{"id":"x"}]"#, "\0"]
        {
            root.put(file, bad);
            if bad.is_empty() && file.contains("volatile") {
                read(&root).expect("what a power cut leaves of a file that is never flushed");
                continue;
            }
            let error = read(&root).unwrap_err();
            assert!(error.to_string().contains(file), "{bad:?}: {error}");
        }
        root.put(file, "[]");
        read(&root).expect("an empty array is an empty store");
    }
}

#[test]
fn ids_and_digests_are_checked() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    let id = layer_id(1);
    for (field, key) in [
        (r#""id":"../../../../etc""#.to_owned(), "id"),
        (format!(r#""id":"{}""#, "A".repeat(64)), "id"),
        (format!(r#""id":"{id}","parent":"..""#), "parent"),
        (format!(r#""id":"{id}","diff-digest":"sha256:00""#), "diff-digest"),
        (format!(r#""id":"{id}","uidset":[4294967296]"#), "uidset"),
        (format!(r#""id":"{id}","created":"yesterday""#), "created"),
        (format!(r#""id":"{id}","flags":[]"#), "flags"),
    ] {
        root.put("overlay-layers/layers.json", format!("[{{{field}}}]"));
        match store.read().unwrap_err() {
            RecordError::Field { key: found, number: 0, .. } => assert_eq!(found, key),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn r6_what_stands_before_a_cut_is_rescued_and_the_file_is_kept() {
    let root = Root::new();
    let whole = layers_json(&root);
    let store = LayerStore::open(&root.handle).unwrap();
    let records = store.read().unwrap().records().to_vec();
    let first_end = whole.windows(3).position(|window| window == b"},{").unwrap() + 1;
    for (number, length) in (0..whole.len()).enumerate() {
        root.put("overlay-layers/layers.json", &whole[..length]);
        let (mut layers, rescued) = store.rescue().unwrap();
        let expected = if length < first_end {
            0
        } else if length < whole.len() - 1 {
            1
        } else {
            2
        };
        assert_eq!(layers.records(), &records[..expected], "cut to {length} bytes");
        assert_eq!(rescued.records, expected);
        let kept = format!("overlay-layers/layers.json.damaged-{}", number + 1);
        assert_eq!(rescued.kept, [std::path::PathBuf::from(&kept)]);
        assert!(std::fs::read(root.path(&kept)).unwrap() == whole[..length]);
        // Until it is saved, the file is what it was.
        assert_eq!(std::fs::read(root.path("overlay-layers/layers.json")).unwrap().len(), length);
        layers.save().unwrap();
        drop(layers);
        assert_eq!(store.read().unwrap().records().len(), expected);
    }
}

#[test]
fn r6_a_sound_file_is_rescued_whole_and_left_alone() {
    let root = Root::new();
    layers_json(&root);
    let store = LayerStore::open(&root.handle).unwrap();
    let (mut layers, rescued) = store.rescue().unwrap();
    assert_eq!((layers.records().len(), rescued), (2, crate::Rescued::default()));
    layers.save().unwrap();
    let names = std::fs::read_dir(root.path("overlay-layers")).unwrap();
    assert!(names.flatten().all(|name| !name.file_name().to_string_lossy().contains("damaged")));
}
