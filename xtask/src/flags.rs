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
    /// Run the scenarios of `tests/` on real filesystems, as root.
    Integration(Integration),
    /// Compare the dependencies between our crates with the arrows that the design allows.
    Layering,
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
