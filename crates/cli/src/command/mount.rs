//! `mount`, `umount`

use std::path::Path;

use reflayer::{MountOptions, Store, Writable};

use crate::args::Mount;
use crate::exit;

pub(crate) fn mount(store: &Store, args: &Mount) -> anyhow::Result<u8> {
    let options = match (&args.upper, &args.work) {
        (Some(upper), Some(work)) => {
            MountOptions::writable(Writable { upper: upper.clone(), work: work.clone() })
        }
        _ => MountOptions::read_only(),
    };
    store.mount(&args.image, &args.directory, &options)?;
    Ok(exit::SUCCESS)
}

pub(crate) fn umount(directory: &Path) -> anyhow::Result<u8> {
    reflayer::unmount(directory)?;
    Ok(exit::SUCCESS)
}
