use super::{Root, image_id, layer_id};
use crate::{ContainerStore, LayerStore, MountRecord, MountStore, RecordError};

#[test]
fn containers_are_read_from_both_files() {
    let root = Root::new();
    let json = |n: u32| {
        format!(
            r#"[{{"id":"{:064x}","names":["c"],"image":"{}","layer":"{}","created":"2026-01-02T03:04:05Z","flags":{{"MountLabel":"x"}}}}]"#,
            n,
            image_id(n),
            layer_id(n)
        )
    };
    root.put("overlay-containers/containers.json", json(1));
    root.put("overlay-containers/volatile-containers.json", json(2));
    let store = ContainerStore::open(&root.handle).unwrap();
    let containers = store.hold().unwrap();
    assert_eq!(containers.records().len(), 2);
    assert_eq!(containers.of_image(&image_id(2)).count(), 1);
    assert!(containers.of_layer(&layer_id(1)).is_some());
    assert!(containers.of_layer(&layer_id(3)).is_none());
}

#[test]
fn mounts_are_counted_under_the_lock_of_the_layers() {
    let (root, run) = (Root::new(), Root::new());
    let layers = LayerStore::open(&root.handle).unwrap();
    let mounts = MountStore::open(&run.handle).unwrap();

    let locked = layers.write().unwrap();
    let mut write = mounts.write(&locked).unwrap();
    write.save().unwrap();
    assert!(!run.path("overlay-layers/mountpoints.json").exists());
    write.records_mut().push(MountRecord::new(layer_id(1), "/mnt"));
    write.save().unwrap();
    drop((write, locked));

    let expected = format!(r#"[{{"id":"{}","path":"/mnt","count":1}}]"#, layer_id(1));
    assert_eq!(run.text("overlay-layers/mountpoints.json"), expected);
    let locked = layers.read().unwrap();
    assert_eq!(mounts.read(&locked).unwrap().get(&layer_id(1)).unwrap().path, "/mnt");
}

#[test]
fn r6_a_container_that_does_not_say_what_it_needs_is_damage() {
    let root = Root::new();
    let json = format!(r#"[{{"id":"{:064x}","image":"{}","layer":""}}]"#, 1, image_id(1));
    let read = || ContainerStore::open(&root.handle)?.read().map(drop);
    root.put("overlay-containers/containers.json", &json);
    read().unwrap();
    for key in ["image", "layer"] {
        root.put("overlay-containers/containers.json", json.replace(key, "other"));
        assert!(matches!(read(), Err(RecordError::Field { key: found, .. }) if found == key));
    }
}

#[test]
fn r6_readable_mounts_are_rescued_and_the_damaged_file_is_kept() {
    let (root, run) = (Root::new(), Root::new());
    let layers = LayerStore::open(&root.handle).unwrap();
    let mounts = MountStore::open(&run.handle).unwrap();
    let locked = layers.write().unwrap();
    let whole = format!(r#"{{"id":"{}","path":"/mnt","count":2}}"#, layer_id(1));
    let cut = format!("[{whole},{{\"id\"");
    run.put("overlay-layers/mountpoints.json", &cut);
    assert!(mounts.read(&locked).is_err() && mounts.write(&locked).is_err());
    let (mut write, rescued) = mounts.rescue(&locked).unwrap();
    assert_eq!((write.records().len(), rescued.records), (1, 1));
    assert_eq!(run.text("overlay-layers/mountpoints.json"), cut);
    write.save().unwrap();
    assert_eq!(run.text("overlay-layers/mountpoints.json"), format!("[{whole}]"));
    assert_eq!(run.text("overlay-layers/mountpoints.json.damaged-1"), cut);
}
