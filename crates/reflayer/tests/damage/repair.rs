use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use reflayer::{CheckLevel, RepairOptions, RepairReport};
use testkit::compare::{self, Options, Whiteouts};
use transport::Reference;

use crate::world::{FORMS, Form, World, flip, quietly};

/// Repairs from the layout, or from nowhere.
fn repair(world: &World, from: Option<&str>) -> RepairReport {
    let mut options = RepairOptions::default();
    options.from =
        from.map(|tag| format!("oci:layout:{tag}").parse().unwrap()).into_iter().collect();
    let open = |reference: &Reference| {
        let Reference::OciLayout { tag: Some(tag), .. } = reference else {
            return Err(format!("{reference} is not to be asked").into());
        };
        Ok(Box::new(world.layout(tag)) as Box<dyn transport::ImageSource>)
    };
    world.store().repair(&options, &open).unwrap()
}

/// A copy of a tree, with all attributes.
fn copy(world: &World) -> std::path::PathBuf {
    let to = world.path("before");
    let status =
        std::process::Command::new("cp").arg("-a").arg(world.file("")).arg(&to).status().unwrap();
    assert!(status.success());
    to
}

fn assert_same(world: &World, before: &Path) {
    let options = Options { whiteouts: Whiteouts::AsFound, ignore_top: false };
    let found = compare::trees(before, &world.file(""), &options).unwrap();
    compare::expect_none("the layer", &found).unwrap();
}

fn damage_all_ways(world: &World) {
    flip(&world.file("usr/bin/a"));
    flip(&world.file("usr/bin/b2"));
    fs::remove_file(world.file("usr/lib/c")).unwrap();
    fs::remove_file(world.file("etc/d")).unwrap();
    symlink("short", world.file("etc/d")).unwrap();
    fs::set_permissions(world.file("etc/short"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(world.file("usr/lib/link")).unwrap();
    fs::create_dir_all(world.file("var/extra/below")).unwrap();
    fs::remove_file(world.file("etc/empty")).unwrap();
    fs::create_dir(world.file("etc/empty")).unwrap();
}

#[test]
fn r7_damaged_files_are_mended_and_no_others_touched() {
    for form in FORMS {
        let world = World::new(form);
        let before = copy(&world);
        let kept = fs::metadata(world.file("var/kept")).unwrap();
        damage_all_ways(&world);
        let report = repair(&world, Some("v1"));
        assert!(report.is_whole(), "{form:?} {report:#?}");
        assert!(report.findings.iter().all(|mended| mended.repaired));
        assert!(report.findings.len() >= 10, "{report:#?}");
        assert_same(&world, &before);
        assert_eq!(world.found(CheckLevel::Content), [""; 0]);
        let after = fs::metadata(world.file("var/kept")).unwrap();
        assert_eq!((after.ino(), after.ctime_nsec()), (kept.ino(), kept.ctime_nsec()));
        if form == Form::Chunked {
            // Four files of 40,000 random bytes.
            assert!((160_000..164_000).contains(&report.fetched), "{}", report.fetched);
        }
        assert_eq!(fs::read_dir(world.path("root/overlay/staging")).unwrap().count(), 0);
    }
}

#[test]
fn r7_attributes_are_mended_without_any_source() {
    let world = World::new(Form::Plain);
    let before = copy(&world);
    let inode = fs::metadata(world.file("etc/short")).unwrap().ino();
    fs::set_permissions(world.file("etc/short"), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(world.file("usr"), Permissions::from_mode(0o700)).unwrap();
    fs::write(world.file("extra"), "").unwrap();
    fs::remove_file(world.file("usr/bin/b2")).unwrap();
    let report = repair(&world, None);
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.fetched, 0);
    assert_same(&world, &before);
    assert_eq!(fs::metadata(world.file("etc/short")).unwrap().ino(), inode);
}

#[test]
fn r7_what_another_layer_has_is_not_fetched() {
    let world = World::new(Form::Chunked);
    world.build("v2", |at| {
        fs::create_dir(at.join("opt")).unwrap();
        fs::copy(world.path("source-v1/usr/lib/c"), at.join("opt/same")).unwrap();
    });
    world.pull("v2");
    flip(&world.file("usr/lib/c"));
    let report = repair(&world, None);
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!((report.fetched, report.findings[0].reused), (0, 40_000));
}

#[test]
fn r7_what_cannot_be_had_is_told_and_the_rest_is_mended() {
    let world = World::new(Form::Chunked);
    flip(&world.file("usr/lib/c"));
    quietly(&world.file("etc/short"), |path| {
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    });
    let report = repair(&world, None);
    assert_eq!(report.left.len(), 1, "{report:#?}");
    let repaired: Vec<_> = report.findings.iter().map(|mended| mended.repaired).collect();
    assert_eq!(repaired, [true, false]);
    assert!(report.findings[1].reason.contains("say where it comes from"), "{report:#?}");
    assert_eq!(world.found(CheckLevel::Content), ["usr/lib/c: content"]);
}

#[test]
fn r7_what_is_beside_a_layer_is_brought_again() {
    for form in FORMS {
        let world = World::new(form);
        let layers = world.path("root/overlay-layers");
        let layer = world.layer("v1");
        let index = layers.join(&layer).join("=Y2h1bmtlZC1tYW5pZmVzdC1jYWNoZQ==");
        let good = fs::read(&index).unwrap();
        fs::write(&index, "cut").unwrap();
        let report = repair(&world, None);
        assert!(report.is_whole(), "{form:?} {report:#?}");
        assert_eq!(fs::read(&index).unwrap().len(), good.len());
        fs::write(layers.join(format!("{layer}.tar-split.gz")), "not gzip").unwrap();
        let report = repair(&world, Some("v1"));
        assert!(report.is_whole(), "{form:?} {report:#?}");
        fs::remove_dir_all(world.path("root/overlay").join(&layer)).unwrap();
        let report = repair(&world, Some("v1"));
        assert!(report.is_whole(), "{form:?} {report:#?}");
        assert_eq!(world.found(CheckLevel::Content), [""; 0]);
    }
}

#[test]
fn r7_another_image_is_no_source() {
    let world = World::new(Form::Chunked);
    world.build("v2", |at| fs::write(at.join("x"), "x").unwrap());
    flip(&world.file("usr/lib/c"));
    let report = repair(&world, Some("v2"));
    assert!(report.findings[0].reason.contains("is another image"), "{report:#?}");
    assert_eq!(world.found(CheckLevel::Content), ["usr/lib/c: content"]);
}
