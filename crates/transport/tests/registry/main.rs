//! Images from a registry that misbehaves in one way after the other.

mod auth;
mod documents;
mod image;
mod proxy;
mod ranges;
mod server;
mod several;
mod uploads;
