use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use reflayer::CheckLevel;

use crate::world::{FORMS, World, flip, quietly};

const ALL: [CheckLevel; 4] = [
    CheckLevel::Records,
    CheckLevel::Attributes,
    CheckLevel::Sample { percent: 100, seed: 1 },
    CheckLevel::Content,
];

#[test]
fn r7_in_a_sound_store_nothing_is_found() {
    for form in FORMS {
        let world = World::new(form);
        for level in ALL {
            assert_eq!(world.found(level), [""; 0], "{form:?} {level:?}");
        }
    }
}

#[test]
fn r7_damaged_files_are_named_and_no_others() {
    for form in FORMS {
        let world = World::new(form);
        flip(&world.file("usr/bin/a"));
        flip(&world.file("usr/bin/b2"));
        quietly(&world.file("usr/lib/c"), |path| fs::remove_file(path).unwrap());
        quietly(&world.file("etc/d"), |path| {
            fs::remove_file(path).unwrap();
            symlink("short", path).unwrap();
        });
        fs::set_permissions(world.file("etc/short"), Permissions::from_mode(0o600)).unwrap();
        quietly(&world.file("var/extra"), |path| fs::write(path, "more").unwrap());
        let attributes =
            ["etc/d: kind", "etc/short: mode", "usr/lib/c: missing", "var/extra: extra"];
        let content = [
            "etc/d: kind",
            "etc/short: mode",
            // Writing to it took its setuid bit away.
            "usr/bin/a: content mode",
            "usr/bin/b: content",
            "usr/lib/c: missing",
            "var/extra: extra",
        ];
        let expect = |level, expected: &[&str]| {
            let mut found = world.found(level);
            found.retain(|line| !line.starts_with("usr/bin/a: mode"));
            let found: Vec<_> =
                found.iter().map(|line| line.replace("content mode", "content")).collect();
            let expected: Vec<_> =
                expected.iter().map(|line| line.replace("content mode", "content")).collect();
            assert_eq!(found, expected, "{form:?} {level:?}");
        };
        expect(CheckLevel::Attributes, &attributes);
        expect(CheckLevel::Sample { percent: 100, seed: 7 }, &content);
        expect(CheckLevel::Content, &content);
        for finding in world.check(CheckLevel::Content) {
            assert_eq!(finding.images, ["localhost/app:v1"], "{finding:?}");
        }
    }
}

#[test]
fn r7_a_sample_is_chosen_by_its_seed() {
    let world = World::new(FORMS[0]);
    for name in ["usr/bin/a", "usr/bin/b", "usr/lib/c", "etc/d", "var/kept"] {
        flip(&world.file(name));
    }
    let found = |seed| world.found(CheckLevel::Sample { percent: 40, seed });
    let samples: Vec<_> = (0..8).map(found).collect();
    assert_eq!(samples, (0..8).map(found).collect::<Vec<_>>());
    assert!(samples.iter().any(|sample| *sample != samples[0]), "{samples:?}");
}

#[test]
fn r7_what_is_kept_beside_a_layer_is_missed() {
    let world = World::new(FORMS[0]);
    let layers = world.path("root/overlay-layers");
    let layer = world.layer("v1");
    fs::remove_file(layers.join(format!("{layer}.tar-split.gz"))).unwrap();
    fs::write(layers.join(&layer).join("=enN0ZC1jaHVua2VkLW1hbmlmZXN0"), "{\"ver").unwrap();
    assert_eq!(world.found(CheckLevel::Records), [format!("tar-split of {layer} is not there")]);
    assert!(
        world
            .found(CheckLevel::Attributes)
            .contains(&format!("zstd-chunked-manifest of {layer} is damaged"))
    );
}
