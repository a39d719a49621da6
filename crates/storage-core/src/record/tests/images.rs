use std::os::unix::fs::PermissionsExt;

use super::{Root, image_id};
use crate::{Digest, ImageRecord, ImageStore, ImagesWrite, RecordError};

fn put(images: &mut ImagesWrite<'_>, n: u32, names: &[&str]) {
    images.records_mut().push(ImageRecord::new(image_id(n)));
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    images.set_names(&image_id(n), &names).unwrap();
}

#[test]
fn a_name_has_one_image_and_is_remembered() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let mut images = store.write().unwrap();
    put(&mut images, 1, &["a:1", "b:1", "a:1"]);
    assert_eq!(images.get(&image_id(1)).unwrap().names, ["a:1", "b:1"]);
    assert_eq!(images.get(&image_id(1)).unwrap().names_history, ["b:1", "a:1"]);
    put(&mut images, 2, &["a:1"]);
    images.save().unwrap();
    drop(images);

    let mut images = store.write().unwrap();
    assert_eq!(images.get(&image_id(1)).unwrap().names, ["b:1"]);
    assert_eq!(images.get(&image_id(1)).unwrap().names_history, ["b:1", "a:1"]);
    assert_eq!(images.by_name("a:1").unwrap().id, image_id(2));

    images.add_name(&image_id(1), "c:1").unwrap();
    let first = images.get(&image_id(1)).unwrap();
    assert_eq!(first.names, ["c:1", "b:1"]);
    assert_eq!(first.names_history, ["b:1", "c:1", "a:1"]);

    images.set_names(&image_id(1), &[]).unwrap();
    assert!(images.get(&image_id(1)).unwrap().names.is_empty());
    assert!(matches!(images.set_names(&image_id(9), &[]), Err(RecordError::Unknown { .. })));
}

#[test]
fn names_given_behind_our_back_are_unique_after_a_save() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let mut images = store.write().unwrap();
    for n in 1..=2 {
        let names = vec!["a".to_owned()];
        images.records_mut().push(ImageRecord { names, ..ImageRecord::new(image_id(n)) });
    }
    images.save().unwrap();
    assert_eq!(root.text("overlay-images/images.json").matches("\"a\"").count(), 1);
    assert_eq!(images.by_name("a").unwrap().id, image_id(2));
}

#[test]
fn what_will_be_replaced_is_unsaid_and_nothing_else() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let id = image_id(1);
    let mut images = store.write().unwrap();
    images.records_mut().push(ImageRecord::new(id.clone()));
    let old: [(&str, &[u8]); 2] = [("same", b"1"), ("manifest", b"old")];
    assert!(!images.unsay_big_data(&id, &old), "nothing was said of them");
    images.write_all_big_data(&id, &old).unwrap();
    assert!(!images.unsay_big_data(&id, &old));
    let new: [(&str, &[u8]); 3] = [("same", b"1"), ("manifest", b"new"), ("other", b"2")];
    assert!(images.unsay_big_data(&id, &new));
    let record = images.get(&id).unwrap();
    assert_eq!(record.big_data_sizes.keys().collect::<Vec<_>>(), ["same"]);
    assert_eq!(record.big_data_digests.keys().collect::<Vec<_>>(), ["same"]);
    assert_eq!(record.big_data_names, ["same", "manifest"]);
}

#[test]
fn big_data_is_written_noted_and_removed_with_its_image() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let id = image_id(1);
    let mut images = store.write().unwrap();
    assert!(matches!(images.write_big_data(&id, "k", b""), Err(RecordError::Unknown { .. })));
    images.records_mut().push(ImageRecord::new(id.clone()));
    let config_key = format!("sha256:{}", "c".repeat(64));
    images.write_all_big_data(&id, &[(&config_key, b"{}"), ("manifest", b"m")]).unwrap();
    images.write_big_data(&id, "manifest", b"manifest").unwrap();
    images.save().unwrap();
    drop(images);

    let images = store.read().unwrap();
    let record = images.get(&id).unwrap();
    assert_eq!(record.big_data_names, [config_key.clone(), "manifest".into()]);
    assert_eq!(record.big_data_sizes["manifest"], 8);
    assert_eq!(record.big_data_digests["manifest"].sha256(), Some(Digest::of(b"manifest")));
    assert_eq!(images.by_digest(&Digest::of(b"manifest").into()).count(), 1);
    assert_eq!(images.by_digest(&Digest::of(b"{}").into()).count(), 0);
    assert_eq!(images.read_big_data(&id, &config_key).unwrap().unwrap(), b"{}");
    assert_eq!(images.read_big_data(&id, "none").unwrap(), None);
    let mode = |name: &str| root.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&format!("overlay-images/{id}/manifest")), 0o600);
    assert_eq!(mode(&format!("overlay-images/{id}")), 0o700);
    drop(images);

    let mut images = store.write().unwrap();
    assert!(matches!(images.remove_orphan(&id), Err(RecordError::InUse { .. })));
    assert_eq!(images.remove(&id).unwrap().id, id);
    assert_eq!(root.text("overlay-images/images.json"), "[]");
    assert!(!root.path(&format!("overlay-images/{id}")).exists());
    assert!(matches!(images.remove(&id), Err(RecordError::Unknown { .. })));
}

#[test]
fn a_removal_that_cannot_be_saved_removes_nothing() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let mut images = store.write().unwrap();
    put(&mut images, 1, &["a"]);
    images.write_big_data(&image_id(1), "manifest", b"m").unwrap();
    images.save().unwrap();
    // A directory where the record file should be cannot be replaced by a file.
    std::fs::remove_file(root.path("overlay-images/images.json")).unwrap();
    root.put("overlay-images/images.json/x", "");
    assert!(images.remove(&image_id(1)).is_err());
    assert!(images.get(&image_id(1)).is_some());
    assert!(images.read_big_data(&image_id(1), "manifest").unwrap().is_some());
    // The failed attempt left no temporary file.
    assert_eq!(images.sweep().unwrap(), 0);
}

#[test]
fn orphans_are_found_and_leftovers_swept() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let mut images = store.write().unwrap();
    put(&mut images, 1, &[]);
    images.write_big_data(&image_id(1), "manifest", b"m").unwrap();
    root.put(&format!("overlay-images/{}/manifest", image_id(2)), "m");
    root.put(&format!("overlay-images/{}/.tmp-manifest77", image_id(1)), "m");
    root.put("overlay-images/.tmp-images.json4", "[");
    root.put("overlay-images/not-an-image/x", "");
    assert_eq!(images.orphans().unwrap(), [image_id(2)]);
    images.remove_orphan(&image_id(2)).unwrap();
    assert!(images.orphans().unwrap().is_empty());
    assert_eq!(images.sweep().unwrap(), 2);
    assert_eq!(images.read_big_data(&image_id(1), "manifest").unwrap().unwrap(), b"m");
}

#[test]
fn documents_without_any_record_file_are_those_of_lost_images() {
    let root = Root::new();
    let store = ImageStore::open(&root.handle).unwrap();
    let mut images = store.write().unwrap();
    put(&mut images, 1, &[]);
    images.write_big_data(&image_id(1), "manifest", b"m").unwrap();
    // Whoever is killed here leaves an orphan, and no store that has lost its records.
    drop(images);
    assert_eq!(root.text("overlay-images/images.json"), "[]");
    assert_eq!(store.read().unwrap().orphans().unwrap(), [image_id(1)]);

    std::fs::remove_file(root.path("overlay-images/images.json")).unwrap();
    assert!(matches!(store.read(), Err(RecordError::Lost { .. })));
    assert!(matches!(store.write(), Err(RecordError::Lost { .. })));
    let (mut images, _) = store.rescue().unwrap();
    assert!(images.are_lost().unwrap());
    images.save().unwrap();
    drop(images);
    assert!(store.read().unwrap().records().is_empty());
}
