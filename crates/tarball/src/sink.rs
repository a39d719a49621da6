//! Whoever wants to hear of every part.

use std::io;

use crate::Part;

/// Hears of every part of a stream, in order.
pub trait Sink {
    /// Takes the next part.
    ///
    /// # Errors
    ///
    /// What the sink's output says.
    fn part(&mut self, part: &Part<'_>) -> io::Result<()>;
}

/// Nobody listens.
impl Sink for () {
    fn part(&mut self, _: &Part<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn part(&mut self, part: &Part<'_>) -> io::Result<()> {
        (**self).part(part)
    }
}
