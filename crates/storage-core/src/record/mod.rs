//! What a store remembers of its layers, images and containers.

mod big_data;
mod container;
mod container_store;
mod error;
mod extra;
mod file;
mod flags;
#[cfg(fuzzing)]
pub mod fuzzing;
mod image;
mod image_data;
mod image_names;
mod image_store;
mod json;
mod layer;
mod layer_data;
mod layer_store;
mod mount;
mod mount_store;
mod names;
mod place;
mod rescue;
mod time;

pub use big_data::big_data_file_name;
pub use container::ContainerRecord;
pub use container_store::{ContainerStore, Containers};
pub use error::RecordError;
pub use extra::Extra;
pub use flags::Flags;
pub use image::{AnyDigest, ImageRecord};
pub use image_store::{ImageStore, Images, ImagesRead, ImagesWrite};
pub use layer::{IdMapping, LayerCompression, LayerFile, LayerRecord};
pub use layer_store::{LayerStore, Layers, LayersRead, LayersWrite};
pub use mount::MountRecord;
pub use mount_store::{MountStore, Mounts, MountsWrite};
pub use rescue::Rescued;
pub use time::RecordTime;

#[cfg(test)]
mod tests;
