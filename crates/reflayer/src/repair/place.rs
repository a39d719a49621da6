//! The renames that bring what was made into a layer.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use overlay_driver::StagedLayer;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, syncfs};
use storage_core::{FsResultExt as _, LayerId, LayerPath, LayerRecord, Time};
use tree::{Mender, Model, TreeError};

use super::error::MendError;
use super::plan::{Plan, Step};
use super::stage::Stage;
use crate::Store;

impl Store {
    /// Carries a plan out, but for what was not made, under the lock of the layers: so
    /// nothing of the layer is removed or mounted meanwhile by who takes it, too.
    pub(super) fn put_in_place(
        &self,
        layer: &LayerId,
        plan: &Plan,
        model: &Model,
        stage: &Stage<'_>,
        staged: &StagedLayer,
    ) -> Result<(), MendError> {
        let diff = {
            let layers = self.layers.write()?;
            if layers.get(layer).is_none_or(LayerRecord::is_incomplete) {
                return Err(MendError::Gone);
            }
            if self.mounted_with_lowers(&layers)?.contains(layer) {
                return Err(MendError::Mounted);
            }
            let diff = self.driver.diff(layer)?;
            let mut mender = Mender::new(diff.as_fd(), staged.dirs().scratch, self.privileges);
            let mut times = Times::default();
            let steps = plan.steps.iter().chain(&plan.links);
            for step in steps {
                times.keep(&mut mender, step.path())?;
                carry_out(&mut mender, step, diff.as_fd(), stage, staged)?;
            }
            times.give_back(&mut mender)?;
            // The deepest first: a mode may shut us out of what is below.
            for path in plan.settle.iter().rev() {
                if let Some(node) = model.get(path) {
                    mender.settle(path, &node)?;
                }
            }
            mender.close()?;
            diff
        };
        let flushed = syncfs(diff.as_fd()).during("flush the filesystem of", "the layer");
        flushed.map_err(MendError::Flush)
    }
}

fn carry_out(
    mender: &mut Mender<'_>,
    step: &Step,
    diff: BorrowedFd<'_>,
    stage: &Stage<'_>,
    staged: &StagedLayer,
) -> Result<(), MendError> {
    match step {
        Step::TakeAway(path) => unless_gone(mender.take_away(path))?,
        // Another may have put it there since the layer was looked at, and filled it.
        Step::Directory(path) if is_directory(diff, path) => {}
        Step::Directory(path) => mender.put_directory(path)?,
        Step::Put(path, number) if stage.has(*number) => {
            mender.put(path, staged.dirs().dest, &Stage::name(*number))?;
        }
        // It could not be had; that is said elsewhere.
        Step::Put(..) => {}
        Step::Link(path, existing) => match mender.put_link(path, existing) {
            Err(TreeError::Fs(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            linked => linked?,
        },
    }
    Ok(())
}

/// Whether there is a directory at the path, and no link on the way to it.
fn is_directory(diff: BorrowedFd<'_>, path: &LayerPath) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    !path.is_root() && openat2(diff, path.as_path(), flags, Mode::empty(), within).is_ok()
}

/// What is not there needs nothing: it was taken away, here or by another who mends.
fn unless_gone(done: Result<(), TreeError>) -> Result<(), TreeError> {
    match done {
        Err(TreeError::Fs(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(TreeError::Parent { .. }) => Ok(()),
        done => done,
    }
}

/// The times of directories before names in them changed.
#[derive(Debug, Default)]
struct Times(BTreeMap<LayerPath, Time>);

impl Times {
    fn keep(&mut self, mender: &mut Mender<'_>, path: &LayerPath) -> Result<(), MendError> {
        let Some((parent, _)) = path.split_last() else { return Ok(()) };
        if !self.0.contains_key(&parent) {
            let mut time = None;
            // A directory that is not there yet gets its time when it is settled.
            unless_gone(mender.time_of(&parent).map(|found| time = Some(found)))?;
            self.0.extend(time.map(|time| (parent, time)));
        }
        Ok(())
    }

    fn give_back(self, mender: &mut Mender<'_>) -> Result<(), MendError> {
        for (path, time) in self.0 {
            unless_gone(mender.set_time(&path, time))?;
        }
        Ok(())
    }
}
