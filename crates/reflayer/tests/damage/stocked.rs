//! A store that has files of every kind, to be damaged again and again.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use reflayer::{Durability, GarbageOptions, RepairOptions, RepairReport, Store};
use storage_core::Digest;
use testkit::layout::Layout;
use testkit::tar::TarWriter;
use transport::{ImageSource, Reference};

use crate::world::{Form, World};

/// A store with images, containers and a recorded mount, and what is seen of it.
pub(crate) struct Stocked {
    pub(crate) world: World,
    tags: Vec<&'static str>,
    containers: [Container; 2],
    sound: Seen,
}

/// What a container has on disk.
struct Container {
    layer: String,
    /// The file of its record.
    records: &'static str,
}

/// What a person or another tool gets from a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Ids, parents and digests of layers, and the layers of images.
    pub(crate) bones: String,
    /// Names, sizes and times as well.
    pub(crate) flesh: String,
    /// What would be collected, other tools' layers included.
    pub(crate) garbage: String,
}

/// What stands in a container's own layer.
const KEPT: &str = "what the container wrote\n";

/// When all of it was made.
const CREATED: &str = "2026-01-02T03:04:05.123456789Z";

impl Stocked {
    pub(crate) fn new(form: Form) -> Self {
        let world = World::small(form);
        let mut tags = vec!["v1"];
        if form == Form::Plain {
            build_tall(&world);
            world.pull("tall");
            tags.push("tall");
        }
        let files = [
            ("layers.json", "containers.json"),
            ("volatile-layers.json", "volatile-containers.json"),
        ];
        let top = world.layers(tags[tags.len() - 1]).pop().unwrap();
        let image = world.store().images().unwrap().pop().unwrap().id.to_string();
        let containers = files.map(|files| add_container(&world, &image, &top, files));
        let mount = format!(
            r#"[{{"id":"{layer}","path":"{}","count":1}}]"#,
            world.path(&format!("root/overlay/{}/merged", containers[0].layer)).display(),
            layer = containers[0].layer,
        );
        fs::write(world.path("run/overlay-layers/mountpoints.json"), mount).unwrap();
        let sound = seen(&world.store());
        fs::create_dir(world.path("pristine")).unwrap();
        copy(&world, &["root", "run"], "pristine");
        Self { world, tags, containers, sound }
    }

    /// All files and links of the store but those in the trees of layers.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for top in ["root", "run"] {
            list(&self.world.path(""), Path::new(top), &mut files);
        }
        files.sort();
        files
    }

    /// The bytes of a file, or of what a link says.
    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        let path = self.world.path(file);
        match fs::read_link(&path) {
            Ok(target) => target.into_os_string().into_vec(),
            Err(_) => fs::read(path).unwrap(),
        }
    }

    /// Gives a file or a link other bytes; `false` if no link can say that.
    pub(crate) fn write(&self, file: &str, bytes: &[u8]) -> bool {
        let path = self.world.path(file);
        if !path.symlink_metadata().is_ok_and(|stat| stat.is_symlink()) {
            // A new file is cheap; some filesystems flush one that is overwritten.
            fs::remove_file(&path).unwrap();
            fs::write(path, bytes).unwrap();
            return true;
        }
        if bytes.is_empty() || bytes.contains(&0) {
            return false;
        }
        fs::remove_file(&path).unwrap();
        symlink(OsStr::from_bytes(bytes), path).unwrap();
        true
    }

    /// That all is seen as if nothing were damaged; of free text, if that is damaged, not.
    pub(crate) fn expect_unharmed(&self, but_for_text: bool, but_for_garbage: bool) {
        let (now, mut sound) = (seen(&self.world.store()), self.sound.clone());
        if but_for_text {
            sound.flesh.clone_from(&now.flesh);
        }
        if but_for_garbage {
            sound.garbage.clone_from(&now.garbage);
        }
        assert_eq!(now, sound);
    }

    /// That all layers and images are there, and all that the containers wrote.
    pub(crate) fn expect_all_there(&self) {
        assert_eq!(bones(&self.world.store()), self.sound.bones);
        self.expect_contents();
    }

    /// That all that the containers wrote is there.
    pub(crate) fn expect_contents(&self) {
        for container in &self.containers {
            let file = format!("root/overlay/{}/diff/kept", container.layer);
            let found = fs::read_to_string(self.world.path(&file));
            assert_eq!(found.ok().as_deref(), Some(KEPT), "{file}");
        }
    }

    /// The records of containers, which are nobody's business here.
    pub(crate) fn records_of_containers(&self) -> Vec<Vec<u8>> {
        self.containers.iter().map(|container| self.read(container.records)).collect()
    }

    /// Makes the store again what it was before all damage.
    pub(crate) fn restore(&self) {
        for top in ["root", "run"] {
            fs::remove_dir_all(self.world.path(top)).unwrap();
        }
        copy(&self.world, &["pristine/root", "pristine/run"], "");
    }

    /// Pulls all images again; tells what went wrong. A flush would take most of the time.
    pub(crate) fn pull(&self) -> Vec<String> {
        let pull = |tag| self.world.try_pull_as(tag, Durability::Volatile);
        let failed = self.tags.iter().filter_map(|tag| pull(tag).err());
        failed.map(|error| testkit::causes::chain(&error)).collect()
    }

    /// Repairs from where the images came from.
    pub(crate) fn repair(&self) -> RepairReport {
        let mut options = RepairOptions::default();
        let from = self.tags.iter().map(|tag| format!("oci:layout:{tag}").parse().unwrap());
        options.from = from.collect();
        let open = |reference: &Reference| {
            let Reference::OciLayout { tag: Some(tag), .. } = reference else {
                return Err(format!("{reference} is not to be asked").into());
            };
            Ok(Box::new(self.world.layout(tag)) as Box<dyn ImageSource>)
        };
        self.world.store().repair(&options, &open).unwrap()
    }
}

/// Makes a plain image of three layers, the lowest being that of v1.
fn build_tall(world: &World) {
    let mut tars = vec![world.path("v1.tar")];
    for name in ["middle", "top"] {
        let path = world.path(&format!("{name}.tar"));
        let mut tar = TarWriter::new(File::create(&path).unwrap());
        tar.file(name, name.as_bytes()).unwrap();
        tar.finish().unwrap();
        tars.push(path);
    }
    Layout::open(&world.path("plain")).add_image("tall", &tars).unwrap();
}

/// Adds what podman makes of a container on top of a layer.
fn add_container(
    world: &World,
    image: &str,
    top: &str,
    (layers, containers): (&str, &'static str),
) -> Container {
    let id = Digest::of(containers.as_bytes()).hex();
    let layer = Digest::of(layers.as_bytes()).hex();
    let link = format!("{:A<26}", if layers.starts_with('v') { "VOLATILE" } else { "DURABLE" });
    let directory = |id: &str| world.path("root/overlay").join(id);
    let text = |name: &str| fs::read_to_string(directory(top).join(name)).ok();
    let on_top = |first: String, below: Option<String>| {
        [first].into_iter().chain(below).collect::<Vec<_>>().join(":")
    };
    let own = directory(&layer);
    for name in ["diff", "work", "merged"] {
        fs::create_dir_all(own.join(name)).unwrap();
    }
    fs::write(own.join("diff/kept"), KEPT).unwrap();
    fs::write(own.join("link"), &link).unwrap();
    let lower = on_top(format!("l/{}", text("link").unwrap()), text("lower"));
    fs::write(own.join("lower"), lower).unwrap();
    fs::write(own.join("lower-layers"), on_top(top.into(), text("lower-layers"))).unwrap();
    symlink(format!("../{layer}/diff"), directory("l").join(&link)).unwrap();
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    add_record(
        world,
        &format!("root/overlay-layers/{layers}"),
        &format!(
            r#"{{"id":"{layer}","parent":"{top}","mountlabel":"{label}","created":"{CREATED}"}}"#
        ),
    );
    let records = format!("root/overlay-containers/{containers}");
    add_record(
        world,
        &records,
        &format!(
            r#"{{"id":"{id}","names":["{link}"],"image":"{image}","layer":"{layer}","metadata":"{{\"name\":\"{link}\"}}","created":"{CREATED}","flags":{{"MountLabel":"{label}"}}}}"#
        ),
    );
    let records = match containers {
        "containers.json" => "root/overlay-containers/containers.json",
        _ => "root/overlay-containers/volatile-containers.json",
    };
    Container { layer, records }
}

/// Adds a record to a file as other tools write it.
fn add_record(world: &World, file: &str, record: &str) {
    let path = world.path(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|_| "[]".into());
    let before = text.strip_suffix(']').unwrap();
    let comma = if before == "[" { "" } else { "," };
    fs::write(path, format!("{before}{comma}{record}]")).unwrap();
}

fn copy(world: &World, from: &[&str], to: &str) {
    let mut copy = Command::new("cp");
    copy.arg("-a").args(from.iter().map(|name| world.path(name))).arg(world.path(to));
    assert!(copy.status().unwrap().success());
}

/// Lists what is no directory, by paths from `top`.
fn list(top: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(top.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        if !entry.file_type().unwrap().is_dir() {
            files.push(path.to_str().unwrap().to_owned());
        } else if entry.file_name() != "diff" {
            list(top, &path, files);
        }
    }
}

/// All that is to be had from a store.
fn seen(store: &Store) -> Seen {
    let options = GarbageOptions { all: true, dry_run: true };
    let garbage = format!("{:?}", store.collect_garbage(options).unwrap());
    let flesh = format!("{:?} {:?}", store.layers().unwrap(), store.images().unwrap());
    Seen { bones: bones(store), flesh, garbage }
}

/// What layers and images are; every layer of an image gives its exact tar.
fn bones(store: &Store) -> String {
    let (layers, images) = (store.layers().unwrap(), store.images().unwrap());
    let bones = layers
        .iter()
        .map(|layer| {
            if let Some(diff_id) = layer.diff_id {
                let exported = store.export(layer.id.as_str(), io::sink()).unwrap();
                assert_eq!(exported.diff_id, diff_id);
            }
            format!("{} {:?} {:?} {}\n", layer.id, layer.parent, layer.diff_id, layer.incomplete)
        })
        .chain(images.iter().map(|image| format!("{} {:?}\n", image.id, image.layers)));
    let mut bones: Vec<String> = bones.collect();
    // Records that were made again stand at the end.
    bones.sort();
    bones.concat()
}
