//! What a protocol wants back with the next attachment, as it is kept: in one piece, or in several.

use super::Reader;
use super::description::{SAVED, begin};
use crate::Damaged;

/// A piece. The protocol gets all of them that stand behind the last whole one, with it, in the order of their entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRecord {
    /// The queue of the session.
    pub queue: u64,
    /// What it is to the pieces before it.
    pub part: SavedPart,
    /// What only the protocol can read.
    pub bytes: Vec<u8>,
}

/// What a piece is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedPart {
    /// It stands for all of them.
    Whole,
    /// It comes behind them.
    More,
}

impl SavedRecord {
    /// Writes the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        SavedRecord::write_of(self.queue, self.part, &self.bytes, out);
    }

    /// The same of parts.
    pub fn write_of(queue: u64, part: SavedPart, bytes: &[u8], out: &mut Vec<u8>) {
        let mut writer = begin(SAVED, out);
        writer.number(queue);
        writer.byte(u8::from(part == SavedPart::Whole));
        writer.bytes(bytes);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<SavedRecord, Damaged> {
        let queue = reader.number()?;
        let part = if reader.truth()? { SavedPart::Whole } else { SavedPart::More };
        Ok(SavedRecord { queue, part, bytes: reader.bytes()?.to_vec() })
    }
}
