//! Pieces to chunks: how far each requested range has come.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use bytes::{Buf, Bytes};
use storage_core::{Piece, Pieces};

use super::ApplyError;
use super::files::Files;
use crate::LayerBytes;
use crate::plan::ranges::Part;
use crate::spill::Spill;

/// Takes pieces until all ranges are complete.
pub(super) struct Work<'a, 't: 'a, 'd> {
    parts: &'a [Part],
    ranges: &'a [Range<u64>],
    /// Offset of the next byte to arrive, for each range.
    arrives: Vec<u64>,
    /// Ranges that have begun and are not at their end.
    lanes: BTreeMap<usize, Lane>,
    files: Files<'a, 't, 'd>,
    scratch: BorrowedFd<'d>,
}

/// How far one range was looked at.
#[derive(Debug, Default)]
struct Lane {
    /// Offset of the next byte to be looked at.
    at: u64,
    /// The part that this byte is in, or the next one after it.
    part: usize,
    /// Bytes of a small chunk that is not yet here in whole.
    gathered: Vec<u8>,
    /// What arrived while the lane waits for the stream decoder, which another
    /// one has: first the rest of a piece, then all that came later.
    waits: Option<Bytes>,
    later: Spill,
}

impl<'a, 't: 'a, 'd> Work<'a, 't, 'd> {
    pub(super) fn new(
        parts: &'a [Part],
        ranges: &'a [Range<u64>],
        files: Files<'a, 't, 'd>,
        scratch: BorrowedFd<'d>,
    ) -> Self {
        let arrives = ranges.iter().map(|range| range.start).collect();
        Self { parts, ranges, arrives, lanes: BTreeMap::new(), files, scratch }
    }

    pub(super) fn take_all(mut self, pieces: Pieces) -> Result<LayerBytes, ApplyError> {
        for piece in pieces {
            let piece = piece?;
            self.arrive(&piece)?;
            self.take(piece)?;
            self.wake()?;
        }
        for (&at, range) in self.arrives.iter().zip(self.ranges) {
            if at < range.end {
                return Err(ApplyError::Short { at });
            }
        }
        Ok(self.files.finish())
    }

    /// Checks that `piece` is the next one of its range.
    fn arrive(&mut self, piece: &Piece) -> Result<(), ApplyError> {
        let (length, actual) = (piece.bytes.len() as u64, piece.offset);
        let Some(range) = self.ranges.get(piece.range) else {
            return Err(ApplyError::Order { expected: 0, actual });
        };
        let next = &mut self.arrives[piece.range];
        if actual != *next || length > range.end - *next {
            return Err(ApplyError::Order { expected: *next, actual });
        }
        *next += length;
        self.files.fetched(length);
        Ok(())
    }

    fn take(&mut self, piece: Piece) -> Result<(), ApplyError> {
        let (parts, start) = (self.parts, self.ranges[piece.range].start);
        let mut lane = self.lanes.remove(&piece.range).unwrap_or_else(|| Lane {
            at: start,
            part: parts.partition_point(|part| part.start < start),
            ..Lane::default()
        });
        if lane.waits.is_some() {
            lane.later.push(piece.bytes, self.scratch)?;
        } else {
            self.advance(piece.range, &mut lane, piece.bytes)?;
        }
        self.keep(piece.range, lane);
        Ok(())
    }

    fn keep(&mut self, number: usize, lane: Lane) {
        if lane.at < self.ranges[number].end {
            self.lanes.insert(number, lane);
        }
    }

    /// Goes through `bytes`, which follow on what the lane has seen.
    fn advance(
        &mut self,
        number: usize,
        lane: &mut Lane,
        mut bytes: Bytes,
    ) -> Result<(), ApplyError> {
        while let Some(part) = self.parts.get(lane.part).filter(|_| !bytes.is_empty()) {
            if lane.at < part.start {
                let gap = shorter(part.start - lane.at, bytes.len());
                bytes.advance(gap);
                lane.at += gap as u64;
                continue;
            }
            if !self.files.is_free_for(part, number) {
                lane.waits = Some(bytes);
                return Ok(());
            }
            let inside = bytes.split_to(shorter(part.end - lane.at, bytes.len()));
            lane.at += inside.len() as u64;
            let last = lane.at == part.end;
            if Files::streams(self.files.chunk(part), part) {
                self.files.stream(part, number, &inside, last)?;
            } else if last && lane.gathered.is_empty() {
                self.files.write_whole(part, &inside)?;
            } else {
                lane.gathered.extend_from_slice(&inside);
                if last {
                    self.files.write_whole(part, &lane.gathered)?;
                    lane.gathered.clear();
                }
            }
            if last {
                lane.part += 1;
            }
        }
        // After the last part there is nothing but what nobody asked for.
        lane.at += bytes.len() as u64;
        Ok(())
    }

    /// Lets lanes go on that waited for the stream decoder, if it is free.
    fn wake(&mut self) -> Result<(), ApplyError> {
        while self.files.is_free() {
            let waiting = self.lanes.iter().find(|(_, lane)| lane.waits.is_some());
            let Some((&number, _)) = waiting else { break };
            let mut lane = self.lanes.remove(&number).expect("it was found just now");
            let mut next = lane.waits.take();
            while let Some(bytes) = next {
                self.advance(number, &mut lane, bytes)?;
                next = if lane.waits.is_some() { None } else { lane.later.pop()? };
            }
            self.keep(number, lane);
        }
        Ok(())
    }
}

fn shorter(distance: u64, length: usize) -> usize {
    usize::try_from(distance).map_or(length, |distance| distance.min(length))
}
