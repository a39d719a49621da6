//! How fast a registry is, from what was seen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::Link;

/// Weight of a new observation against the older ones.
const WEIGHT: f64 = 0.3;
/// Streams shorter than this say little about the rate: they may be in a buffer already.
const LEAST: u64 = 256 * 1024;

/// Round trip and rate, averaged with more weight on what is recent.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    round_trip: Option<f64>,
    rate: Option<f64>,
    streams: u32,
}

impl Meter {
    /// An answer began this long after it was asked for.
    pub(super) fn answered(&self, after: Duration) {
        average(&mut self.seen().round_trip, after.as_secs_f64());
    }

    /// A stream begins; it reports to what this returns.
    pub(super) fn stream(&self) -> Stream<'_> {
        self.seen().streams += 1;
        Stream { meter: self, bytes: 0, time: Duration::ZERO }
    }

    /// What is known, or a guess of an ordinary line, for single ranges.
    pub(super) fn link(&self, parallel: usize) -> Link {
        let seen = self.seen();
        Link {
            round_trip: Duration::from_secs_f64(seen.round_trip.unwrap_or(0.05)),
            bytes_per_second: seen.rate.unwrap_or(10e6),
            parallel,
            ranges_per_request: 1,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn average(value: &mut Option<f64>, new: f64) {
    *value = Some(value.map_or(new, |old| old + WEIGHT * (new - old)));
}

/// One body on its way.
#[derive(Debug)]
pub(super) struct Stream<'m> {
    meter: &'m Meter,
    bytes: u64,
    time: Duration,
}

impl Stream<'_> {
    /// Bytes came this long after those before them.
    ///
    /// Time in which the reader was busy is part of it: what came meanwhile waits in
    /// buffers and would seem to come at once.
    pub(super) fn received(&mut self, bytes: u64, after: Duration) {
        self.bytes += bytes;
        self.time += after;
        if self.bytes >= 16 * LEAST {
            self.report();
        }
    }

    /// All streams under way are taken to be as fast as this one.
    fn report(&mut self) {
        if self.bytes >= LEAST {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let rate = self.bytes as f64 / self.time.as_secs_f64().max(1e-6);
            let mut seen = self.meter.seen();
            let rate = rate * f64::from(seen.streams);
            average(&mut seen.rate, rate);
        }
        (self.bytes, self.time) = (0, Duration::ZERO);
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.report();
        self.meter.seen().streams -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_replaces_the_guess_and_is_averaged() {
        let meter = Meter::default();
        assert_eq!(meter.link(4).round_trip, Duration::from_millis(50));
        meter.answered(Duration::from_secs(1));
        assert_eq!(meter.link(4).round_trip, Duration::from_secs(1));
        meter.answered(Duration::from_secs(2));
        let round_trip = meter.link(4).round_trip.as_secs_f64();
        assert!((round_trip - 1.3).abs() < 1e-9, "{round_trip}");
    }

    #[test]
    fn streams_side_by_side_add_up_and_short_ones_do_not_count() {
        let meter = Meter::default();
        let mut first = meter.stream();
        let mut second = meter.stream();
        first.received(400_000, Duration::from_secs(1));
        second.received(10, Duration::from_secs(9));
        drop(first);
        drop(second);
        let rate = meter.link(4).bytes_per_second;
        assert!((rate - 800_000.0).abs() < 1.0, "{rate}");
    }
}
