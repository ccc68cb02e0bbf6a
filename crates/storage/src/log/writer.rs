//! The one who writes: takes what was appended, puts it into files, and makes the disk keep it.
//!
//! Everything that waits when it begins goes in one write and one sync, whoever appended it. A segment is on the disk as a whole before
//! anything is written into the next one, so that what cannot be read in any but the last one is damage and no torn tail.

use super::disk::{Access, Disk, DiskFile};
use super::engine::Engine;
use super::frame::START_BYTES;
use super::names;
use super::place::Position;
use super::state::{RETRY_MILLIS, Work};
use crate::NoRoom;
use std::io;
use std::sync::Arc;

/// What only the writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    file: Option<Open>,
    /// The next segment, made ready so that a full file system is met before anything relies on it.
    spare: Option<Arc<dyn DiskFile>>,
    spare_bytes: u64,
    /// Why there is none, and when that is tried again.
    no_spare: Option<(NoRoom, u64)>,
    /// Segments that are no part of the log, and whose files may still be there.
    pub(super) given_up: Vec<u64>,
    is_folder_dirty: bool,
}

/// The file that is written to.
#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    /// Up to where it is written.
    end: Position,
    /// The last change in it.
    lsn: u64,
    is_dirty: bool,
}

impl Writer {
    pub(super) fn new(disk: Arc<dyn Disk>, spare_bytes: u64) -> Writer {
        Writer {
            disk,
            file: None,
            spare: None,
            spare_bytes,
            no_spare: None,
            given_up: Vec::new(),
            is_folder_dirty: false,
        }
    }

    /// Takes over the spare that an earlier process has left, if it is as it should be.
    pub(super) fn adopt_spare(&mut self) {
        let spare = self.disk.open(names::SPARE, Access::Write);
        let is_whole = |file: &Arc<dyn DiskFile>| file.bytes().is_ok_and(|bytes| bytes == self.spare_bytes);
        self.spare = spare.ok().filter(is_whole);
    }

    /// Goes on in a file that an earlier process has written, behind what stands there.
    pub(super) fn go_on(&mut self, file: Arc<dyn DiskFile>, end: Position) {
        self.file = Some(Open { file, end, lsn: 0, is_dirty: false });
    }

    /// Has the file of the next segment ready.
    pub(super) fn prepare_spare(&mut self) -> io::Result<()> {
        if self.spare.is_some() {
            return Ok(());
        }
        match self.disk.create(names::SPARE, self.spare_bytes) {
            Ok(spare) => {
                self.spare = Some(spare);
                Ok(())
            }
            Err(error) => {
                // A file without all of its space would be in the way of what is to be freed.
                self.disk.remove(names::SPARE).ok();
                Err(error)
            }
        }
    }

    /// Asks the disk to keep something in the next segment, whose content means nothing.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        self.prepare_spare()?;
        // Under its old name the file may hold a segment that is read after a crash.
        self.disk.sync_folder()?;
        let Some(spare) = &self.spare else { return Ok(()) };
        spare.write_at(0, &[0; START_BYTES])?;
        spare.sync()
    }

    /// What the spare takes.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.spare.as_ref().map_or(0, |_| self.spare_bytes)
    }

    /// Writes what was taken, and syncs it where that is wanted.
    pub(super) fn write(&mut self, engine: &Engine, work: &Work) -> io::Result<()> {
        for run in &work.runs {
            if self.file.as_ref().is_none_or(|open| open.end.segment != run.segment) {
                self.sync(engine)?;
                self.begin_segment(engine, run.segment, run.bytes.get(..START_BYTES).unwrap_or_default())?;
            }
            let Some(open) = &mut self.file else { continue };
            let skipped = if run.offset == 0 { START_BYTES } else { 0 };
            let bytes = run.bytes.get(skipped..).unwrap_or_default();
            open.file.write_at(run.offset + skipped as u64, bytes)?;
            open.end.offset = run.offset + run.bytes.len() as u64;
            (open.lsn, open.is_dirty) = (run.lsn, true);
            engine.state.lock().usage.written_bytes += run.bytes.len() as u64;
        }
        if engine.state.lock().set_written(work.lsn) {
            engine.ring();
        }
        if work.sync { self.sync(engine) } else { Ok(()) }
    }

    fn sync(&mut self, engine: &Engine) -> io::Result<()> {
        let Some(open) = self.file.as_mut().filter(|open| open.is_dirty) else { return Ok(()) };
        open.file.sync()?;
        open.is_dirty = false;
        engine.state.lock().set_synced(open.lsn, open.end, engine.clock.monotonic_millis());
        Ok(())
    }

    /// Makes the file of a segment, whose first record is on the disk before anything follows.
    fn begin_segment(&mut self, engine: &Engine, number: u64, start: &[u8]) -> io::Result<()> {
        self.file = None;
        let bytes = engine.state.lock().index.segments.get(number).map_or(0, |segment| segment.bytes);
        let name = names::segment(number);
        let file = match self.spare.take().filter(|_| bytes == self.spare_bytes) {
            Some(spare) => {
                self.disk.rename(names::SPARE, &name)?;
                spare
            }
            None => self.disk.create(&name, bytes)?,
        };
        // Under its old name the file may hold a segment that is read after a crash: it is not touched before it has lost that for good.
        self.disk.sync_folder()?;
        file.write_at(0, start)?;
        file.sync()?;
        let end = Position { segment: number, offset: START_BYTES as u64 };
        let mut state = engine.state.lock();
        state.usage.syncs += 1;
        state.spare_bytes = self.spare_bytes();
        if let Some(segment) = state.index.segments.get_mut(number) {
            segment.file = Some(file.clone());
            segment.synced = end.offset;
        }
        self.file = Some(Open { file, end, lsn: 0, is_dirty: false });
        Ok(())
    }

    /// Nothing of the file that was written to is believed any more.
    pub(super) fn give_up(&mut self) {
        self.file = None;
    }

    /// Removes the segments that were given up; whether none is left. While one is, the segments around it have to stay: they say that it
    /// is no part of the log.
    pub(super) fn remove_given_up(&mut self) -> bool {
        let disk = self.disk.clone();
        self.is_folder_dirty |= !self.given_up.is_empty();
        self.given_up.retain(|number| match disk.remove(&names::segment(*number)) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
        self.given_up.is_empty()
    }

    /// Has the names on the disk as they are.
    pub(super) fn sync_folder(&mut self) -> io::Result<()> {
        if self.is_folder_dirty {
            self.disk.sync_folder()?;
            self.is_folder_dirty = false;
        }
        Ok(())
    }

    /// Takes a file away that is no part of the log any more, or makes it the spare where there is none and nobody reads from it.
    pub(super) fn dispose(
        &mut self,
        number: u64,
        bytes: u64,
        file: Option<&Arc<dyn DiskFile>>,
    ) -> io::Result<()> {
        let name = names::segment(number);
        let unread = file.filter(|file| Arc::strong_count(file) == 1 && bytes == self.spare_bytes);
        self.is_folder_dirty = true;
        match unread.filter(|_| self.spare.is_none()) {
            Some(file) => {
                self.disk.rename(&name, names::SPARE)?;
                self.spare = Some(file.clone());
                Ok(())
            }
            None => match self.disk.remove(&name) {
                Ok(()) => {
                    // There is space again.
                    self.no_spare = None;
                    Ok(())
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Sees to it that there is a next segment.
    pub(super) fn make_spare(&mut self, engine: &Engine, now: u64) {
        let segment_bytes = engine.state.lock().index.segments.segment_bytes();
        if segment_bytes != self.spare_bytes {
            // The limit is another one by now.
            (self.spare_bytes, self.spare) = (segment_bytes, None);
        }
        if self.spare.is_some() {
            engine.state.lock().note_spare(None);
            return;
        }
        if let Some((no_room, retry_at)) = self.no_spare
            && now < retry_at
        {
            engine.state.lock().no_spare = Some(no_room);
            return;
        }
        let prepared = self.prepare_spare();
        self.no_spare = prepared.as_ref().err().map(|error| (no_room(error), now + RETRY_MILLIS));
        let mut state = engine.state.lock();
        state.note_spare(prepared.as_ref().err());
        state.spare_bytes = self.spare_bytes();
    }
}

/// What an error of the disk means for whoever wants to keep more.
pub(super) fn no_room(error: &io::Error) -> NoRoom {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NoRoom::Full,
        _ => NoRoom::Failing,
    }
}
