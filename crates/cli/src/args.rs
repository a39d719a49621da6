//! The command line as it is typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units;

/// Pull container images into a local store, and fetch only what the machine lacks.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that stand before the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The store's root directory (default: the one that podman would use).
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The store's directory for state that a reboot clears.
    #[arg(long, value_name = "DIR")]
    pub(crate) runroot: Option<PathBuf>,
    /// Another store whose layers are used as sources, and never changed; may be
    /// repeated. Those of storage.conf come after it, unless --root is given.
    #[arg(long, value_name = "DIR")]
    pub(crate) additional_store: Vec<PathBuf>,
    /// Where images and their layers live, if not in the store's root directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) imagestore: Option<PathBuf>,
    /// One JSON document on standard output instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log decisions to standard error; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pull an image into the store.
    Pull(Pull),
    /// Say what a pull would do: where every byte would come from.
    Plan(Wanted),
    /// List the images of the store.
    Images,
    /// List the layers of the store.
    Layers,
    /// Show all that is known of one image.
    Inspect {
        /// An id, a unique prefix of one, a name, or a name's unique last part.
        image: String,
    },
    /// Mount an image on a directory, read-only unless --upper and --work are given.
    Mount(Mount),
    /// Undo a mount.
    Umount {
        /// The directory that the image is mounted on.
        directory: PathBuf,
    },
    /// Remove a name of an image, and with its last name the image and its layers.
    Rmi {
        /// An id, a unique prefix of one, a name, or a name's unique last part.
        image: String,
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove what dead pulls left and nothing refers to.
    Gc {
        /// Remove layers of other tools that nothing refers to, too.
        #[arg(long)]
        all: bool,
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for what does not add up in the store, and mend it if that is asked for.
    Check(Check),
    /// Write a directory as an image with one zstd:chunked layer.
    BuildImage(BuildImage),
    /// Write the exact tar of a layer; its sha256 is the layer's DiffID.
    Export(Export),
    /// Write an image of the store to a registry or a layout, as zstd:chunked.
    Push(Push),
    /// Write an image from one place to another, as zstd:chunked, past the store.
    Convert(Convert),
    /// Look into a blob: its entries, their chunks, its frames.
    Toc(TocArgs),
    /// Run a program, or a shell, as root of the user namespace in which an ordinary
    /// user's store is written; what it mounts is seen there alone.
    Unshare {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
}

/// Where a command has to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It touches no store.
    Anywhere,
    /// Where the owners of files in the store are.
    Namespace,
    /// The same, but where somebody else is, too, to see what it does.
    MountsOfUser,
}

impl Command {
    /// Where it has to be run.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::BuildImage(_) | Self::Toc(_) => Place::Anywhere,
            Self::Mount(_) | Self::Umount { .. } => Place::MountsOfUser,
            Self::Pull(_)
            | Self::Plan(_)
            | Self::Images
            | Self::Layers
            | Self::Inspect { .. }
            | Self::Rmi { .. }
            | Self::Gc { .. }
            | Self::Check(_)
            | Self::Export(_)
            | Self::Push(_)
            | Self::Convert(_)
            | Self::Unshare { .. } => Place::Namespace,
        }
    }
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A layer's id, a unique prefix of one, or a DiffID.
    pub(crate) layer: String,
    /// Write to this file instead of standard output; it has its name only once the
    /// tar is whole and has the right digest.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Do not wait until the image is safe against a power cut.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Do not look into layers that are there for damaged files, and mend none.
    #[arg(long)]
    pub(crate) trust_present: bool,
    /// Take no more memory than this, at least 72MiB, one layer after the other; a layer that
    /// needs more is an error. As 200MB or 200MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) memory: Option<u64>,
    /// Wait for another process that pulls the same blob into the store, but not
    /// longer than this while nothing of it moves.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// Arguments of `plan`, and of `pull` as well.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// `docker://HOST/NAME:TAG`, `oci:DIR:TAG` or `oci-archive:FILE:TAG`; or a name
    /// alone, which registries.conf completes.
    pub(crate) reference: String,
    /// Take every blob whole, never by its TOC.
    #[arg(long)]
    pub(crate) full: bool,
    /// How local files are reused (default: copy, or hardlink where storage.conf says so).
    #[arg(long, value_enum)]
    pub(crate) reuse: Option<ReuseArg>,
    /// The image's name in the store.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Policy of what may be pulled, in place of the user's or the system's policy.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) signature_policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) origin: Origin,
}

/// Arguments of `push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// An id, a unique prefix of one, a name, or a name's unique last part; or
    /// `containers-storage:NAME`.
    pub(crate) image: String,
    /// `docker://HOST/NAME:TAG`, `oci:DIR:TAG` or `oci-archive:FILE:TAG`.
    #[arg(value_name = "REF")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) sending: Sending,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// `docker://HOST/NAME:TAG`, `oci:DIR:TAG`, `oci-archive:FILE:TAG` or
    /// `containers-storage:NAME`.
    #[arg(value_name = "FROM")]
    pub(crate) source: String,
    /// `docker://HOST/NAME:TAG`, `oci:DIR:TAG` or `oci-archive:FILE:TAG`.
    #[arg(value_name = "TO")]
    pub(crate) target: String,
    /// Policy of what may be read, in place of the user's or the system's policy.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) signature_policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sending: Sending,
    #[command(flatten)]
    pub(crate) origin: Origin,
}

/// How an image is written.
#[derive(Debug, Args)]
pub(crate) struct Sending {
    /// zstd's level for layers that have to be compressed.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) compression_level: i32,
    /// Where blobs are kept until they are sent (default: TMPDIR, or else /var/tmp).
    #[arg(long, value_name = "DIR")]
    pub(crate) tmpdir: Option<PathBuf>,
}

/// How an image is reached, and which one of an index.
#[derive(Debug, Args)]
pub(crate) struct Origin {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Platform to choose from an index, as OS/ARCHITECTURE[/VARIANT].
    #[arg(long)]
    pub(crate) platform: Option<String>,
}

/// How registries are spoken to.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// Accept plain HTTP and certificates that cannot be verified if `false`.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) tls_verify: bool,
    /// Credentials file, before all others.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Directory with the certificates for every registry, in place of those in certs.d.
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
}

/// Arguments of `toc`.
#[derive(Debug, Args)]
pub(crate) struct TocArgs {
    /// `docker://HOST/NAME:TAG`, `oci:DIR:TAG` or `oci-archive:FILE:TAG`; or the
    /// file of a blob, or of a TOC's JSON.
    #[arg(value_name = "REF-or-FILE")]
    pub(crate) subject: String,
    /// Only one layer: its number, the base being 0, or its digest or how that begins.
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<String>,
    /// With each file the chunks that it consists of.
    #[arg(long)]
    pub(crate) chunks: bool,
    /// After the entries the frames of the blob.
    #[arg(long)]
    pub(crate) frames: bool,
    #[command(flatten)]
    pub(crate) origin: Origin,
}

/// Policies of `--reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReuseArg {
    /// Share extents; fetch where the filesystem refuses.
    Reflink,
    /// Share extents; copy where the filesystem refuses.
    Copy,
    /// Link files whose content and attributes are all equal, else as `copy`.
    Hardlink,
    /// Fetch everything.
    Never,
}

/// Arguments of `mount`.
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// An id, a unique prefix of one, a name, or a name's unique last part.
    pub(crate) image: String,
    /// An existing directory.
    pub(crate) directory: PathBuf,
    /// Directory that takes what is written.
    #[arg(long, requires = "work")]
    pub(crate) upper: Option<PathBuf>,
    /// Empty directory on the same filesystem as the upper one.
    #[arg(long, requires = "upper")]
    pub(crate) work: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// How closely to look; each level includes those before it.
    #[arg(long, value_enum, default_value_t = LevelArg::Content)]
    pub(crate) level: LevelArg,
    /// Read the content of so many of a hundred files: the level `sample`.
    #[arg(long, value_name = "PERCENT", conflicts_with = "level",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) sample: Option<u8>,
    /// Which files a sample has: the same number chooses the same ones (default: any).
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// The same as `--level records`.
    #[arg(long, conflicts_with_all = ["level", "sample"])]
    pub(crate) quick: bool,
    /// Mend what is found: damaged files are taken from other layers or fetched, from
    /// the registries that the images' names tell of.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Where images come from, before those registries; may be repeated.
    #[arg(long, value_name = "REF", requires = "repair")]
    pub(crate) from: Vec<String>,
    #[command(flatten)]
    pub(crate) origin: Origin,
}

/// Levels of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArg {
    /// Records against directories, and the documents of images.
    Records,
    /// And sizes and attributes of every file; none is read.
    Attributes,
    /// And the content of one file in ten, or of as many as `--sample` says.
    Sample,
    /// And the content of every file.
    Content,
}

/// Arguments of `build-image`.
#[derive(Debug, Args)]
pub(crate) struct BuildImage {
    /// The directory that becomes the image's root.
    pub(crate) directory: PathBuf,
    /// Where the image goes: `oci:DIR:TAG`.
    pub(crate) reference: String,
    /// Owner and group of every entry, as UID:GID (default: as they are).
    #[arg(long, value_name = "UID:GID")]
    pub(crate) owner: Option<String>,
    /// Paths below the directory to leave out.
    #[arg(long, value_name = "PATH")]
    pub(crate) exclude: Vec<PathBuf>,
    /// Leave out what cannot be read, and say how many, instead of failing.
    #[arg(long)]
    pub(crate) skip_unreadable: bool,
}

/// A time in seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
