use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{image_id, layer_id};
use crate::record::container::ContainerRecord;
use crate::record::file::to_json;
use crate::record::json::{FieldError, Fields, Record};
use crate::{
    AnyDigest, Digest, Extra, Flags, IdMapping, ImageRecord, LayerCompression, LayerRecord,
    MountRecord, RecordTime,
};

fn parse<R: Record>(json: &str) -> R {
    let mut fields = Fields::parse(json).unwrap();
    R::read(&mut fields).unwrap_or_else(|FieldError { key, source }| panic!("{key}: {source}"))
}

/// The records' JSON without the brackets of the array.
fn write<R: Record>(record: &R) -> String {
    let json = to_json([record]);
    json[1..json.len() - 1].to_owned()
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn any_digest() -> impl Strategy<Value = AnyDigest> {
    prop_oneof![
        digest().prop_map(AnyDigest::from),
        "sha512:[0-9a-f]{128}".prop_map(|text| text.parse().unwrap()),
    ]
}

fn size() -> impl Strategy<Value = Option<i64>> {
    option::of(any::<i64>().prop_filter("zero is left out", |&n| n != 0))
}

fn time() -> impl Strategy<Value = RecordTime> {
    let moment = -62_135_596_800i64..253_402_207_200;
    prop_oneof![
        Just(RecordTime::default()),
        (moment, 0..1_000_000_000i32)
            .prop_map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap().into()),
        Just("2024-05-06T07:08:09.100000000+02:00".parse().unwrap()),
    ]
}

/// Members that no version of the layout has, down to numbers beyond 64 bits.
fn extra() -> impl Strategy<Value = Extra> {
    let value = prop_oneof![
        Just("123456789012345678901234567890".to_owned()),
        Just("1.10".to_owned()),
        Just(r#"{"z":1,"a":[null,true]}"#.to_owned()),
        ".*".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    btree_map("x-.*", value, 0..4).prop_map(|members| {
        let mut extra = Extra::default();
        for (key, value) in members {
            extra.set(&key, Some(&value)).unwrap();
        }
        extra
    })
}

fn flags() -> impl Strategy<Value = Flags> {
    (extra(), any::<bool>(), option::of(digest())).prop_map(|(extra, incomplete, diff_id)| {
        let mut flags = Flags::default();
        *flags.members_mut() = extra;
        flags.set_incomplete(incomplete);
        flags.set_expected_diff_id(diff_id.map(Into::into).as_ref());
        flags
    })
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(".*", 0..4)
}

fn mappings() -> impl Strategy<Value = Vec<IdMapping>> {
    let mapping = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(container_id, host_id, size)| IdMapping { container_id, host_id, size });
    vec(mapping, 0..3)
}

fn big_data() -> impl Strategy<Value = (BTreeMap<String, i64>, BTreeMap<String, AnyDigest>)> {
    (btree_map(".*", any::<i64>(), 0..3), btree_map(".*", any_digest(), 0..3))
}

prop_compose! {
    fn layer_record()(
        (id, names, parent, metadata, mount_label) in
            (any::<u32>(), texts(), option::of(any::<u32>()), ".*", ".*"),
        (created, flags, other, uid_map, gid_map) in
            (time(), flags(), extra(), mappings(), mappings()),
        digests in (option::of(digest()), option::of(digest()), option::of(digest())),
        sizes in (size(), size(), size()),
        (uid_set, gid_set, big_data_names) in
            (vec(any::<u32>(), 0..4), vec(any::<u32>(), 0..4), texts()),
    ) -> LayerRecord {
        LayerRecord {
            names, metadata, mount_label, created, flags, other, uid_map, gid_map, uid_set,
            gid_set, big_data_names,
            parent: parent.map(layer_id),
            compressed_diff_digest: digests.0.map(Into::into),
            diff_digest: digests.1.map(Into::into),
            toc_digest: digests.2.map(Into::into),
            compressed_size: sizes.0,
            diff_size: sizes.1,
            compression: sizes.2.map(LayerCompression::from),
            ..LayerRecord::new(layer_id(id))
        }
    }
}

prop_compose! {
    fn image_record()(
        (id, names, names_history, layer, mapped) in
            (any::<u32>(), texts(), texts(), option::of(any::<u32>()), vec(any::<u32>(), 0..3)),
        (digest, metadata, big_data_names, created) in
            (option::of(digest()), ".*", texts(), time()),
        ((big_data_sizes, big_data_digests), flags, other) in (big_data(), flags(), extra()),
    ) -> ImageRecord {
        ImageRecord {
            names, names_history, metadata, big_data_names, big_data_sizes, big_data_digests,
            created, flags, other,
            digest: digest.map(Into::into),
            layer: layer.map(layer_id),
            mapped_layers: mapped.into_iter().map(layer_id).collect(),
            ..ImageRecord::new(image_id(id))
        }
    }
}

prop_compose! {
    fn container_record()(
        (id, names, image, layer, metadata) in (
            any::<u32>(), texts(), option::of(any::<u32>()), option::of(any::<u32>()), ".*",
        ),
        (big_data_names, (big_data_sizes, big_data_digests), created) in
            (texts(), big_data(), time()),
        (uid_map, gid_map, flags, other) in (mappings(), mappings(), flags(), extra()),
    ) -> ContainerRecord {
        ContainerRecord {
            id: format!("{id:064x}").parse().unwrap(),
            image: image.map(image_id),
            layer: layer.map(layer_id),
            names, metadata, big_data_names, big_data_sizes, big_data_digests, created,
            uid_map, gid_map, flags, other,
        }
    }
}

proptest! {
    #[test]
    fn layers_come_back_as_they_were(record in layer_record()) {
        prop_assert_eq!(&parse::<LayerRecord>(&write(&record)), &record);
    }

    #[test]
    fn images_come_back_as_they_were(record in image_record()) {
        prop_assert_eq!(&parse::<ImageRecord>(&write(&record)), &record);
    }

    #[test]
    fn containers_come_back_as_they_were(record in container_record()) {
        prop_assert_eq!(&parse::<ContainerRecord>(&write(&record)), &record);
    }

    #[test]
    fn mounts_come_back_as_they_were(id: u32, path in ".*", count: i64, other in extra()) {
        let record = MountRecord { count, other, ..MountRecord::new(layer_id(id), path) };
        prop_assert_eq!(&parse::<MountRecord>(&write(&record)), &record);
    }

    #[test]
    fn any_moment_keeps_its_text(time in time()) {
        let json = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RecordTime>(&json).unwrap(), &time);
        prop_assert_eq!(json, format!("\"{time}\""));
    }
}

#[test]
fn a_layer_is_written_as_the_other_tools_write_it() {
    // In the order of their struct; from a store that podman wrote.
    let json = concat!(
        r#"{"id":"0000000000000000000000000000000000000000000000000000000000000001","#,
        r#""names":["n"],"#,
        r#""parent":"0000000000000000000000000000000000000000000000000000000000000002","#,
        r#""metadata":"m","mountlabel":"l","created":"2026-01-02T03:04:05.123456789Z","#,
        r#""compressed-diff-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""compressed-size":7,"#,
        r#""diff-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""toc-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""diff-size":-1,"compression":2,"uidset":[0,1000],"gidset":[0],"#,
        r#""flags":{"incomplete":true},"uidmap":[{"container_id":0,"host_id":1000,"size":1}],"#,
        r#""gidmap":[{"container_id":0,"host_id":1000,"size":1}],"#,
        r#""big-data-names":["zstd-chunked-manifest"],"new-field":12345678901234567890123}"#,
    );
    let record: LayerRecord = parse(json);
    assert_eq!(record.diff_size, Some(-1));
    assert_eq!(record.compression, Some(LayerCompression::Gzip));
    assert!(record.is_incomplete());
    assert_eq!(record.other.get("new-field"), Some("12345678901234567890123"));
    assert_eq!(write(&record), json);
}

#[test]
fn what_is_zero_is_left_out() {
    let bare = format!(r#"{{"id":"{}","created":"0001-01-01T00:00:00Z"}}"#, layer_id(1));
    for zeros in [
        "",
        r#","names":null,"parent":"","diff-size":0,"compression":0,"flags":{}"#,
        r#","diff-digest":"","uidset":[],"metadata":"","created":null"#,
    ] {
        let json = format!(r#"{{"id":"{}"{zeros}}}"#, layer_id(1));
        let record: LayerRecord = parse(&json);
        assert!(record.created.is_unknown());
        assert_eq!(write(&record), bare);
    }
}

#[test]
fn containers_always_name_image_and_layer() {
    let json = format!(r#"{{"id":"{}","image":"","layer":""}}"#, layer_id(1));
    let record: ContainerRecord = parse(&json);
    assert_eq!((&record.image, &record.layer), (&None, &None));
    let written = write(&record);
    assert!(written.contains(r#""image":"","layer":"","#), "{written}");
}

#[test]
fn digests_by_other_algorithms_are_kept() {
    let sha512 = format!("sha512:{}", "0f".repeat(64));
    let json = format!(
        r#"{{"id":"{}","created":"0001-01-01T00:00:00Z","diff-digest":"{sha512}"}}"#,
        layer_id(1)
    );
    let mut record: LayerRecord = parse(&json);
    assert_eq!(record.diff_digest, None);
    assert_eq!(write(&record), json);
    record.diff_digest = Some(Digest::of(b"").into());
    assert!(!write(&record).contains("sha512"));
}
