//! One function per command; each under a screenful, since the work is a method of the library.

pub(crate) mod build_image;
pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod list;
pub(crate) mod mount;
pub(crate) mod progress;
pub(crate) mod pull;
pub(crate) mod remove;
pub(crate) mod send;
pub(crate) mod toc;
mod toc_json;
pub(crate) mod unshare;
