//! The files of a store, and what must come of damage to each.

use std::fmt;
use std::io::Read as _;

use chunked::{Limits, Toc};
use flate2::read::GzDecoder;
use reflayer::CheckLevel;

/// Files that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Layers, images, containers, mounts.
    Records,
    /// Manifests and configs.
    Documents,
    /// What a layer's directory says beside its tree.
    Directories,
    /// Tar-split, TOC, index.
    Data,
    /// What nobody believes.
    Others,
}

impl Group {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Records => "record files",
            Self::Documents => "documents of images",
            Self::Directories => "small files of layers",
            Self::Data => "files beside layers",
            Self::Others => "locks and notes",
        }
    }
}

/// Files of one kind.
pub(crate) struct Kind {
    /// Where they are; a `*` stands for anything but a slash.
    pub(crate) pattern: &'static str,
    pub(crate) group: Group,
    /// The level at which all damage is named, unless it does no harm.
    pub(crate) level: CheckLevel,
    harmless: fn(&Damage<'_>) -> Option<Reason>,
}

/// Why damage that is not named does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Text of whoever wrote the record: nothing else on disk repeats it.
    OwnText,
    /// What comes out of the file is the same.
    SameMeaning,
    /// An empty list: a power cut leaves these files so, since nobody flushes them.
    EmptyList,
    /// Only the kernel's table of mounts is believed; records of mounts lead to places in it.
    MountTable,
    /// Where in a blob a file is to be had: what comes from there is checked.
    Place,
    /// What is in the lock file is compared with what was there before, and no more.
    AnyToken,
    /// A note that is not as it should be is none.
    NoNote,
}

pub(crate) static KINDS: [Kind; 20] = [
    records("root/overlay-layers/layers.json", |damage| own_text(damage, OF_LAYERS)),
    records("root/overlay-layers/volatile-layers.json", |damage| {
        empty_list(damage).or_else(|| own_text(damage, OF_LAYERS))
    }),
    records("root/overlay-images/images.json", |damage| own_text(damage, OF_IMAGES)),
    records("root/overlay-containers/containers.json", |damage| own_text(damage, OF_CONTAINERS)),
    records("root/overlay-containers/volatile-containers.json", |damage| {
        empty_list(damage).or_else(|| own_text(damage, OF_CONTAINERS))
    }),
    records("run/overlay-layers/mountpoints.json", |damage| {
        (!damage.is_cut()).then_some(Reason::MountTable)
    }),
    kind("root/overlay-images/*/manifest", Group::Documents, CheckLevel::Records, never),
    kind(MANIFEST, Group::Documents, CheckLevel::Records, never),
    kind(CONFIG, Group::Documents, CheckLevel::Records, never),
    kind("root/overlay/*/link", Group::Directories, CheckLevel::Records, never),
    kind("root/overlay/*/lower", Group::Directories, CheckLevel::Records, never),
    kind("root/overlay/*/lower-layers", Group::Directories, CheckLevel::Records, never),
    kind("root/overlay/l/*", Group::Directories, CheckLevel::Records, never),
    kind("root/overlay-layers/*.tar-split.gz", Group::Data, CheckLevel::Attributes, same_bytes),
    kind(TOC, Group::Data, CheckLevel::Content, same_entries),
    kind(INDEX, Group::Data, CheckLevel::Content, never),
    kind(FORMAT, Group::Data, CheckLevel::Attributes, never),
    kind("root/*/*.lock", Group::Others, CheckLevel::Content, |_| Some(Reason::AnyToken)),
    kind("run/*/*lock", Group::Others, CheckLevel::Content, |_| Some(Reason::AnyToken)),
    kind("run/reflayer-sound/*", Group::Others, CheckLevel::Content, |_| Some(Reason::NoNote)),
];

/// Names of big data as base64: `manifest-` and `sha256:` with a digest, and whole ones.
const MANIFEST: &str = "root/overlay-images/*/=bWFuaWZlc3Qt*";
const CONFIG: &str = "root/overlay-images/*/=c2hhMjU2O*";
const TOC: &str = "root/overlay-layers/*/=enN0ZC1jaHVua2VkLW1hbmlmZXN0";
const INDEX: &str = "root/overlay-layers/*/=Y2h1bmtlZC1tYW5pZmVzdC1jYWNoZQ==";
const FORMAT: &str = "root/overlay-layers/*/=enN0ZC1jaHVua2VkLWxheWVyLWRhdGE=";

/// Fields of records whose words nothing else on disk has.
const OF_LAYERS: &[&str] = &[
    "names",
    "created",
    "metadata",
    "mountlabel",
    "diff-size",
    "compression",
    "compressed-size",
    "compressed-diff-digest",
    "toc-digest",
    "uidset",
    "gidset",
];
const OF_IMAGES: &[&str] = &["names", "names-history", "created", "metadata", "digest"];
const OF_CONTAINERS: &[&str] = &["id", "names", "metadata", "created", "flags", "MountLabel"];

const fn kind(
    pattern: &'static str,
    group: Group,
    level: CheckLevel,
    harmless: fn(&Damage<'_>) -> Option<Reason>,
) -> Kind {
    Kind { pattern, group, level, harmless }
}

const fn records(pattern: &'static str, harmless: fn(&Damage<'_>) -> Option<Reason>) -> Kind {
    kind(pattern, Group::Records, CheckLevel::Content, harmless)
}

impl Kind {
    /// The kind of a file.
    pub(crate) fn of(file: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| {
            let (patterns, names) = (kind.pattern.split('/'), file.split('/'));
            patterns.clone().count() == names.clone().count()
                && patterns.zip(names).all(|(pattern, name)| fits(pattern, name))
        })
    }

    /// Why the damage need not be named.
    pub(crate) fn harmless(&self, damage: &Damage<'_>) -> Option<Reason> {
        (self.harmless)(damage)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

/// What was done to a file.
pub(crate) struct Damage<'a> {
    pub(crate) whole: &'a [u8],
    pub(crate) now: Vec<u8>,
    /// The first byte that differs.
    pub(crate) at: usize,
}

impl fmt::Debug for Damage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &[u8]| {
            let near = self.at.saturating_sub(30)..bytes.len().min(self.at + 30);
            String::from_utf8_lossy(&bytes[near]).into_owned()
        };
        let length = self.now.len();
        write!(
            f,
            "byte {} of {length}: {:?}, not {:?}",
            self.at,
            shown(&self.now),
            shown(self.whole)
        )
    }
}

impl<'a> Damage<'a> {
    pub(crate) fn cut(whole: &'a [u8], length: usize) -> Self {
        Self { whole, now: whole[..length].to_vec(), at: length }
    }

    pub(crate) fn flip(whole: &'a [u8], at: usize, bit: u32) -> Self {
        let mut now = whole.to_vec();
        now[at] ^= 1 << bit;
        Self { whole, now, at }
    }

    fn is_cut(&self) -> bool {
        self.now.len() < self.whole.len()
    }
}

fn never(_: &Damage<'_>) -> Option<Reason> {
    None
}

fn own_text(damage: &Damage<'_>, keys: &[&str]) -> Option<Reason> {
    let is_own = !damage.is_cut() && keys.contains(&&*key_at(damage.whole, damage.at));
    is_own.then_some(Reason::OwnText)
}

fn empty_list(damage: &Damage<'_>) -> Option<Reason> {
    damage.now.is_empty().then_some(Reason::EmptyList)
}

/// Bytes of a gzip header, and bits after its end, say nothing.
fn same_bytes(damage: &Damage<'_>) -> Option<Reason> {
    let decoded = |bytes: &[u8]| {
        let mut decoded = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut decoded).ok().map(|_| decoded)
    };
    let whole = decoded(damage.whole).unwrap();
    (decoded(&damage.now) == Some(whole)).then_some(Reason::SameMeaning)
}

fn same_entries(damage: &Damage<'_>) -> Option<Reason> {
    let read = |bytes: &[u8]| Toc::read(bytes, &Limits::default()).ok();
    let (whole, now) = (read(damage.whole).unwrap(), read(&damage.now)?);
    let contents = |toc: &Toc| -> Vec<_> {
        let chunks = toc.files().flat_map(|file| file.chunks().collect::<Vec<_>>());
        let chunks = chunks.map(|chunk| (chunk.digest, chunk.file_offset, chunk.size, chunk.hole));
        toc.files().map(|file| (Some(file.digest()), 0, file.size(), false)).chain(chunks).collect()
    };
    let same = whole.entries().eq(now.entries()) && contents(&whole) == contents(&now);
    let reason = if ["offset", "endOffset"].contains(&&*key_at(damage.whole, damage.at)) {
        Reason::Place
    } else {
        Reason::SameMeaning
    };
    same.then_some(reason)
}

/// The key that stands at a place in compact JSON, or whose value does.
fn key_at(json: &[u8], at: usize) -> String {
    let (mut key, mut next) = (String::new(), 0);
    while let Some(start) = json[next..].iter().position(|byte| *byte == b'"') {
        let start = next + start;
        if start > at {
            break;
        }
        let mut end = start + 1;
        while json[end] != b'"' {
            end += if json[end] == b'\\' { 2 } else { 1 };
        }
        next = end + 1;
        if json.get(next) == Some(&b':') {
            key = String::from_utf8_lossy(&json[start + 1..end]).into_owned();
        }
    }
    key
}
