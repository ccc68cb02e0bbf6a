//! A named queue as it is described in [`StreamId::QUEUES`](crate::StreamId::QUEUES).

use super::{Reader, Writer};
use crate::Damaged;
use tidegate_message::Topic;

const VERSION: u8 = 1;

/// That a queue exists. What it holds is in the stream of its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its number.
    pub queue: u64,
    /// The topic that leads to it.
    pub topic: Topic,
}

impl QueueRecord {
    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
        writer.number(self.queue);
        writer.text(self.topic.as_str());
    }

    /// Reads what [`QueueRecord::write`] has written. Only a topic that names a queue is one.
    pub fn read(bytes: &[u8]) -> Result<QueueRecord, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let queue = reader.number()?;
        let topic = Topic::parse(reader.bytes()?).map_err(|_| Damaged)?;
        reader.finish()?;
        topic.queue_name().ok_or(Damaged)?;
        Ok(QueueRecord { queue, topic })
    }
}

/// What is noted of a named queue while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueNote {
    /// When it was used last, in milliseconds of the store's time, to within a minute or so.
    pub used_at_millis: u64,
}

impl QueueNote {
    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
        writer.number(self.used_at_millis);
    }

    /// Reads it.
    pub fn read(bytes: &[u8]) -> Result<QueueNote, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let used_at_millis = reader.number()?;
        reader.finish()?;
        Ok(QueueNote { used_at_millis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_queue_comes_back_as_it_was(queue in any::<u64>(), name in "[a-c/]{1,6}", used_at_millis in any::<u64>()) {
            let topic = Topic::parse(format!("$queue/{name}").as_bytes()).unwrap();
            let (record, note) = (QueueRecord { queue, topic }, QueueNote { used_at_millis });
            let (mut bytes, mut note_bytes) = (Vec::new(), Vec::new());
            record.write(&mut bytes);
            note.write(&mut note_bytes);
            prop_assert_eq!(QueueRecord::read(&bytes), Ok(record));
            prop_assert_eq!(QueueNote::read(&note_bytes), Ok(note));
            for cut in 0..note_bytes.len() {
                prop_assert_eq!(QueueNote::read(&note_bytes[..cut]), Err(Damaged));
            }
            for cut in 0..bytes.len() {
                prop_assert_eq!(QueueRecord::read(&bytes[..cut]), Err(Damaged));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            drop(QueueRecord::read(&bytes));
            let _ = QueueNote::read(&bytes);
        }
    }

    #[test]
    fn a_topic_that_names_no_queue_is_none() {
        let mut bytes = Vec::new();
        QueueRecord { queue: 2000, topic: Topic::parse(b"a/b").unwrap() }.write(&mut bytes);
        assert_eq!(QueueRecord::read(&bytes), Err(Damaged));
    }
}
