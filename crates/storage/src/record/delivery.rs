//! What a queue knows of a message that waits in it, beside the message.

use super::{Reader, Writer};
use crate::{Damaged, StreamId};
use tidegate_message::QoS;

const VERSION: u8 = 1;
const QOS: u8 = 0b11;
const RETAIN: u8 = 0b100;
const HAS_GROUP: u8 = 0b1000;

/// The note of an entry in a queue's stream: what is the receiver's and not the message's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryNote<Ids = Vec<u32>> {
    /// The level of the delivery.
    pub qos: QoS,
    /// Whether the receiver is to see it as a retained message.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: Ids,
    /// Which delivery of the message the next one is, counted from 1, as far as that was written down.
    pub attempt: u32,
    /// The queue that it was taken from, and the number that it had there, where it goes back to when its receiver leaves for ever.
    pub taken_from: Option<(StreamId, u64)>,
}

impl<Ids: AsRef<[u32]>> DeliveryNote<Ids> {
    /// Writes it as a note.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
        let retain = if self.retain { RETAIN } else { 0 };
        writer.byte(self.qos as u8 | retain | self.taken_from.map_or(0, |_| HAS_GROUP));
        writer.number(self.attempt.into());
        if let Some((stream, number)) = self.taken_from {
            writer.number(stream.0);
            writer.number(number);
        }
        self.subscription_ids.as_ref().iter().for_each(|id| writer.number((*id).into()));
    }
}

impl DeliveryNote {
    /// Reads a note.
    pub fn read(bytes: &[u8]) -> Result<DeliveryNote, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let flags = reader.byte()?;
        let qos = QoS::from_number(flags & QOS).ok_or(Damaged)?;
        if flags & !(QOS | RETAIN | HAS_GROUP) != 0 {
            return Err(Damaged);
        }
        let small = |number: u64| u32::try_from(number).map_err(|_| Damaged);
        let attempt = small(reader.number()?)?;
        let taken_from = match flags & HAS_GROUP != 0 {
            true => Some((StreamId(reader.number()?), reader.number()?)),
            false => None,
        };
        let mut subscription_ids = Vec::new();
        while !reader.is_empty() {
            subscription_ids.push(small(reader.number()?)?);
        }
        Ok(DeliveryNote { qos, retain: flags & RETAIN != 0, subscription_ids, attempt, taken_from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_note_comes_back_as_it_was(
            qos in 0_u8..3,
            retain in any::<bool>(),
            subscription_ids in proptest::collection::vec(any::<u32>(), 0..4),
            attempt in any::<u32>(),
            taken_from in proptest::option::of((any::<u64>().prop_map(StreamId), any::<u64>())),
        ) {
            let qos = QoS::from_number(qos).unwrap();
            let note = DeliveryNote { qos, retain, subscription_ids, attempt, taken_from };
            let mut bytes = Vec::new();
            note.write(&mut bytes);
            prop_assert_eq!(DeliveryNote::read(&bytes), Ok(note));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            drop(DeliveryNote::read(&bytes));
        }
    }
}
