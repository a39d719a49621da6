//! Images from a registry that misbehaves in one way after the other.

mod auth;
mod documents;
mod image;
mod proxy;
mod ranges;
mod several;
mod uploads;
