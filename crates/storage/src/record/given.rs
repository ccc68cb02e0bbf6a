//! Which numbers the queues of a store may have given, whether anything is left under them or not.

use super::{Reader, Writer};
use crate::Damaged;

const VERSION: u8 = 1;

/// The note of the one entry of [`StreamId::GIVEN`](crate::StreamId::GIVEN).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenNote {
    /// No queue of a session has given this number or a higher one.
    pub sessions: u64,
    /// The same of named queues and shared subscriptions, each counted from the first number that it could give.
    pub groups: u64,
}

impl GivenNote {
    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
        writer.number(self.sessions);
        writer.number(self.groups);
    }

    /// Reads it.
    pub fn read(bytes: &[u8]) -> Result<GivenNote, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let note = GivenNote { sessions: reader.number()?, groups: reader.number()? };
        reader.finish()?;
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_note_comes_back_as_it_was(sessions in any::<u64>(), groups in any::<u64>()) {
            let (note, mut bytes) = (GivenNote { sessions, groups }, Vec::new());
            note.write(&mut bytes);
            prop_assert_eq!(GivenNote::read(&bytes), Ok(note));
            for cut in 0..bytes.len() {
                prop_assert_eq!(GivenNote::read(&bytes[..cut]), Err(Damaged));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = GivenNote::read(&bytes);
        }
    }
}
