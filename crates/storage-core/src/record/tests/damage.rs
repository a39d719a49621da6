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
