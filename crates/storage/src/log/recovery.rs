//! Reads the log when it is opened, and says what is wrong with it.

use super::chain::{self, FoundFile, Link};
use super::damage::{Damage, DamageKind, OpenError, OpenReport, TornTail};
use super::disk::{Access, Disk, DiskFile};
use super::frame::{Found, Kind, Mark, Moment, START_BYTES, Scan, Start};
use super::index::Index;
use super::names;
use super::place::Position;
use super::segments::{Segment, Segments};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What the log is after it was read.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) key: u64,
    pub(super) last: Moment,
    pub(super) report: OpenReport,
    /// The end of the newest segment.
    pub(super) tail: Option<Tail>,
    /// Files that are no part of the log.
    pub(super) given_up: Vec<u64>,
    pub(super) segments: Vec<SegmentReport>,
}

/// The end of the newest segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where what stands that is not known to be on the disk.
    pub(super) at: Position,
    /// What that is.
    pub(super) bytes: Vec<u8>,
    /// Up to where sound records of this segment stand that were cut off.
    pub(super) torn_to: u64,
}

/// What one file of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub file: String,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Up to where it is filled.
    pub filled: u64,
    /// Records in it.
    pub records: u64,
}

/// How the log is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The folder, for messages.
    pub(super) folder: &'a Path,
    pub(super) access: Access,
    /// Whether what is damaged is left out, instead of being an error.
    pub(super) skip_damaged: bool,
    pub(super) segment_bytes: u64,
    /// The key, as the format file says.
    pub(super) key: u64,
}

impl Reading<'_> {
    pub(super) fn error(&self, name: &str) -> impl Fn(io::Error) -> OpenError {
        let path = self.folder.join(name);
        move |source| OpenError::Disk { path: path.clone(), source }
    }
}

struct Recovery<'a> {
    reading: Reading<'a>,
    disk: &'a dyn Disk,
    done: Recovered,
}

/// Reads all segments.
pub(super) fn recover(disk: &dyn Disk, reading: Reading<'_>) -> Result<Recovered, OpenError> {
    let mut files = find_files(disk, reading)?;
    let done = Recovered {
        index: Index::new(Segments::new(reading.segment_bytes)),
        key: reading.key,
        last: Moment::default(),
        report: OpenReport::default(),
        tail: None,
        given_up: Vec::new(),
        segments: Vec::new(),
    };
    let mut recovery = Recovery { reading, disk, done };
    recovery.drop_unborn(&mut files)?;
    let chain = chain::chain(&files);
    recovery.done.given_up.extend(chain.given_up);
    for number in chain.missing {
        recovery.damage(number, 0, 0, DamageKind::Missing)?;
    }
    for link in &chain.links {
        recovery.read_segment(*link)?;
    }
    recovery.done.given_up.iter().for_each(|number| recovery.done.index.segments.skip_numbers(*number));
    recovery.done.report.segments = chain.links.len();
    Ok(recovery.done)
}

fn find_files(disk: &dyn Disk, reading: Reading<'_>) -> Result<Vec<FoundFile>, OpenError> {
    let names = disk.list().map_err(reading.error(""))?;
    let mut files = Vec::new();
    for name in &names {
        let Some(number) = names::number(name) else { continue };
        let error = reading.error(name);
        let file = disk.open(name, reading.access).map_err(&error)?;
        let bytes = file.bytes().map_err(&error)?;
        let start = match bytes < START_BYTES as u64 {
            true => None,
            false => Start::read(&read(&*file, START_BYTES as u64).map_err(&error)?, number),
        };
        let start = start.filter(|start| start.key == reading.key);
        files.push(FoundFile { number, start, bytes });
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

fn read(file: &dyn DiskFile, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Up to where a segment says that it was synced.
fn synced_in(bytes: &[u8], key: u64, number: u64) -> u64 {
    let marks = Scan::new(bytes, key, number).filter_map(|found| match found {
        Found::Record { kind: Kind::Mark, body, .. } => Mark::read(bytes.get(body)?),
        _ => None,
    });
    marks.map(|mark| mark.synced).max().unwrap_or(0)
}

impl Recovery<'_> {
    fn damage(&mut self, number: u64, offset: u64, bytes: u64, kind: DamageKind) -> Result<(), OpenError> {
        let damage = Damage { file: names::segment(number), offset, bytes, kind };
        if !self.reading.skip_damaged {
            return Err(OpenError::Damaged(damage));
        }
        self.done.report.add_damage(damage);
        Ok(())
    }

    fn load(&self, number: u64, end: Option<u64>) -> Result<(Arc<dyn DiskFile>, Vec<u8>), OpenError> {
        let name = names::segment(number);
        let error = self.reading.error(&name);
        let file = self.disk.open(&name, self.reading.access).map_err(&error)?;
        let length = file.bytes().map_err(&error)?;
        let bytes = read(&*file, end.unwrap_or(length).min(length)).map_err(&error)?;
        Ok((file, bytes))
    }

    /// Leaves out files at the end that were being made when the machine went down: their start was never synced, so nothing in them was.
    fn drop_unborn(&mut self, files: &mut Vec<FoundFile>) -> Result<(), OpenError> {
        while let Some(last) = files.last().filter(|file| file.start.is_none()) {
            let (_, bytes) = self.load(last.number, None)?;
            if synced_in(&bytes, self.done.key, last.number) > 0 {
                return Ok(());
            }
            self.done.given_up.push(last.number);
            files.pop();
        }
        Ok(())
    }

    fn read_segment(&mut self, link: Link) -> Result<(), OpenError> {
        let (file, bytes) = self.load(link.number, link.end)?;
        let synced = match link.end {
            Some(end) => end,
            None => synced_in(&bytes, self.done.key, link.number),
        };
        self.done.index.segments.push(Segment {
            number: link.number,
            file: Some(file),
            bytes: link.bytes,
            filled: 0,
            synced: 0,
            previous: link.previous,
            live_entries: 0,
            live_bytes: 0,
        });
        let records_before = self.done.report.records;
        let (filled, torn_to) = self.read_records(link.number, &bytes, synced)?;
        if let Some(missing) = link.end.and_then(|end| end.checked_sub(bytes.len() as u64)).filter(|b| *b > 0)
        {
            self.damage(link.number, bytes.len() as u64, missing, DamageKind::Missing)?;
        }
        if let Some(segment) = self.done.index.segments.get_mut(link.number) {
            (segment.filled, segment.synced) = (filled, filled);
        }
        let synced = synced.min(filled);
        let range =
            usize::try_from(synced).unwrap_or(usize::MAX)..usize::try_from(filled).unwrap_or(usize::MAX);
        let tail = bytes.get(range).unwrap_or_default().to_vec();
        let at = Position { segment: link.number, offset: synced };
        self.done.tail = Some(Tail { at, bytes: tail, torn_to });
        let records = self.done.report.records - records_before;
        let file = names::segment(link.number);
        self.done.segments.push(SegmentReport { file, bytes: link.bytes, filled, records });
        self.done.report.bytes += filled;
        Ok(())
    }

    /// Applies the records of a segment of which everything up to `synced` is known to have been on the disk; the answer is where it ends,
    /// and up to where sound records stand behind that.
    fn read_records(&mut self, number: u64, bytes: &[u8], synced: u64) -> Result<(u64, u64), OpenError> {
        let mut filled = 0;
        for found in Scan::new(bytes, self.done.key, number) {
            match found {
                Found::Record { offset, kind, body } => {
                    filled = body.end.next_multiple_of(super::frame::ALIGNMENT) as u64;
                    self.done.report.records += 1;
                    let body = bytes.get(body).unwrap_or_default();
                    if !self.apply(kind, body, Position { segment: number, offset: offset as u64 }) {
                        self.damage(number, offset as u64, filled - offset as u64, DamageKind::Unknown)?;
                    }
                }
                Found::Gap { range, .. } if (range.start as u64) < synced => {
                    let is_last = range.end == bytes.len();
                    filled = if is_last { synced.min(range.end as u64) } else { range.end as u64 };
                    let (offset, lost) = (range.start as u64, filled - range.start as u64);
                    self.damage(number, offset, lost, DamageKind::Changed)?;
                }
                Found::Gap { range, claimed } => {
                    return Ok((filled, self.cut_off(number, bytes, range.start, claimed)));
                }
            }
        }
        Ok((filled, filled))
    }

    /// Does what a record says; false where this version does not know what that is.
    fn apply(&mut self, kind: Kind, body: &[u8], at: Position) -> bool {
        let moment = match kind {
            Kind::Change => return self.done.index.apply(body, at),
            Kind::Mark => Mark::read(body).map(|mark| mark.moment),
            Kind::Start => Start::parse(body).filter(|_| at.offset == 0).map(|start| start.moment),
        };
        // The marks are in the order in which time passed.
        self.done.last = moment.unwrap_or(self.done.last);
        moment.is_some()
    }

    /// Says what was cut off, where something of this segment stood there; the answer is where the last sound record of it ends.
    fn cut_off(&mut self, number: u64, bytes: &[u8], from: usize, claimed: usize) -> u64 {
        let behind = Scan::new(bytes, self.done.key, number).filter_map(|found| match found {
            Found::Record { body, .. } if body.start > from => Some(body.end),
            _ => None,
        });
        let sound_to = behind.last().unwrap_or(from);
        let ends_at = sound_to.max(from.saturating_add(claimed).min(bytes.len()));
        if ends_at > from {
            let (file, bytes) = (names::segment(number), (ends_at - from) as u64);
            self.done.report.torn_tail = Some(TornTail { file, offset: from as u64, bytes });
        }
        sound_to as u64
    }
}
