//! Takes space back: writes what lives in the oldest segment again and has the file go.
//!
//! Always the oldest one: what says that an entry is settled stands behind the entry, so it is there as long as the entry is. Whoever took
//! a later segment away first would bring settled entries back. A file goes when the disk has everything that was appended until
//! nothing lived in it any more: the copies, and what settled the others.
//!
//! The writer's thread does it between two writes, a piece at a time, so nobody who appends waits for it.

use super::disk::DiskFile;
use super::engine::Engine;
use super::frame::{self, Found, Kind, Scan, Seat};
use super::place::Position;
use super::state::{RETRY_MILLIS, State};
use super::writer::Writer;
use crate::{Change, Urgency};
use std::io;
use std::sync::Arc;

/// How much is read at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// Whether there is more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Now,
    Later,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    phase: Phase,
    retry_at: u64,
    /// An oldest segment of which something that lives cannot be read. Nothing is taken back until the store is opened again, which
    /// says what is damaged.
    stuck: Option<u64>,
    /// How many segments were copied one after the other without gaining anything.
    useless: usize,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// The oldest segment is copied.
    Copying(Copying),
    /// Nothing lives in the segments up to this one when the disk has everything up to a change.
    Waiting { through: u64, lsn: u64 },
}

#[derive(Debug)]
struct Copying {
    /// Where to go on.
    at: Position,
    ends_at: u64,
    piece_bytes: u64,
    file: Arc<dyn DiskFile>,
    /// What the copies take.
    copied_bytes: u64,
}

impl Reclaim {
    /// Does a piece of what there is to do.
    pub(super) fn step(&mut self, engine: &Engine, writer: &mut Writer, now: u64) -> More {
        if now < self.retry_at || engine.state.lock().progress().is_failing {
            return More::Later;
        }
        let stepped = match &mut self.phase {
            Phase::Idle => {
                self.phase = self.begin(engine);
                Ok(if matches!(self.phase, Phase::Idle) { More::Later } else { More::Now })
            }
            Phase::Copying(copying) => copying.step(engine).map(|is_done| {
                if is_done {
                    self.end_copying(engine);
                }
                More::Now
            }),
            Phase::Waiting { through, lsn } => {
                let (through, lsn) = (*through, *lsn);
                self.take_away(engine, writer, through, lsn)
            }
        };
        let mut state = engine.state.lock();
        state.is_reclaiming = !matches!(self.phase, Phase::Idle);
        stepped.unwrap_or_else(|_| {
            state.usage.errors += 1;
            self.retry_at = now + RETRY_MILLIS;
            More::Later
        })
    }

    fn begin(&mut self, engine: &Engine) -> Phase {
        let mut state = engine.state.lock();
        let live_bytes = state.index.segments.live_bytes();
        state.resting_until = state.resting_until.filter(|live| live_bytes > *live);
        let segments = &state.index.segments;
        if let Some(dead) = segments.dead().last() {
            return Phase::Waiting { through: dead.number, lsn: state.appended };
        }
        let may_copy = state.resting_until.is_none() && state.is_worth_copying();
        let oldest = segments.oldest().filter(|oldest| may_copy && self.stuck != Some(oldest.number));
        let Some(oldest) = oldest else { return Phase::Idle };
        let Some(file) = oldest.file.clone() else { return Phase::Idle };
        let at = Position { segment: oldest.number, offset: 0 };
        Phase::Copying(Copying {
            at,
            ends_at: oldest.filled,
            piece_bytes: PIECE_BYTES,
            file,
            copied_bytes: 0,
        })
    }

    fn end_copying(&mut self, engine: &Engine) {
        let Phase::Copying(copying) = std::mem::take(&mut self.phase) else { return };
        let mut state = engine.state.lock();
        let through = copying.at.segment;
        if state.index.segments.oldest().is_some_and(|oldest| oldest.live_entries > 0) {
            self.stuck = Some(through);
            state.usage.errors += 1;
            return;
        }
        self.note_gain(copying.ends_at.saturating_sub(copying.copied_bytes), &mut state);
        self.phase = Phase::Waiting { through, lsn: state.appended };
    }

    /// What is dead is an estimate. Where a whole round through the log has gained nothing, it was wrong, and the next round waits until
    /// more has died.
    fn note_gain(&mut self, gained_bytes: u64, state: &mut State) {
        let segments = &state.index.segments;
        let is_useless = gained_bytes < segments.segment_bytes() / 8;
        self.useless = if is_useless { self.useless + 1 } else { 0 };
        if self.useless > segments.len() {
            self.useless = 0;
            state.resting_until = Some(segments.live_bytes() / 8 * 7);
        }
    }

    /// Has the files go, the oldest first, each one for good before the next.
    fn take_away(
        &mut self,
        engine: &Engine,
        writer: &mut Writer,
        through: u64,
        lsn: u64,
    ) -> io::Result<More> {
        {
            let mut state = engine.state.lock();
            if !state.has_synced(lsn) {
                state.hurry(lsn);
                return Ok(More::Later);
            }
        }
        if !writer.remove_given_up() {
            return Err(io::ErrorKind::Other.into());
        }
        writer.sync_folder()?;
        let oldest = {
            let state = engine.state.lock();
            let oldest = state.index.segments.oldest().filter(|oldest| oldest.number <= through);
            oldest.map(|oldest| (oldest.number, oldest.bytes))
        };
        let Some((number, bytes)) = oldest else {
            self.phase = Phase::Idle;
            return Ok(More::Now);
        };
        // Nothing lives in it, so nobody begins to read from it any more.
        let file = engine.state.lock().index.segments.take_file(number);
        writer.dispose(number, bytes, file.as_ref())?;
        let mut state = engine.state.lock();
        state.index.segments.pop_oldest();
        state.spare_bytes = writer.spare_bytes();
        Ok(More::Now)
    }
}

impl Copying {
    /// Copies what lives in the next piece; whether that was the last one.
    fn step(&mut self, engine: &Engine) -> io::Result<bool> {
        let left = self.ends_at.saturating_sub(self.at.offset);
        let mut bytes = vec![0; usize::try_from(self.piece_bytes.min(left)).unwrap_or(usize::MAX)];
        self.file.read_at(self.at.offset, &mut bytes)?;
        let is_last = bytes.len() as u64 == left;
        let seat = Seat { key: engine.state.lock().key, segment: self.at.segment, offset: self.at.offset };
        let mut done = 0;
        for found in Scan::from(&bytes, seat) {
            match found {
                Found::Record { offset, kind, body } => {
                    done = (offset + frame::record_bytes(body.len())) as u64;
                    let at = Position { offset: seat.offset + offset as u64, ..self.at };
                    let body = bytes.get(body).unwrap_or_default();
                    if kind == Kind::Change {
                        self.copied_bytes += copy_record(engine, body, at);
                    }
                }
                // The end of the piece, most likely in the midst of a record.
                Found::Gap { range, claimed } if range.end == bytes.len() && !is_last => {
                    let needed = if range.start == 0 { 2 * self.piece_bytes } else { PIECE_BYTES };
                    self.piece_bytes = needed.max(claimed as u64);
                    break;
                }
                Found::Gap { range, .. } => done = range.end as u64,
            }
        }
        self.at.offset += done;
        Ok(is_last)
    }
}

/// Appends again what lives of a change; the answer is what that takes.
fn copy_record(engine: &Engine, body: &[u8], at: Position) -> u64 {
    let now = engine.clock.monotonic_millis();
    let mut living = Change::default();
    let mut state = engine.state.lock();
    state.index.copy_living(body, at, &mut living);
    if living.is_empty() {
        return 0;
    }
    let check = frame::body_check(living.as_bytes());
    state.append(living.as_bytes(), check, Urgency::Lazy, now);
    frame::record_bytes(living.as_bytes().len()) as u64
}
