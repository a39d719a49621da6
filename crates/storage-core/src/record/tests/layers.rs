use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use super::{Root, layer, layer_id};
use crate::{LayerFile, LayerRecord, LayerStore, RecordError};

fn ids<'r>(records: impl IntoIterator<Item = &'r LayerRecord>) -> Vec<String> {
    records.into_iter().map(|r| r.id.as_str().trim_start_matches('0').to_owned()).collect()
}

fn save(store: &LayerStore, records: impl IntoIterator<Item = LayerRecord>) {
    let mut layers = store.write().unwrap();
    layers.records_mut().extend(records);
    layers.save().unwrap();
}

#[test]
fn only_a_save_that_changes_something_writes_a_token() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    let token = || store.read().unwrap().token().unwrap().unwrap();
    assert!(token().is_never_written());

    let mut tokens = vec![token()];
    for n in 1..=3 {
        save(&store, [layer(n)]);
        assert!(!tokens.contains(&token()));
        tokens.push(token());
    }
    save(&store, []);
    assert_eq!(tokens.last(), Some(&token()));
    assert_eq!(std::fs::read(root.path("overlay-layers/layers.lock")).unwrap().len(), 64);
}

#[test]
fn what_is_not_saved_is_forgotten() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    save(&store, [layer(1)]);
    let mut layers = store.write().unwrap();
    layers.records_mut().clear();
    drop(layers);
    assert_eq!(ids(store.read().unwrap().records()), ["1"]);
}

#[test]
fn each_record_goes_back_to_its_file() {
    let root = Root::new();
    let volatile = LayerRecord { file: LayerFile::Volatile, ..layer(2) };
    let store = LayerStore::open(&root.handle).unwrap();
    save(&store, [layer(1)]);
    assert!(!root.path("overlay-layers/volatile-layers.json").exists());
    let durable = root.text("overlay-layers/layers.json");

    save(&store, [volatile]);
    assert_eq!(root.text("overlay-layers/layers.json"), durable);
    let json = root.text("overlay-layers/volatile-layers.json");
    assert!(json.contains(layer_id(2).as_str()) && !json.contains(layer_id(1).as_str()));

    let mut layers = store.write().unwrap();
    assert_eq!(ids(layers.records()), ["1", "2"]);
    layers.get_mut(&layer_id(2)).unwrap().file = LayerFile::Durable;
    layers.save().unwrap();
    assert_eq!(root.text("overlay-layers/volatile-layers.json"), "[]");
    assert_eq!(ids(layers.records()), ["1", "2"]);
}

/// podman 5.8.6 writes to the same files, and a token to both locks.
#[test]
fn layers_of_images_have_their_records_in_the_image_store() {
    let (root, images) = (Root::new(), Root::new());
    let store = LayerStore::open_with_image_store(&root.handle, &images.handle).unwrap();
    let file = store.read().unwrap().file_of_images();
    save(&store, [layer(1), LayerRecord { file, ..layer(2) }]);
    let text = |root: &Root| root.text("overlay-layers/layers.json");
    let holds = |text: &str| [1, 2].map(|n| text.contains(layer_id(n).as_str()));
    assert_eq!(holds(&text(&root)), [true, false]);
    assert_eq!(holds(&text(&images)), [false, true]);
    for root in [&root, &images] {
        let lock = root.path("overlay-layers/layers.lock");
        assert_eq!(std::fs::read(lock).unwrap().len(), 64);
    }
    let layers = store.read().unwrap();
    assert_eq!(ids(layers.records()), ["1", "2"]);
    let with_images = |layer: &LayerRecord| layers.is_with_images(layer);
    assert_eq!(layers.records().iter().map(with_images).collect::<Vec<_>>(), [false, true]);
    drop(layers);
    let plain = LayerStore::open(&root.handle).unwrap();
    assert_eq!(ids(plain.read().unwrap().records()), ["1"]);
    assert_eq!(plain.read().unwrap().file_of_images(), LayerFile::Durable);
}

#[test]
fn files_that_did_not_change_are_not_written() {
    let root = Root::new();
    // Not the way we would write it: any rewriting would show.
    let odd = format!("[ {{\"created\":\"0001-01-01T00:00:00Z\", \"id\":\"{}\"}} ]\n", layer_id(1));
    root.put("overlay-layers/layers.json", &odd);
    let store = LayerStore::open(&root.handle).unwrap();
    save(&store, [LayerRecord { file: LayerFile::Volatile, ..layer(2) }]);
    assert_eq!(root.text("overlay-layers/layers.json"), odd);
}

#[test]
fn of_two_files_with_one_id_the_first_counts() {
    let root = Root::new();
    let json = |text: &str| format!(r#"[{{"id":"{}","metadata":"{text}"}}]"#, layer_id(1));
    root.put("overlay-layers/layers.json", json("durable"));
    root.put("overlay-layers/volatile-layers.json", json("volatile"));
    let store = LayerStore::open(&root.handle).unwrap();
    let layers = store.read().unwrap();
    assert_eq!(layers.records().len(), 1);
    assert_eq!(layers.get(&layer_id(1)).unwrap().metadata, "durable");
    drop(layers);

    let mut layers = store.write().unwrap();
    layers.records_mut().push(layer(1));
    assert!(matches!(layers.save(), Err(RecordError::DuplicateId { .. })));
    drop(layers);

    let twice = format!(r#"[{{"id":"{0}"}},{{"id":"{0}"}}]"#, layer_id(1));
    root.put("overlay-layers/layers.json", twice);
    assert!(matches!(store.read(), Err(RecordError::DuplicateId { .. })));
}

#[test]
fn a_name_belongs_to_the_last_that_has_it() {
    let root = Root::new();
    let named = |n| LayerRecord { names: vec!["a".into(), format!("own {n}")], ..layer(n) };
    let store = LayerStore::open(&root.handle).unwrap();
    save(&store, [named(1), named(2)]);
    let layers = store.read().unwrap();
    assert_eq!(layers.by_name("a").unwrap().id, layer_id(2));
    assert_eq!(layers.by_name("own 1").unwrap().id, layer_id(1));
    assert_eq!(root.text("overlay-layers/layers.json").matches("\"a\"").count(), 1);
}

#[test]
fn chains_end_at_the_base_and_circles_are_found() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    let on = |n, parent| LayerRecord { parent: Some(layer_id(parent)), ..layer(n) };
    save(&store, [layer(1), on(2, 1), on(3, 2), on(4, 2), on(5, 99), on(6, 7), on(7, 6), on(8, 8)]);
    let layers = store.read().unwrap();

    assert_eq!(ids(layers.chain(&layer_id(3)).unwrap()), ["3", "2", "1"]);
    assert_eq!(ids(layers.children(&layer_id(2))), ["3", "4"]);
    let foreign = layers.chain(&layer_id(5)).unwrap();
    assert_eq!(foreign.last().unwrap().parent, Some(layer_id(99)));
    for n in [6, 7, 8] {
        assert!(matches!(layers.chain(&layer_id(n)), Err(RecordError::Circle { .. })), "{n}");
    }
    assert!(matches!(layers.chain(&layer_id(9)), Err(RecordError::Unknown { .. })));
}

#[test]
fn a_chain_of_all_layers_is_no_circle() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    let on = |n: u32| LayerRecord { parent: (n > 1).then(|| layer_id(n - 1)), ..layer(n) };
    save(&store, (1..=4).map(on));
    assert_eq!(store.read().unwrap().chain(&layer_id(4)).unwrap().len(), 4);
}

#[test]
fn incomplete_layers_are_listed() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    let mut half = layer(2);
    half.flags.set_incomplete(true);
    save(&store, [layer(1), half]);
    let mut layers = store.write().unwrap();
    assert_eq!(layers.incomplete(), [layer_id(2)]);
    layers.get_mut(&layer_id(2)).unwrap().flags.set_incomplete(false);
    layers.save().unwrap();
    assert!(!root.text("overlay-layers/layers.json").contains("flags"));
}

#[test]
fn data_is_adopted_read_and_discarded() {
    let root = Root::new();
    root.put("aside/toc.json", "toc");
    root.put("aside/split", "gzip");
    let aside = std::fs::File::open(root.path("aside")).unwrap();
    let store = LayerStore::open(&root.handle).unwrap();
    let id = layer_id(1);

    let mut layers = store.write().unwrap();
    let key = "zstd-chunked-manifest";
    assert!(matches!(
        layers.adopt_big_data(&id, key, &aside, "toc.json"),
        Err(RecordError::Unknown { .. })
    ));
    layers.records_mut().push(layer(1));
    layers.adopt_big_data(&id, key, &aside, "toc.json").unwrap();
    layers.adopt_tar_split(&id, &aside, "split").unwrap();
    layers.sync_layer(&id).unwrap();
    layers.save().unwrap();
    assert_eq!(layers.get(&id).unwrap().big_data_names, [key]);
    drop(layers);

    let file = format!("overlay-layers/{id}/=enN0ZC1jaHVua2VkLW1hbmlmZXN0");
    assert_eq!(root.text(&file), "toc");
    let mode = |name: &str| root.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&format!("overlay-layers/{id}")), 0o700);
    assert_eq!(mode(&format!("overlay-layers/{id}.tar-split.gz")), 0o600);

    let layers = store.read().unwrap();
    let mut text = String::new();
    layers.open_big_data(&id, key).unwrap().unwrap().read_to_string(&mut text).unwrap();
    layers.open_tar_split(&id).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "tocgzip");
    assert!(layers.open_big_data(&id, "other").unwrap().is_none());
    assert!(layers.open_big_data(&layer_id(2), key).unwrap().is_none());
    assert!(layers.orphans().unwrap().is_empty());
    drop(layers);

    let mut layers = store.write().unwrap();
    layers.records_mut().clear();
    layers.save().unwrap();
    assert_eq!(layers.orphans().unwrap(), std::slice::from_ref(&id));
    let heap = layers.discard_data(&id).unwrap().unwrap();
    assert!(layers.discard_data(&id).unwrap().is_none());
    assert!(layers.orphans().unwrap().is_empty());
    drop(layers);
    assert_eq!(std::fs::read_dir(root.path("overlay-layers/tmp")).unwrap().count(), 2);
    heap.delete().unwrap();
    assert_eq!(std::fs::read_dir(root.path("overlay-layers/tmp")).unwrap().count(), 0);
}

#[test]
fn keys_and_files_that_lead_elsewhere_are_refused() {
    let root = Root::new();
    root.put("aside/file", "x");
    std::os::unix::fs::symlink("file", root.path("aside/link")).unwrap();
    let aside = std::fs::File::open(root.path("aside")).unwrap();
    let store = LayerStore::open(&root.handle).unwrap();
    let mut layers = store.write().unwrap();
    layers.records_mut().push(layer(1));
    let id = layer_id(1);
    // The second is base64 with a slash; the last is a raw key by the quirk.
    for key in ["", "ab?A", "..", ".", "a/", &"k".repeat(256)] {
        let adopted = layers.adopt_big_data(&id, key, &aside, "file");
        assert!(matches!(adopted, Err(RecordError::Key { .. })), "{key:?}");
        assert!(layers.open_big_data(&id, key).unwrap().is_none(), "{key:?}");
    }
    assert!(layers.adopt_big_data(&id, "key", &aside, "link").is_err());
    assert!(layers.adopt_big_data(&id, "key", &root.handle, "aside").is_err());
    assert!(layers.get(&id).unwrap().big_data_names.is_empty());
    assert!(root.path("aside/file").exists());
}

#[test]
fn leftovers_are_swept() {
    let root = Root::new();
    let store = LayerStore::open(&root.handle).unwrap();
    root.put("overlay-layers/.tmp-layers.json123", "[");
    root.put("overlay-layers/.tmp-volatile-layers.json9", "[");
    root.put("overlay-layers/.tmp-other1", "");
    root.put("overlay-layers/tmp/lock-5", "");
    root.put("overlay-layers/tmp/temp-dir-5/0-x/y", "");
    let mut layers = store.write().unwrap();
    assert_eq!(layers.sweep().unwrap(), 2);
    layers.records_mut().push(layer(1));
    root.put(&format!("overlay-layers/{}/.tmp-key7", layer_id(1)), "");
    root.put(&format!("overlay-layers/{}/key", layer_id(1)), "");
    assert_eq!(layers.sweep().unwrap(), 1);
    drop(layers);
    assert_eq!(store.recover().unwrap(), 1);
    assert_eq!(store.recover().unwrap(), 0);
    assert!(root.path("overlay-layers/.tmp-other1").exists());
    assert_eq!(std::fs::read_dir(root.path("overlay-layers/tmp")).unwrap().count(), 0);
}

#[test]
fn a_read_only_store_is_read_and_left_alone() {
    let root = Root::new();
    let store = LayerStore::open_read_only(&root.handle).unwrap();
    assert!(store.read().unwrap().records().is_empty());
    assert!(matches!(store.write(), Err(RecordError::ReadOnly { .. })));
    assert_eq!(std::fs::read_dir(root.directory.path()).unwrap().count(), 0);

    root.put("overlay-layers/layers.json", format!(r#"[{{"id":"{}"}}]"#, layer_id(1)));
    let store = LayerStore::open_read_only(&root.handle).unwrap();
    assert_eq!(ids(store.read().unwrap().records()), ["1"]);
    assert_eq!(store.read().unwrap().token().unwrap(), None);
    assert!(matches!(store.write(), Err(RecordError::ReadOnly { .. })));
    assert_eq!(std::fs::read_dir(root.path("overlay-layers")).unwrap().count(), 1);
}
