//! Writing zstd:chunked blobs.

mod blob;
mod chunker;
mod error;
mod frame;
mod frames;
mod holes;
mod metadata;
mod options;
mod output;
mod pool;
mod rollsum;
#[cfg(test)]
mod tests;
mod toc;
mod trailer;

pub use blob::{WrittenBlob, write_blob};
pub use error::WriteError;
pub use options::WriteOptions;
