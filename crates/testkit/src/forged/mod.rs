//! Layers that are whatever a forger wants them to be.
//!
//! An [`Item`] is one entry of a tar, with any number in any field. A [`Recipe`] makes
//! a zstd:chunked blob by the book of such items, and then lies where it is told to: in
//! the TOC, the tar-split, the annotations, the data. Nothing is parsed on the way, and
//! no code of reflayer is used, so that nothing of it can be misunderstood twice.
//!
//! ```
//! use testkit::forged::{Recipe, dir, file};
//!
//! let recipe = Recipe::of([dir("etc"), file("etc/shadow", "secret").mode(0o600)])
//!     .toc(|entries| entries[1]["mode"] = 0o4755.into());
//! let layer = recipe.build();
//! assert!(layer.annotations.iter().any(|(key, _)| key.ends_with("manifest-position")));
//! ```

mod blob;
mod crc64;
mod header;
mod image;
mod item;
mod recipe;

pub use blob::{zstd_decoded, zstd_with_window};
pub use image::add_image;
pub use item::{
    Item, block_device, char_device, dir, end, fifo, file, global, hard_link, raw, symlink,
};
pub use recipe::Recipe;

/// A layer, and what an image says of it.
#[derive(Debug, Clone)]
pub struct Forged {
    /// The tar stream.
    pub tar: Vec<u8>,
    /// The blob.
    pub blob: Vec<u8>,
    /// The annotations of its descriptor.
    pub annotations: Vec<(String, String)>,
    /// What the config says of the tar: 64 hex digits, unless it lies.
    pub diff_id: String,
    /// Of the descriptor.
    pub media_type: String,
    /// Its size according to the descriptor.
    pub size: u64,
    /// Its digest according to the descriptor, and the name of its file in a layout.
    pub digest: String,
}
