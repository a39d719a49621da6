//! Manifests and configs that contradict themselves, or have no end (R17).

use std::fs::{self, File};
use std::sync::Arc;

use libtest_mimic::Trial;
use reflayer::{Durability, Progress, PullOptions, Store};
use serde_json::{Value, json};
use testkit::forged::{Recipe, add_image, file};
use testkit::layout::Layout;
use transport::OciLayout;

use crate::canary;

/// What is done to config and manifest, and what the pull says; `None` if it goes well.
type Lie = (&'static str, fn(&mut Value, &mut Value), Option<&'static str>);

const LIES: [Lie; 18] = [
    ("none", |_, _| {}, None),
    ("one_diff_id_more", |c, _| push(&mut c["rootfs"]["diff_ids"], json!(ZEROS)), Some("")),
    ("no_diff_ids", |c, _| c["rootfs"]["diff_ids"] = json!([]), Some("")),
    ("diff_ids_are_text", |c, _| c["rootfs"]["diff_ids"] = json!("x"), Some("")),
    ("no_rootfs", |c, _| c["rootfs"] = Value::Null, Some("")),
    ("config_is_a_list", |c, _| *c = json!([]), Some("")),
    ("config_of_another_system", |c, _| c["os"] = json!("windows"), None),
    ("layer_twice", twice, None),
    (
        "layer_six_hundred_times",
        |c, m| (0..600).for_each(|_| twice(c, m)),
        Some("more than can be used"),
    ),
    ("annotations_by_the_thousand", many_annotations, Some("more than can be used")),
    ("no_layers", |c, m| (c["rootfs"]["diff_ids"], m["layers"]) = (json!([]), json!([])), None),
    ("layers_are_an_object", |_, m| m["layers"] = json!({}), Some("")),
    ("layer_without_digest", |_, m| m["layers"][0]["digest"] = Value::Null, Some("")),
    (
        "digest_that_is_a_path",
        |_, m| m["layers"][0]["digest"] = json!("sha256:../../index.json"),
        Some(""),
    ),
    ("size_is_negative", |_, m| m["layers"][0]["size"] = json!(-1), Some("")),
    ("size_is_a_fraction", |_, m| m["layers"][0]["size"] = json!(1.5), Some("")),
    ("layer_is_elsewhere", |_, m| m["layers"][0]["urls"] = json!(["http://192.0.2.1/x"]), None),
    ("version_of_the_manifest", |_, m| m["schemaVersion"] = json!(1), None),
];

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().expect("a list").push(value);
}

fn twice(config: &mut Value, manifest: &mut Value) {
    let (id, layer) = (config["rootfs"]["diff_ids"][0].clone(), manifest["layers"][0].clone());
    push(&mut config["rootfs"]["diff_ids"], id);
    push(&mut manifest["layers"], layer);
}

fn many_annotations(_config: &mut Value, manifest: &mut Value) {
    for number in 0..30_000 {
        manifest["layers"][0]["annotations"][number.to_string()] = json!("");
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |lie: Lie| {
        Trial::test(format!("r17_documents::{}", lie.0), move || pull(lie).map_err(Into::into))
    };
    LIES.into_iter().map(trial).collect()
}

fn pull((_, edit, expected): Lie) -> Result<(), String> {
    let place = canary::place();
    let layout = Layout::create(&place.path().join("layout")).map_err(text)?;
    add_image(&layout, "v1", &[Recipe::of([file("f", "1")]).build()]).map_err(text)?;
    let (_, mut manifest) = layout.manifest("v1").map_err(text)?;
    let config = layout.image("v1").map_err(text)?.config;
    let config = fs::read(layout.blob(&config)).map_err(text)?;
    let mut config: Value = serde_json::from_slice(&config).map_err(text)?;
    edit(&mut config, &mut manifest);
    let (digest, size) = layout.add_blob(config.to_string().as_bytes()).map_err(text)?;
    manifest["config"]["digest"] = format!("sha256:{digest}").into();
    manifest["config"]["size"] = size.into();
    layout.tag("v1", &manifest).map_err(text)?;

    let store = Store::open(&place.path().join("root"), &place.path().join("run")).map_err(text)?;
    let directory = File::open(layout.dir()).map_err(text)?;
    let source = OciLayout::open(directory, Some("v1")).map_err(text)?;
    let mut options = PullOptions::default();
    options.durability = Durability::Volatile;
    let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
    let reference = "oci:layout:v1".parse().map_err(text)?;
    let result = store.pull(&source, &reference, &options, &quiet);
    canary::untouched()?;
    let images = store.images().map_err(text)?.len();
    match (result, expected) {
        (Ok(_), None) if images == 1 => Ok(()),
        (Err(error), Some(reason)) if images == 0 && said(&error).contains(reason) => Ok(()),
        (result, _) => Err(format!("{images} images, {:?}", result.map(|report| report.reference))),
    }
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
