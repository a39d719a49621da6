//! Pieces to chunks: how far each requested range has come.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use bytes::{Buf, Bytes};
use storage_core::{Piece, Pieces, RangeSource};

use super::ApplyError;
use super::contents::{Contents, is_streamed};
use crate::making::Making;
use crate::plan::Missing;
use crate::plan::ranges::{Part, next_round};
use crate::spill::Spill;
use crate::{Choice, Chunk};

/// Bytes that are taken from the line before their turn.
const EARLY: usize = 4 << 20;

/// Missing chunks that are asked for, in rounds.
pub(crate) struct Arrivals<'d> {
    blob: &'d dyn RangeSource,
    missing: Missing,
    /// Of all rounds so far.
    ranges: Vec<Range<u64>>,
    /// Why they are these.
    choice: Choice,
    /// How many of the missing parts they are for.
    asked: usize,
    /// What comes for the ranges of the last round, the first of which has this number.
    pieces: Pieces,
    round: usize,
    early: Early,
    /// Offset of the next byte to arrive, for each range.
    arrives: Vec<u64>,
    /// Ranges that have begun and are not at their end.
    lanes: BTreeMap<usize, Lane>,
    contents: Contents,
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

/// Pieces that came before their turn, in the order of the blob.
#[derive(Debug, Default)]
struct Early {
    /// By range and offset: where ranges touch, an empty piece at the end of one begins where
    /// the next one does.
    pieces: BTreeMap<(usize, u64), Piece>,
    bytes: usize,
}

impl Early {
    fn push(&mut self, piece: Piece) {
        self.bytes += piece.bytes.len();
        self.pieces.insert((piece.range, piece.offset), piece);
    }

    /// The first piece, if it is one of these.
    fn pop_if(&mut self, is_wanted: impl FnOnce(&Piece) -> bool) -> Option<Piece> {
        let first = self.pieces.first_entry().filter(|first| is_wanted(first.get()))?;
        let piece = first.remove();
        self.bytes -= piece.bytes.len();
        Some(piece)
    }
}

impl<'d> Arrivals<'d> {
    /// Asks `blob` for what is `missing`.
    pub(crate) fn ask(
        blob: &'d dyn RangeSource,
        missing: Missing,
        scratch: BorrowedFd<'d>,
    ) -> Self {
        let mut arrivals = Self {
            blob,
            missing,
            ranges: Vec::new(),
            choice: Choice::Exact { ranges: 0, requests: 0 },
            asked: 0,
            pieces: Pieces::new(std::iter::empty()),
            round: 0,
            early: Early::default(),
            arrives: Vec::new(),
            lanes: BTreeMap::new(),
            contents: Contents::default(),
            scratch,
        };
        arrivals.ask_more();
        arrivals
    }

    /// Asks the same blob for what else turned out to be missing.
    pub(crate) fn ask_for(&self, missing: Missing) -> Self {
        Self::ask(self.blob, missing, self.scratch)
    }

    /// Why these ranges were asked for and no others.
    pub(crate) fn choice(&self) -> Choice {
        self.choice
    }

    /// Asks for more when all has come that was asked for, by what is known of the line now;
    /// tells whether there was more.
    fn ask_more(&mut self) -> bool {
        let parts = &self.missing.parts[self.asked..];
        if parts.is_empty() {
            return false;
        }
        let round = next_round(self.blob, parts);
        self.asked += round.parts;
        self.choice = self.choice.and(round.ranges.choice);
        self.round = self.ranges.len();
        self.arrives.extend(round.ranges.ranges.iter().map(|range| range.start));
        self.ranges.extend_from_slice(&round.ranges.ranges);
        self.pieces = self.blob.fetch(round.ranges.ranges);
        true
    }

    /// Takes what is here already of files up to number `file`; does not wait.
    ///
    /// What is for later files is left alone, so that files are made about in the
    /// order of the tar, which the prover goes by.
    pub(crate) fn take_due(
        &mut self,
        file: u32,
        making: &mut Making<'_, '_>,
    ) -> Result<(), ApplyError> {
        self.collect(making)?;
        while let Some(piece) = self.early.pop_if(|piece| first_file(&self.missing, piece) <= file)
        {
            self.arrived(piece, making)?;
            self.collect(making)?;
        }
        Ok(())
    }

    /// Waits for all that is left.
    pub(crate) fn take_all(&mut self, making: &mut Making<'_, '_>) -> Result<(), ApplyError> {
        while let Some(piece) = self.next(making)? {
            self.arrived(piece, making)?;
        }
        for (&at, range) in self.arrives.iter().zip(&self.ranges) {
            if at < range.end {
                return Err(ApplyError::Short { at });
            }
        }
        Ok(())
    }

    /// The first of the pieces that are here, or else the next one to come.
    fn next(&mut self, making: &mut Making<'_, '_>) -> Result<Option<Piece>, ApplyError> {
        self.collect(making)?;
        match self.early.pop_if(|_| true) {
            Some(piece) => Ok(Some(piece)),
            None => self.receive(making),
        }
    }

    /// Takes what has come from the line, as far as there is room.
    fn collect(&mut self, making: &mut Making<'_, '_>) -> Result<(), ApplyError> {
        while self.early.bytes < EARLY && self.pieces.is_ready() {
            match self.pieces.next() {
                Some(piece) => {
                    let piece = self.count(piece?, making)?;
                    self.early.push(piece);
                }
                None if self.ask_more() => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Waits for the next piece, of whichever range.
    fn receive(&mut self, making: &mut Making<'_, '_>) -> Result<Option<Piece>, ApplyError> {
        loop {
            match self.pieces.next() {
                Some(piece) => return Ok(Some(self.count(piece?, making)?)),
                None if self.ask_more() => {}
                None => return Ok(None),
            }
        }
    }

    fn arrived(&mut self, piece: Piece, making: &mut Making<'_, '_>) -> Result<(), ApplyError> {
        self.take(piece, making)?;
        self.wake(making)
    }

    /// Checks that `piece` is the next one of its range, which it gets the number of.
    fn count(
        &mut self,
        mut piece: Piece,
        making: &mut Making<'_, '_>,
    ) -> Result<Piece, ApplyError> {
        let (length, actual) = (piece.bytes.len() as u64, piece.offset);
        piece.range += self.round;
        let Some(range) = self.ranges.get(piece.range) else {
            return Err(ApplyError::Order { expected: 0, actual });
        };
        let next = &mut self.arrives[piece.range];
        if actual != *next || length > range.end - *next {
            return Err(ApplyError::Order { expected: *next, actual });
        }
        *next += length;
        making.report.fetched += length;
        Ok(piece)
    }

    fn take(&mut self, piece: Piece, making: &mut Making<'_, '_>) -> Result<(), ApplyError> {
        let start = self.ranges[piece.range].start;
        let mut lane = self.lanes.remove(&piece.range).unwrap_or_else(|| Lane {
            at: start,
            part: self.missing.parts.partition_point(|part| part.start < start),
            ..Lane::default()
        });
        if lane.waits.is_some() {
            lane.later.push(piece.bytes, self.scratch)?;
        } else {
            self.advance(piece.range, &mut lane, piece.bytes, making)?;
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
        making: &mut Making<'_, '_>,
    ) -> Result<(), ApplyError> {
        while let Some(part) = self.missing.parts.get(lane.part).filter(|_| !bytes.is_empty()) {
            if lane.at < part.start {
                let gap = shorter(part.start - lane.at, bytes.len());
                bytes.advance(gap);
                lane.at += gap as u64;
                continue;
            }
            let chunk = chunk_of(part, making);
            if !self.contents.is_free_for(chunk, part, number) {
                lane.waits = Some(bytes);
                return Ok(());
            }
            let inside = bytes.split_to(shorter(part.end - lane.at, bytes.len()));
            lane.at += inside.len() as u64;
            let last = lane.at == part.end;
            let missing = &self.missing;
            if is_streamed(chunk, part) {
                self.contents.stream(lane.part, missing, (number, &inside, last), making)?;
            } else if last && lane.gathered.is_empty() {
                self.contents.write_whole(lane.part, missing, &inside, making)?;
            } else {
                lane.gathered.extend_from_slice(&inside);
                if last {
                    self.contents.write_whole(lane.part, missing, &lane.gathered, making)?;
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
    fn wake(&mut self, making: &mut Making<'_, '_>) -> Result<(), ApplyError> {
        while self.contents.is_free() {
            let waiting = self.lanes.iter().find(|(_, lane)| lane.waits.is_some());
            let Some((&number, _)) = waiting else { break };
            let mut lane = self.lanes.remove(&number).expect("it was found just now");
            let mut next = lane.waits.take();
            while let Some(bytes) = next {
                self.advance(number, &mut lane, bytes, making)?;
                next = if lane.waits.is_some() { None } else { lane.later.pop()? };
            }
            self.keep(number, lane);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Arrivals<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrivals").field("arrives", &self.arrives).finish_non_exhaustive()
    }
}

/// The first file that has bytes in the piece, or else the next one.
fn first_file(missing: &Missing, piece: &Piece) -> u32 {
    let first = missing.parts.partition_point(|part| part.end <= piece.offset);
    missing.parts.get(first).map_or(0, |part| part.file)
}

fn chunk_of(part: &Part, making: &Making<'_, '_>) -> Chunk {
    making.toc.file_number(part.file).chunk(part.chunk)
}

fn shorter(distance: u64, length: usize) -> usize {
    usize::try_from(distance).map_or(length, |distance| distance.min(length))
}
