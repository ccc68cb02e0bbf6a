//! What a message becomes before an upstream sees it: its id, its path, its envelope; and whether it may leave at all.
//!
//! Functions of the message and of the configuration, so that a message that is only rehearsed becomes what one does that is sent.

use crate::bridge::BridgeOptions;
use crate::facts::millis;
use crate::link::Delivered;
use crate::upstream::Outgoing;
use crate::{
    Envelope, Facts, ID_PROPERTY, LoopGuard, NameError, PATH_PROPERTY, Path, PathError, SealError, StreamName,
};
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// How the messages of one forward are packed.
#[derive(Debug, Clone)]
pub(crate) struct Packing {
    pub(crate) lane: usize,
    pub(crate) bridge: Arc<str>,
    guard: LoopGuard,
    stream: StreamName,
    envelope: Envelope,
    /// The path of what nobody has forwarded yet, which is nearly everything.
    first_hop: Arc<str>,
}

/// The digits of the largest number.
const NUMBER_BYTES_MAX: usize = 20;

/// Why a message does not leave: a word, and words.
pub(crate) type HeldBack = (&'static str, String);

impl Packing {
    /// Those of all forwards of a bridge, in the order of the configuration.
    pub(crate) fn all(options: &BridgeOptions) -> Result<Vec<Packing>, NameError> {
        let guard = LoopGuard::new(&options.node, options.hops_max)?;
        let packing = |(lane, forward): (usize, &crate::ForwardOptions)| {
            Ok(Packing {
                lane,
                bridge: options.name.clone(),
                first_hop: guard.outgoing(Path::default()).into(),
                guard: guard.clone(),
                stream: StreamName::new(&options.node, options.epoch, &forward.name)?,
                envelope: forward.envelope.clone(),
            })
        };
        options.forwards.iter().enumerate().map(packing).collect()
    }

    /// Whether it may be forwarded, or would go in a circle.
    pub(crate) fn may_leave(&self, delivered: &Delivered) -> Result<(), HeldBack> {
        let path = path_of(delivered).map_err(|error| ("bad_path", error.to_string()))?;
        let may = self.guard.may_forward(path, &self.bridge);
        may.map_err(|turned| (turned.label(), turned.to_string()))
    }

    /// Its stable id.
    pub(crate) fn id(&self, delivered: &Delivered) -> String {
        let mut text = String::with_capacity(self.stream.as_str().len() + 1 + NUMBER_BYTES_MAX);
        // A string takes everything.
        let _ = write!(text, "{}", self.stream.id(delivered.tag.0));
        text
    }

    fn path(&self, path: Path<'_>) -> Arc<str> {
        match path.hops() {
            0 => self.first_hop.clone(),
            _ => self.guard.outgoing(path).into(),
        }
    }

    /// The message as the upstream is handed it now, without a ticket.
    pub(crate) fn outgoing(
        &self,
        delivered: &Delivered,
        is_repeated: bool,
        now: Instant,
    ) -> Result<Outgoing, SealError> {
        let path = path_of(delivered).unwrap_or_default();
        let mut properties = delivered.properties.clone();
        if let Some(properties) = &mut properties {
            properties.user.retain(|(name, _)| **name != *PATH_PROPERTY && **name != *ID_PROPERTY);
        }
        let mut outgoing = Outgoing {
            lane: self.lane,
            ticket: 0,
            topic: delivered.topic.clone(),
            payload: delivered.payload.clone(),
            original: delivered.payload.clone(),
            qos: delivered.qos,
            retain: delivered.retain,
            properties: properties.filter(|properties| !properties.is_empty()),
            expires_at: delivered.expires_at,
            publisher: delivered.publisher.clone(),
            id: self.id(delivered).into(),
            path: self.path(path),
            is_repeated,
        };
        if let Some(content_type) = self.envelope.content_type() {
            let left = outgoing.expires_at.map(|at| millis(at.saturating_duration_since(now)));
            let facts = Facts { expires_in_millis: left, ..Facts::from(&outgoing) };
            outgoing.payload = Bytes::from(self.envelope.seal(&facts)?.into_owned());
            outgoing.properties.get_or_insert_default().content_type = Some(content_type.into());
        }
        Ok(outgoing)
    }
}

fn path_of(delivered: &Delivered) -> Result<Path<'_>, PathError> {
    let user = delivered.properties.as_ref().map_or(&[][..], |properties| &properties.user);
    Path::of(user.iter().map(|(name, value)| (&**name, &**value)))
}
