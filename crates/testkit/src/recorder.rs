//! A disk whose every write and flush is written down, so that it can be rebuilt as a power
//! cut may have left it: all up to the last flush, and any part of what followed.
//!
//! ```text
//! filesystem → loop device → FUSE → qemu-storage-daemon ┬→ disk
//!                                                       └→ log
//! ```

mod log;
mod states;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::dice::Dice;
use crate::fs_role::Filesystem;
use crate::judge;
use crate::loop_fs::{LoopFs, unmount};
pub use states::Fate;
use states::Rebuilder;

const START: &str = "start.img";
const LIVE: &str = "live.img";
const LOG: &str = "writes.log";
const EXPORT: &str = "export.img";
/// Sparse; far more than a scenario writes.
const LOG_BYTES: u64 = 16 << 30;
const PATIENCE: Duration = Duration::from_secs(20);

/// A mounted filesystem on a disk that is being recorded. Root only.
#[derive(Debug)]
pub struct Recorder {
    /// As a role.
    pub filesystem: Filesystem,
    disk: Disk,
}

impl Recorder {
    /// Makes a filesystem of the kind `name` (`xfs`, `btrfs`, `ext4`) below `place`, and mounts
    /// it. Mounting it is the first thing in the log.
    ///
    /// # Errors
    ///
    /// If it cannot be made or mounted, or the daemon does not start.
    pub fn make(place: &Path, name: &'static str, bytes: u64) -> Result<Self> {
        let made = LoopFs::make(place, name, bytes)?;
        let filesystem = made.filesystem.clone();
        unmount(&filesystem.path)?;
        for copy in [START, LIVE] {
            let mut cp = Command::new("cp");
            cp.arg("--sparse=always").args([place.join(format!("{name}.img")), place.join(copy)]);
            judge::run(&mut cp)?;
        }
        drop(made);
        let disk = Disk::attach(place, bytes)?;
        judge::run(Command::new("mount").args([&disk.device, &filesystem.path]))?;
        Ok(Self { filesystem, disk })
    }

    /// How many entries the log has: whatever has returned is in it.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn position(&self) -> Result<u64> {
        log::count(&self.disk.place.join(LOG))
    }

    /// Unmounts the filesystem, and ends the recording.
    ///
    /// # Errors
    ///
    /// If it is busy, or the log cannot be read.
    pub fn stop(self) -> Result<Recording> {
        let Self { filesystem, disk } = self;
        unmount(&filesystem.path)?;
        let place = disk.place.clone();
        drop(disk);
        let log = File::open(place.join(LOG)).context("open the log")?;
        let rebuilder = Rebuilder::new(log, place.join(START))?;
        Ok(Recording { filesystem, rebuilder, state: place.join("state.img") })
    }
}

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    filesystem: Filesystem,
    rebuilder: Rebuilder,
    state: PathBuf,
}

impl Recording {
    /// Positions right after which a flush was done.
    pub fn flushes(&self) -> Vec<u64> {
        let entries = self.rebuilder.entries().iter().zip(1..);
        entries.filter(|(entry, _)| entry.flush).map(|(_, position)| position).collect()
    }

    /// The filesystem after a power cut behind `position` entries of the log, mounted where it
    /// was when it was recorded. What was not flushed before has come to the disk by chance.
    ///
    /// # Errors
    ///
    /// If this position is before that of an earlier state or beyond the log, or the
    /// filesystem cannot be mounted, which would be its own mistake.
    pub fn state(&mut self, position: u64, dice: &mut Dice) -> Result<(LoopFs, Fate)> {
        let position = usize::try_from(position).context("a position")?;
        let fate = self.rebuilder.state(position, dice, &self.state)?;
        let disk = LoopFs::open(&self.state, &self.filesystem)
            .with_context(|| format!("after {position} entries, {fate}"))?;
        Ok((disk, fate))
    }
}

/// The daemon, and the loop device that shows its disk.
#[derive(Debug)]
struct Disk {
    place: PathBuf,
    daemon: Child,
    device: PathBuf,
}

impl Disk {
    fn attach(place: &Path, bytes: u64) -> Result<Self> {
        let log = File::create_new(place.join(LOG)).context("make a log")?;
        log.set_len(LOG_BYTES).context("give the log room")?;
        File::create_new(place.join(EXPORT)).context("make a place for the export")?;
        let daemon = daemon(place)?.spawn().context("start qemu-storage-daemon")?;
        let mut disk = Self { place: place.to_owned(), daemon, device: PathBuf::new() };
        disk.wait(bytes)?;
        // Not by direct I/O: each request for the device is one for the daemon all the same.
        let mut losetup = Command::new("losetup");
        let device = judge::output(losetup.args(["--find", "--show"]).arg(place.join(EXPORT)))?;
        disk.device = device.trim().into();
        Ok(disk)
    }

    fn wait(&mut self, bytes: u64) -> Result<()> {
        let start = Instant::now();
        while fs::metadata(self.place.join(EXPORT)).context("look for the export")?.len() != bytes {
            if let Some(status) = self.daemon.try_wait()? {
                let said = fs::read_to_string(self.place.join("daemon.log")).unwrap_or_default();
                bail!("qemu-storage-daemon: {status}\n{said}");
            }
            ensure!(start.elapsed() < PATIENCE, "qemu-storage-daemon exports nothing");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Best effort. The device goes with its last mount.
        drop(Command::new("umount").arg("-q").arg(&self.device).status());
        drop(Command::new("losetup").arg("--detach").arg(&self.device).status());
        drop(Command::new("umount").arg(self.place.join(EXPORT)).status());
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

fn daemon(place: &Path) -> Result<Command> {
    let said = File::create(place.join("daemon.log")).context("make a log of the daemon")?;
    // Each entry is counted at once. What the machine itself does not lose need not be flushed.
    let file = "driver=file,cache.no-flush=on";
    let mut command = Command::new("qemu-storage-daemon");
    command.current_dir(place).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    command.args(["--blockdev", &format!("{file},node-name=disk,filename={LIVE},discard=unmap")]);
    command.args(["--blockdev", &format!("{file},node-name=log,filename={LOG}")]);
    command.args([
        "--blockdev",
        "driver=blklogwrites,node-name=recorded,file=disk,log=log,\
         log-sector-size=512,log-super-update-interval=1",
    ]);
    let mountpoint = place.join(EXPORT);
    command.args([
        "--export",
        &format!(
            "type=fuse,id=export,node-name=recorded,mountpoint={},writable=on,allow-other=off",
            mountpoint.display()
        ),
    ]);
    Ok(command)
}
