//! Bombs, and the memory that a pull may have: 64 MiB and 250 bytes for each entry of a
//! TOC, with the window of a zstd stream on top.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::forged::{Forged, Recipe, dir, file, symlink, zstd_decoded, zstd_with_window};
use testkit::fs_role::Filesystem;
use testkit::tried::tried;

use super::image;
use crate::store::{Store, said};

const MIB: usize = 1 << 20;

/// Layers of an image, how many entries their TOCs have, and whether a window of 128 MiB is
/// used.
struct Bomb {
    name: &'static str,
    layers: Vec<Forged>,
    entries: usize,
    window: bool,
}

fn bomb(name: &'static str, recipe: &Recipe) -> Bomb {
    Bomb { name, layers: vec![recipe.build()], entries: 0, window: false }
}

fn honest() -> Recipe {
    Recipe::of([dir("d"), file("d/a", "content")])
}

fn list() -> Vec<Bomb> {
    let zeros = |bytes: &[u8]| zstd_of(bytes, 3);
    vec![
        bomb("a TOC of spaces", &honest().toc_bytes(|toc| toc.extend(vec![b' '; 80 * MIB]))),
        bomb(
            "a TOC of a name without end",
            &honest().toc(|toc| toc[0]["name"] = "x".repeat(80 * MIB).into()),
        ),
        bomb(
            "a TOC of an xattr without end",
            &honest().toc(|toc| toc[0]["xattrs"] = json!({"user.a": "A".repeat(80 * MIB)})),
        ),
        bomb(
            "a tar-split of lines without end",
            &honest().split_bytes(|split| split.extend(vec![b'\n'; 80 * MIB])),
        ),
        bomb(
            "a tar-split of a line without end",
            &honest().split(|lines| lines[0]["payload"] = "A".repeat(80 * MIB).into()),
        ),
        bomb(
            "a file of a frame that is larger",
            &honest().data(move |data| *data = zeros(&vec![0; 80 * MIB])).toc(move |toc| {
                toc[1]["offset"] = 0.into();
                toc[1]["endOffset"] = zstd_of(&vec![0; 80 * MIB], 3).len().into();
            }),
        ),
        bomb("a tar that ends in zeros", &honest().trailer(vec![0; 80 * MIB])),
        bomb(
            "a PAX header of a megabyte at each file",
            &Recipe::of(
                (0..40)
                    .map(|n| file(format!("f{n}"), "").record("comment", "x".repeat(MIB - 2000))),
            ),
        ),
        Bomb { entries: 200_000, ..bomb("many chunks", &many_chunks(200_000)) },
        // On a disk, so many would take memory of the kernel, which counts here.
        Bomb { entries: 30_000, ..bomb("long names in the TOC alone", &toc_names(30_000)) },
        Bomb { entries: 30_000, ..bomb("long links in the TOC alone", &toc_links(30_000)) },
        Bomb { entries: 2000, ..bomb("long attributes in the TOC alone", &toc_xattrs(2000)) },
        Bomb { entries: 30_000, ..bomb("long names", &long_names(30_000)) },
        Bomb { entries: 8000, ..bomb("long texts of links", &long_links(8000)) },
        Bomb { entries: 2000, ..bomb("long access lists of directories", &access_lists(2000)) },
        Bomb { entries: 30_000, ..bomb("names through a link", &names_through_a_link(30_000)) },
        bomb("directories that no entry tells of", &deep_names(4)),
        bomb("a file of many holes", &many_holes(300 * MIB)),
        Bomb { window: true, ..bomb("a TOC with a large window", &window(27, MIB)) },
        bomb("a TOC with a window beyond all", &window(31, MIB)),
        Bomb { window: true, ..bomb("a blob with a large window", &blob_window(27, MIB)) },
        bomb("a blob with a window beyond all", &blob_window(31, MIB)),
        // Two layers come at a time.
        several("TOCs with large windows", &[window(27, MIB), window(27, 2 * MIB)]),
        several("blobs with large windows", &[blob_window(27, MIB), blob_window(27, 2 * MIB)]),
        several("a TOC and a blob with large windows", &[window(27, MIB), blob_window(27, MIB)]),
    ]
}

fn several(name: &'static str, recipes: &[Recipe]) -> Bomb {
    let layers = recipes.iter().map(Recipe::build).collect();
    Bomb { name, layers, entries: 0, window: true }
}

/// A file of as many holes of a byte each, all of them at one place of the blob.
fn many_chunks(count: usize) -> Recipe {
    Recipe::of([file("f", vec![0; count])]).toc(move |toc| {
        let list = toc.as_array_mut().expect("entries are a list");
        list[0]["chunkType"] = "zeros".into();
        list[0]["chunkSize"] = 1.into();
        let offset = list[0]["offset"].clone();
        list.extend((1..count).map(|at| {
            json!({"type": "chunk", "name": "f", "chunkType": "zeros", "chunkSize": 1,
                "chunkOffset": at, "offset": offset})
        }));
    })
}

/// A directory, fifteen levels down, whose path is nearly as long as one can be.
fn deep() -> String {
    vec!["d".repeat(250); 15].join("/")
}

fn toc_names(count: usize) -> Recipe {
    only_in_toc(count, |n| json!({"type": "reg", "name": format!("{n}/{}", deep())}))
}

fn toc_links(count: usize) -> Recipe {
    only_in_toc(count, |n| json!({"type": "symlink", "name": n.to_string(), "linkName": deep()}))
}

fn toc_xattrs(count: usize) -> Recipe {
    let value = "A".repeat(80_000);
    let xattrs = json!({ "user.a": value });
    only_in_toc(count, move |n| json!({"type": "reg", "name": n.to_string(), "xattrs": xattrs}))
}

/// A layer whose TOC has entries that its tar knows nothing of.
fn only_in_toc(count: usize, entry: impl Fn(usize) -> Value + Send + Sync + 'static) -> Recipe {
    honest().toc(move |toc| {
        let list = toc.as_array_mut().expect("entries are a list");
        list.extend((0..count).map(&entry));
    })
}

fn long_names(count: usize) -> Recipe {
    Recipe::of((0..count).map(|n| file(format!("{}/{n}", deep()), "")))
}

/// Short names, each of which leads to a long path.
fn names_through_a_link(count: usize) -> Recipe {
    let start = [dir(deep()), symlink("l", deep())];
    Recipe::of(start.into_iter().chain((0..count).map(|n| file(format!("l/{n}"), ""))))
}

/// Names of two thousand parts.
fn deep_names(count: usize) -> Recipe {
    Recipe::of((0..count).map(|n| file(format!("{n}/{}f", "d/".repeat(2000)), "")))
}

fn long_links(count: usize) -> Recipe {
    Recipe::of((0..count).map(|n| symlink(format!("{n}"), deep())))
}

/// A thousand zeros and something else, in turns; not cut into chunks that a TOC would have.
fn many_holes(length: usize) -> Recipe {
    let content = [vec![0; 1024], vec![1]].concat().repeat(length / 1025);
    Recipe::of([file("f", content)])
}

fn access_lists(count: usize) -> Recipe {
    let list = access_list(5000);
    Recipe::of((0..count).map(|n| dir(format!("{n}")).xattr("system.posix_acl_default", &list)))
}

/// What the kernel takes for a list that names so many users.
fn access_list(users: u32) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    const VERSION: u32 = 2;
    let entry = |tag: u16, id: u32| {
        [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let users = (1..=users).map(|user| entry(2, user));
    let others = [(4, NOBODY), (16, NOBODY), (32, NOBODY)].map(|(tag, id)| entry(tag, id));
    let entries = std::iter::once(entry(1, NOBODY)).chain(users).chain(others);
    [VERSION.to_le_bytes().to_vec(), entries.flatten().collect()].concat()
}

fn window(log: u32, less: usize) -> Recipe {
    // Nearly as much as a TOC of this blob may have.
    honest().toc_bytes(move |toc| toc.extend(vec![b' '; 61 * MIB - less])).toc_payload(
        move |payload| {
            let toc = zstd_decoded(payload);
            *payload = zstd_of(&toc, log);
        },
    )
}

fn blob_window(log: u32, more: usize) -> Recipe {
    // More than the window, so that all of it is used.
    honest().trailer(vec![0; 135 * MIB + more]).as_blob("tar+zstd", move |tar| zstd_of(tar, log))
}

/// Compressed with a window of so many bits, if they are more than usual.
fn zstd_of(bytes: &[u8], log: u32) -> Vec<u8> {
    zstd_with_window(bytes, log.max(20))
}

pub(super) fn bombs(filesystem: &Filesystem) -> Result<()> {
    let mut seen = BTreeMap::<usize, Seen>::new();
    for bomb in list() {
        let store = Store::new(filesystem)?;
        let limit = 64 * MIB + 250 * bomb.entries + if bomb.window { 128 * MIB } else { 0 };
        let reference = image(&store, "v1", &bomb.layers)?;
        // Where it is there by then, the second one looks into it.
        for (full, again) in [(false, false), (false, true), (true, false), (true, true)] {
            let group = Group::new(limit).context("a group with a limit of memory")?;
            let arguments: &[&str] =
                if full { &["pull", "--full", &reference] } else { &["pull", &reference] };
            let (out, resident) = group.run(&store.patient(120, arguments))?;
            let peak = group.peak()? / 1024;
            let seen = seen.entry(limit / 1024).or_default();
            seen.pulls += 1;
            seen.resident = seen.resident.max(resident);
            seen.peak = seen.peak.max(peak);
            let text = said(&out);
            eprintln!(
                "{}: {} bytes of blobs, {resident} KiB and with files {peak} of {}, {}",
                bomb.name,
                bomb.layers.iter().map(|layer| layer.blob.len()).sum::<usize>(),
                limit / 1024,
                text.lines().next().unwrap_or_default().chars().take(150).collect::<String>()
            );
            ensure!(out.status.signal().is_none(), "{}: {}: {text}", bomb.name, out.status);
            ensure!(
                matches!(out.status.code(), Some(0 | 1)),
                "{}: {}: {text}",
                bomb.name,
                out.status
            );
            ensure!(!text.contains("panicked"), "{}: {text}", bomb.name);
            if out.status.success() && again {
                let id = &store.image_ids()?[0];
                ensure!(store.output(&["rmi", id])?.status.success(), "{}: rmi", bomb.name);
            }
        }
        store.expect_clean()?;
    }
    for (limit, Seen { pulls, resident, peak }) in seen {
        tried(filesystem.name, pulls, &format!("pulls of bombs within {limit} KiB"))?;
        tried(filesystem.name, resident, &format!("KiB at the most within {limit}"))?;
        tried(filesystem.name, peak, &format!("KiB with cached files within {limit}"))?;
    }
    Ok(())
}

/// A budget is kept by pulls that fit into it, and named by those that do not.
pub(super) fn budget(filesystem: &Filesystem) -> Result<()> {
    let files = |count| Recipe::of((0..count).map(|n| file(format!("{n}"), "content")));
    let cases = [
        ("few files", files(100), [("72MiB", true), ("1GiB", true)]),
        ("many files", files(40_000), [("72MiB", false), ("80MiB", true)]),
        ("many chunks", many_chunks(200_000), [("100MiB", true), ("128MiB", true)]),
        ("a TOC with a large window", window(25, MIB), [("80MiB", true), ("160MiB", true)]),
        ("a blob with a large window", blob_window(27, MIB), [("128MiB", false), ("320MiB", true)]),
    ];
    let mut pulls = 0;
    for (name, recipe, budgets) in cases {
        let store = Store::new(filesystem)?;
        let reference = image(&store, "v1", &[recipe.build()])?;
        for (budget, fits) in budgets {
            let mib: usize = match budget.strip_suffix("MiB") {
                Some(number) => number.parse()?,
                None => 1024,
            };
            let group = Group::new(mib * MIB).context("a group with a limit of memory")?;
            let arguments = ["pull", "--memory", budget, &reference];
            let (out, resident) = group.run(&store.patient(120, &arguments))?;
            let text = said(&out);
            eprintln!("{name} within {budget}: {resident} KiB, {}", out.status);
            ensure!(out.status.success() == fits, "{name} within {budget}: {}: {text}", out.status);
            if fits {
                store.expect_clean()?;
                let id = &store.image_ids()?[0];
                ensure!(store.output(&["rmi", id])?.status.success(), "{name}: rmi");
            } else {
                ensure!(text.contains("bytes of memory that are allowed"), "{name}: {text}");
                ensure!(store.image_ids()?.is_empty(), "{name}: nothing was pulled");
            }
            pulls += 1;
        }
    }
    let store = Store::new(filesystem)?;
    let reference = image(&store, "v1", &[honest().build()])?;
    let out = store.output(&["pull", "--memory", "71MiB", &reference])?;
    ensure!(!out.status.success() && said(&out).contains("at least"), "{}", said(&out));
    tried(filesystem.name, pulls, "pulls within a budget of memory")
}

/// The pulls under one limit, and the most memory that one took, in KiB.
#[derive(Default)]
struct Seen {
    pulls: u64,
    /// Of one process.
    resident: u64,
    /// Of all together, with what the kernel keeps of their files until it needs the room.
    peak: u64,
}

/// A cgroup of the old or the new kind.
struct Group {
    dir: PathBuf,
    new_kind: bool,
}

impl Group {
    fn new(limit: usize) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("reflayer-scenario-{}-{number}", std::process::id());
        let (top, new_kind, file) = [
            ("/sys/fs/cgroup/memory", false, "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", true, "memory.max"),
        ]
        .into_iter()
        .find(|(top, new_kind, _)| {
            let mark = if *new_kind { "cgroup.controllers" } else { "memory.limit_in_bytes" };
            Path::new(top).join(mark).exists()
        })
        .context("no cgroups of memory here")?;
        if new_kind {
            // It may be on already, or not be ours to change: the limit tells.
            drop(fs::write(Path::new(top).join("cgroup.subtree_control"), "+memory"));
        }
        let group = Self { dir: Path::new(top).join(name), new_kind };
        fs::create_dir(&group.dir).context("make a cgroup")?;
        fs::write(group.dir.join(file), limit.to_string()).context("limit its memory")?;
        // No way out by swapping, where that can be said.
        let (swap, most) =
            if new_kind { ("memory.swap.max", 0) } else { ("memory.memsw.limit_in_bytes", limit) };
        drop(fs::write(group.dir.join(swap), most.to_string()));
        Ok(group)
    }

    /// Runs a command in this group; also the most memory that one of its processes had,
    /// in KiB.
    fn run(&self, plain: &Command) -> Result<(Output, u64)> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(self.resident());
                    thread::sleep(Duration::from_millis(1));
                }
                most
            });
            let out = self.command(plain).output();
            done.store(true, Ordering::Relaxed);
            Ok((out?, watch.join().expect("reading does not panic")))
        })
    }

    /// The most that one of the processes in it has had so far, in KiB. Nothing but a watch
    /// tells it apart from files: a group counts these, too.
    fn resident(&self) -> u64 {
        let processes = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        let most = |process: &str| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            most.trim_end_matches("kB").trim().parse().ok()
        };
        processes.lines().filter_map(most).max().unwrap_or(0)
    }

    /// A command in this group.
    fn command(&self, plain: &Command) -> Command {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.dir.display());
        command.args(["-c", &enter, "sh"]).arg(plain.get_program()).args(plain.get_args());
        command
    }

    /// The most bytes of memory that it had, files in the kernel's cache included.
    fn peak(&self) -> Result<u64> {
        let file = if self.new_kind { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let text = fs::read_to_string(self.dir.join(file)).context("read the peak of memory")?;
        match text.trim().parse() {
            Ok(bytes) => Ok(bytes),
            Err(_) => bail!("{file} says {text}"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Best effort: what still ends in it keeps it.
        drop(fs::remove_dir(&self.dir));
    }
}
