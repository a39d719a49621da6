//! The tasks as they are typed.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Tasks of the reflayer workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
pub(crate) struct Xtask {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Measure pulls side by side with podman, as root.
    Bench(Bench),
    /// All that has to pass: format, lints, tests, docs, layering, integration.
    Ci,
    /// Build two versions of an image out of this machine's own files, and pull both.
    Demo,
    /// Feed everything that is read from outside with what may break it.
    Fuzz(Fuzz),
    /// Run the scenarios of `tests/` on real filesystems, as root.
    Integration(Integration),
    /// Compare the dependencies between our crates with the arrows that the design allows.
    Layering,
    /// Measure pulls and plans as layers and stores grow, as root.
    Scale(Scale),
    /// Count the system calls of a pull, for each file that is new and each that is reused.
    Syscalls,
    /// Try to break the promises R1 to R25, in full; takes hours, as root.
    Torture(Torture),
    /// Make the programs that judge us, and the images that they make, where that was not done yet.
    Peers,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// On these filesystems.
    #[arg(long, value_delimiter = ',', default_value = "xfs")]
    pub(crate) fs: Vec<Fs>,
    /// Rounds; the medians are shown.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// What is pulled.
    #[arg(long, value_enum, default_value_t = What::Pulls)]
    pub(crate) what: What,
}

/// What `bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// A Debian image with a compiler and an interpreter, and an update of it.
    Pulls,
    /// A file of 256 MB, and the same with 100 insertions.
    Insertions,
    /// 200,000 tiny files, of which 1 % change.
    Tiny,
    /// An update whose two layers say everything several times.
    Repeated,
    /// Plans, with 10, 100 and 1,000 layers in the store.
    Plan,
    /// `convert` and `push` of that Debian image, beside skopeo, with the size of the blobs.
    Out,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// On this filesystem.
    #[arg(long, value_enum, default_value_t = Fs::Xfs)]
    pub(crate) fs: Fs,
    /// Files of a layer.
    #[arg(long, value_delimiter = ',', default_value = "20000,200000,1000000")]
    pub(crate) files: Vec<u64>,
    /// Layers in the store while an image is planned; none leaves planning out.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    pub(crate) layers: Vec<u64>,
    /// Measure podman, too, with layers of up to 200,000 files.
    #[arg(long)]
    pub(crate) podman: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Only this target, of those in `fuzz/fuzz_targets`.
    pub(crate) target: Option<String>,
    /// For how long each target runs.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u32,
    /// So many inputs for each target instead, the same ones every time, from the seeds on.
    #[arg(long)]
    pub(crate) runs: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Integration {
    /// Only on these filesystems.
    #[arg(long, value_delimiter = ',')]
    pub(crate) fs: Vec<Fs>,
    /// How many scenarios at a time.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Only the scenarios whose names contain this.
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Torture {
    /// Only these promises, as `R1 R12`.
    #[arg(value_parser = crate::torture::number)]
    pub(crate) promises: Vec<u32>,
    /// Go on where the last run was stopped: what passed then is not run again.
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fs {
    Xfs,
    Btrfs,
    Ext4,
}

impl Fs {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Ext4 => "ext4",
        }
    }
}
