//! A session as it is kept: its name in the body, and in the note what changes with every connection.

use super::description::{SESSION, begin};
use super::{Reader, Writer, identity};
use crate::Damaged;
use std::sync::Arc;
use std::time::Duration;
use tidegate_protocol::{Identity, SessionLimits, Settlement};

/// What a session is as long as it lives: the body of its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The protocol that it belongs to.
    pub protocol: Box<str>,
    /// Its name within the protocol.
    pub client_id: Box<str>,
    /// The number of its queue, which names it in other entries and is its queue's stream.
    pub queue: u64,
}

/// What changes about a session: the note of its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionNote {
    /// Whose it is: the client that is attached, or that was attached last.
    pub identity: Arc<Identity>,
    /// How long it outlives its connection.
    pub expiry: Duration,
    /// How many deliveries its consumer may have, or may have had, unsettled at a time.
    pub credit: u32,
    /// Which of them that consumer settles.
    pub settlement: Settlement,
    /// What bounds it.
    pub limits: SessionLimits,
    /// Whether it is told who has published what it gets.
    pub wants_publisher: bool,
    /// Whether a connection holds it.
    pub phase: SessionPhase,
}

/// Whether a connection holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPhase {
    /// One does.
    Attached,
    /// None does.
    Detached {
        /// When the session ends, in milliseconds of the store's time; nothing where it never does.
        ends_at_millis: Option<u64>,
        /// When its will is published; nothing where it has none, or never.
        will_at_millis: Option<u64>,
    },
}

impl SessionRecord {
    /// Writes the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        SessionRecord::write_of(&self.protocol, &self.client_id, self.queue, out);
    }

    /// The same of parts.
    pub fn write_of(protocol: &str, client_id: &str, queue: u64, out: &mut Vec<u8>) {
        let mut writer = begin(SESSION, out);
        writer.text(protocol);
        writer.text(client_id);
        writer.number(queue);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<SessionRecord, Damaged> {
        Ok(SessionRecord {
            protocol: reader.text()?.into(),
            client_id: reader.text()?.into(),
            queue: reader.number()?,
        })
    }
}

/// The layout in which all sessions have the usual limits.
const VERSION_1: u8 = 1;
/// The layout that ends with what bounds the session, and whether it wants to know who publishes.
const VERSION_2: u8 = 2;

const DISK: u8 = 1;
const WANTS_PUBLISHER: u8 = 2;

const AUTOMATIC: u8 = 0;
const ABOVE_AT_MOST_ONCE: u8 = 1;
const ALWAYS: u8 = 2;

impl SessionNote {
    /// Writes the note.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION_2);
        identity::write(&self.identity, &mut writer);
        writer.duration(self.expiry);
        writer.number(self.credit.into());
        writer.byte(match self.settlement {
            Settlement::Automatic => AUTOMATIC,
            Settlement::AboveAtMostOnce => ABOVE_AT_MOST_ONCE,
            Settlement::Always => ALWAYS,
        });
        match self.phase {
            SessionPhase::Attached => writer.byte(0),
            SessionPhase::Detached { ends_at_millis, will_at_millis } => {
                writer.byte(1);
                writer.optional(ends_at_millis);
                writer.optional(will_at_millis);
            }
        }
        let limits = if self.limits == SessionLimits::Disk { DISK } else { 0 };
        writer.byte(limits | if self.wants_publisher { WANTS_PUBLISHER } else { 0 });
    }

    /// Reads a note.
    pub fn read(note: &[u8]) -> Result<SessionNote, Damaged> {
        let mut reader = Reader::new(note);
        let version = reader.byte()?;
        if !matches!(version, VERSION_1 | VERSION_2) {
            return Err(Damaged);
        }
        let identity = Arc::new(identity::read(&mut reader)?);
        let expiry = reader.duration()?;
        let credit = u32::try_from(reader.number()?).map_err(|_| Damaged)?;
        let settlement = match reader.byte()? {
            AUTOMATIC => Settlement::Automatic,
            ABOVE_AT_MOST_ONCE => Settlement::AboveAtMostOnce,
            ALWAYS => Settlement::Always,
            _ => return Err(Damaged),
        };
        let phase = match reader.truth()? {
            false => SessionPhase::Attached,
            true => SessionPhase::Detached {
                ends_at_millis: reader.optional()?,
                will_at_millis: reader.optional()?,
            },
        };
        let flags = if version == VERSION_1 { 0 } else { reader.byte()? };
        if flags & !(DISK | WANTS_PUBLISHER) != 0 {
            return Err(Damaged);
        }
        let limits = if flags & DISK != 0 { SessionLimits::Disk } else { SessionLimits::Usual };
        let wants_publisher = flags & WANTS_PUBLISHER != 0;
        reader.finish()?;
        Ok(SessionNote { identity, expiry, credit, settlement, limits, wants_publisher, phase })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::Proof;

    /// A note of the first layout is one of the second without its last byte.
    #[test]
    fn a_note_without_limits_is_read_as_one_with_the_usual_ones() {
        let identity = Identity { user: None, client_id: None, listener: "l".into(), proof: Proof::Nothing };
        let note = SessionNote {
            identity: Arc::new(identity),
            expiry: Duration::MAX,
            credit: 9,
            settlement: Settlement::Always,
            limits: SessionLimits::Usual,
            wants_publisher: false,
            phase: SessionPhase::Detached { ends_at_millis: Some(7), will_at_millis: None },
        };
        let mut bytes = Vec::new();
        note.write(&mut bytes);
        bytes.pop();
        assert_eq!(SessionNote::read(&bytes), Err(Damaged));
        bytes[0] = VERSION_1;
        assert_eq!(SessionNote::read(&bytes), Ok(note));
    }
}
