//! Somebody who changes a layer's files without any respect for who reads them.
//!
//! Links that it makes lead to a decoy beside the store. It follows them itself, like any
//! careless program: so nothing of the machine's own may ever be their target.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use testkit::dice::Dice;
use testkit::tree::{make_fifo, noise};

/// What one mutator may do.
pub(crate) struct Mutator {
    dice: Dice,
    layers: Vec<PathBuf>,
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// Where links lead: a directory with a file in it.
    decoy: PathBuf,
    /// Layers that are moved away go here, if that is allowed.
    attic: Option<PathBuf>,
    /// A command that removes the whole image.
    remove: Command,
}

impl Mutator {
    /// Of these layers, whose trees are as they should be now.
    pub(crate) fn new(
        seed: u64,
        layers: Vec<PathBuf>,
        decoy: PathBuf,
        attic: Option<PathBuf>,
        remove: Command,
    ) -> Self {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for layer in &layers {
            // What cannot be listed cannot be changed either.
            drop(list(&layer.join("diff"), &mut files, &mut directories));
        }
        Self { dice: Dice::new(seed), layers, files, directories, decoy, attic, remove }
    }

    /// Changes things until it is told to stop; tells how many.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> u32 {
        // From one change in 20 µs to one in 10 ms, beginning now or in the middle of the pull.
        let pause = 20 << self.dice.below(10);
        self.sleep(100_000);
        let whole_layers = self.dice.below(6);
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            match whole_layers {
                0 if done == 0 => drop(self.remove.output()),
                1 if done < 2 => self.move_layer(),
                _ => drop(self.change()),
            }
            done += 1;
            self.sleep(pause);
        }
        done
    }

    fn sleep(&mut self, most: u64) {
        thread::sleep(Duration::from_micros(self.dice.below(most)));
    }

    fn move_layer(&mut self) {
        let Some(attic) = &self.attic else { return };
        let layer = self.dice.one_of(&self.layers);
        let name = layer.file_name().unwrap_or_default();
        // What was moved before is no longer there.
        drop(fs::create_dir_all(attic));
        drop(fs::rename(layer, attic.join(name)));
    }

    /// One change. It may fail, where an earlier one was at the same place.
    fn change(&mut self) -> std::io::Result<()> {
        let file = self.dice.one_of(&self.files).clone();
        let other = self.dice.one_of(&self.files).clone();
        let length = file.symlink_metadata().map_or(0, |meta| meta.len());
        let at = self.dice.below(length + 1);
        match self.dice.below(12) {
            0 => fs::remove_file(file),
            1 => fs::rename(file, other),
            2 => fs::rename(&file, file.with_extension("moved")),
            3 => open(&file)?.set_len(at),
            4 | 5 => open(&file)?.write_all_at(&noise(5000, self.dice.throw()), at),
            6 => append(&file),
            7 => open(&file)?.set_permissions(Permissions::from_mode(0o000)),
            8 => replace(&file, make_fifo),
            9 => replace(&file, |file| symlink(self.decoy.join("file"), file)),
            10 => replace(&file, |file| fs::create_dir(file)),
            _ => self.change_directory(),
        }
    }

    fn change_directory(&mut self) -> std::io::Result<()> {
        let directory = self.dice.one_of(&self.directories).clone();
        match self.dice.below(3) {
            0 => fs::remove_dir_all(directory),
            1 => fs::rename(&directory, directory.with_extension("moved")),
            _ => {
                fs::rename(&directory, directory.with_extension("away"))?;
                symlink(&self.decoy, directory)
            }
        }
    }
}

/// Neither the target of a link, nor a fifo, which would wait for a reader.
fn open(file: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().write(true).custom_flags(flags.bits().cast_signed()).open(file)
}

fn append(file: &Path) -> std::io::Result<()> {
    let file = open(file)?;
    file.write_all_at(b"more", file.metadata()?.len())
}

fn replace(file: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let new = file.with_extension("new");
    make(&new)?;
    fs::remove_file(file)?;
    fs::rename(new, file)
}

fn list(top: &Path, files: &mut Vec<PathBuf>, dirs: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in top.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            dirs.push(entry.path());
            list(&entry.path(), files, dirs)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
