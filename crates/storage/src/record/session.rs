//! A session as it is kept: its name in the body, and in the note what changes with every connection.

use super::description::{SESSION, begin};
use super::{Reader, Writer, identity};
use crate::Damaged;
use std::sync::Arc;
use std::time::Duration;
use tidegate_protocol::{Identity, Settlement};

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

const VERSION: u8 = 1;

const AUTOMATIC: u8 = 0;
const ABOVE_AT_MOST_ONCE: u8 = 1;
const ALWAYS: u8 = 2;

impl SessionNote {
    /// Writes the note.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
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
    }

    /// Reads a note.
    pub fn read(note: &[u8]) -> Result<SessionNote, Damaged> {
        let mut reader = Reader::new(note);
        if reader.byte()? != VERSION {
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
        reader.finish()?;
        Ok(SessionNote { identity, expiry, credit, settlement, phase })
    }
}
