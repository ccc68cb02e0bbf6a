//! What is read is what lives, however much of it at a time.

use super::clock::TestClock;
use super::crash_disk::CrashDisk;
use super::world::{self, Entries, NOON};
use crate::{Change, Entry, ReadMax, StreamId, Urgency};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    /// Stream, number, and what becomes of it.
    Change(Vec<(u64, u64, u8)>),
    /// So many entries are read from where the last answer about this stream ended.
    Read { stream: u64, entries: usize },
    /// What waits goes to the disk.
    Turn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = (0_u64..2, 1_u64..60, any::<u8>());
    let change = proptest::collection::vec(op, 1..50).prop_map(Step::Change);
    let read = (0_u64..2, 1_usize..9).prop_map(|(stream, entries)| Step::Read { stream, entries });
    proptest::collection::vec(prop_oneof![2 => change, 8 => read, 1 => Just(Step::Turn)], 0..60)
}

fn change(ops: &[(u64, u64, u8)]) -> Change {
    let mut change = Change::default();
    for (at, (stream, number, kind)) in ops.iter().enumerate() {
        let (stream, number) = (StreamId(*stream), *number);
        match kind {
            0..=31 => change.settle(stream, number),
            32..=63 => change.amend(stream, number, b"another note"),
            _ => change.append(&[(stream, number, &[*kind])], &[*kind; 9][..1 + at % 9]),
        }
    }
    change
}

proptest! {
    /// Changes with many entries are read in pieces, between each other and while more is changed; numbers that come twice in one change
    /// among them.
    #[test]
    fn pieces_are_what_lives(steps in steps()) {
        let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
        let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
        let (mut model, mut from) = (Entries::new(), [0; 2]);
        for step in steps {
            match step {
                Step::Change(ops) => {
                    let mut change = change(&ops);
                    world::apply(&mut model, change.as_bytes());
                    engine.append(&mut change, Urgency::Synced);
                }
                Step::Read { stream, entries } => {
                    let (id, from) = (StreamId(stream), &mut from[stream as usize]);
                    let found = engine.read(id, *from, ReadMax { entries, bytes: usize::MAX }).unwrap();
                    let living = model.range((id, *from)..=(id, u64::MAX)).take(entries);
                    let living = living.map(|((_, number), (note, body))| Entry {
                        number: *number,
                        note: note.clone().into(),
                        body: body.clone().into(),
                    });
                    prop_assert_eq!(&found, &living.collect::<Vec<_>>());
                    *from = found.last().map_or(0, |last| last.number + 1);
                }
                Step::Turn => drop(engine.turn()),
            }
        }
    }
}
