//! Records of mounts, from the kernel's table.

use storage_core::MountRecord;

use crate::Store;
use crate::repair::error::MendError;

impl Store {
    /// Writes the records of mounts anew; tells what became of them.
    ///
    /// What can still be read is taken as it is. Other mounts are those that this process
    /// sees: how many users they have is known to nobody, so each has one.
    pub(super) fn rebuild_mounts(&self) -> Result<String, MendError> {
        let layers = self.layers.write()?;
        let (mut mounts, rescued) = self.mounts.rescue(&layers)?;
        let mut seen = 0;
        for (layer, place) in self.driver.mounted_at_home()? {
            if mounts.get(&layer).is_none()
                && layers.get(&layer).is_some()
                && let Some(place) = place.to_str()
            {
                mounts.records_mut().push(MountRecord::new(layer, place));
                seen += 1;
            }
        }
        mounts.save()?;
        let read = rescued.records;
        let said = format!("{read} records as they were, {seen} mounts as the kernel has them");
        let kept =
            rescued.kept.iter().map(|kept| format!("the damaged file is {}", kept.display()));
        Ok([said].into_iter().chain(kept).collect::<Vec<_>>().join("; "))
    }
}
