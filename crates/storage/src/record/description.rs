//! The entries of the sessions' stream: what each of them describes.
//!
//! A body begins with a byte that says which kind of thing it is, and one for the version of that kind's layout:
//!
//! ```text
//! 1 session       its name; what changes about it is in the entry's note
//! 2 subscription  of the session's queue
//! 3 saved         a piece of what the protocol wants back
//! 4 will          of the session's connection, or of one whose session ends with it
//! ```
//!
//! All but the first name the session by the number of its queue. The entry of a session has a lower number than those of its things.

use super::{Reader, SavedRecord, SessionRecord, SubscriptionRecord, WillRecord, Writer};
use crate::Damaged;

pub(super) const SESSION: u8 = 1;
pub(super) const SUBSCRIPTION: u8 = 2;
pub(super) const SAVED: u8 = 3;
pub(super) const WILL: u8 = 4;

const VERSION: u8 = 1;

/// What an entry of the sessions' stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Description {
    /// A session.
    Session(SessionRecord),
    /// A subscription of a session.
    Subscription(SubscriptionRecord),
    /// What a protocol has left in a session.
    Saved(SavedRecord),
    /// What is published when a connection is lost.
    Will(Box<WillRecord>),
}

impl Description {
    /// Reads the body of an entry.
    pub fn read(body: &[u8]) -> Result<Description, Damaged> {
        let mut reader = Reader::new(body);
        let (kind, version) = (reader.byte()?, reader.byte()?);
        if version != VERSION {
            return Err(Damaged);
        }
        let description = match kind {
            SESSION => Description::Session(SessionRecord::read(&mut reader)?),
            SUBSCRIPTION => Description::Subscription(SubscriptionRecord::read(&mut reader)?),
            SAVED => Description::Saved(SavedRecord::read(&mut reader)?),
            WILL => Description::Will(Box::new(WillRecord::read(&mut reader)?)),
            _ => return Err(Damaged),
        };
        reader.finish()?;
        Ok(description)
    }

    /// Writes a body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Description::Session(session) => session.write(out),
            Description::Subscription(subscription) => subscription.write(out),
            Description::Saved(saved) => saved.write(out),
            Description::Will(will) => will.write(out),
        }
    }
}

/// Begins a body of this kind.
pub(super) fn begin(kind: u8, out: &mut Vec<u8>) -> Writer<'_> {
    let mut writer = Writer::new(out);
    writer.byte(kind);
    writer.byte(VERSION);
    writer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::identity::any_identity;
    use crate::record::{SavedPart, SessionNote, SessionPhase};
    use bytes::Bytes;
    use proptest::option;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tidegate_message::{Properties, QoS, Topic, TopicFilter};
    use tidegate_protocol::{SessionLimits, Settlement, Will};

    fn any_session() -> impl Strategy<Value = Description> {
        ("[a-z]{1,4}", "[a-zä]{1,8}", any::<u64>()).prop_map(|(protocol, client_id, queue)| {
            Description::Session(SessionRecord {
                protocol: protocol.into(),
                client_id: client_id.into(),
                queue,
            })
        })
    }

    fn any_subscription() -> impl Strategy<Value = Description> {
        let share = option::of(("[a-z]{1,3}", any::<u64>()));
        let options = (0_u8..3, any::<bool>(), any::<bool>(), option::of(any::<u32>()));
        (any::<u64>(), share, "[a-c/+]{1,6}", options).prop_map(|(queue, share, filter, options)| {
            let (share, group) = share.map_or((None, None), |(name, group)| (Some(name.into()), Some(group)));
            Description::Subscription(SubscriptionRecord {
                queue,
                share,
                group,
                filter: TopicFilter::parse(filter.replace('+', "/+/").as_bytes()).unwrap(),
                qos_max: QoS::from_number(options.0).unwrap(),
                no_local: options.1,
                retain_as_published: options.2,
                subscription_id: options.3,
            })
        })
    }

    fn any_saved() -> impl Strategy<Value = Description> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..9);
        (any::<u64>(), any::<bool>(), bytes).prop_map(|(queue, is_whole, bytes)| {
            let part = if is_whole { SavedPart::Whole } else { SavedPart::More };
            Description::Saved(SavedRecord { queue, part, bytes })
        })
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![any::<u32>().prop_map(|millis| Duration::from_millis(millis.into())), Just(Duration::MAX)]
    }

    fn any_will() -> impl Strategy<Value = Description> {
        let flags = (0_u8..3, any::<bool>(), any::<bool>());
        let times = (option::of(any_duration()), any_duration());
        (any::<u64>(), any_identity(), "[a-c/]{1,6}", flags, times).prop_map(
            |(queue, identity, topic, (qos, retain, has_properties), (expiry, delay))| {
                let properties = Properties { content_type: Some("t".into()), ..Properties::default() };
                let will = Will {
                    topic: Topic::parse(topic.as_bytes()).unwrap(),
                    payload: Bytes::from_static(b"gone"),
                    qos: QoS::from_number(qos).unwrap(),
                    retain,
                    properties: has_properties.then(|| Box::new(properties)),
                    expiry,
                    delay,
                };
                Description::Will(Box::new(WillRecord { queue, identity: Arc::new(identity), will }))
            },
        )
    }

    fn any_note() -> impl Strategy<Value = SessionNote> {
        let phase = prop_oneof![
            Just(SessionPhase::Attached),
            (option::of(0_u64..1 << 60), option::of(0_u64..1 << 60)).prop_map(
                |(ends_at_millis, will_at_millis)| SessionPhase::Detached { ends_at_millis, will_at_millis }
            ),
        ];
        let settlement = prop_oneof![
            Just(Settlement::Automatic),
            Just(Settlement::AboveAtMostOnce),
            Just(Settlement::Always)
        ];
        let limits = prop_oneof![Just(SessionLimits::Usual), Just(SessionLimits::Disk)];
        (any_identity(), any_duration(), any::<u32>(), settlement, (limits, any::<bool>()), phase).prop_map(
            |(identity, expiry, credit, settlement, (limits, wants_publisher), phase)| SessionNote {
                identity: Arc::new(identity),
                expiry,
                credit,
                settlement,
                limits,
                wants_publisher,
                phase,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_described_comes_back(
            described in prop_oneof![any_session(), any_subscription(), any_saved(), any_will()],
        ) {
            let mut bytes = Vec::new();
            described.write(&mut bytes);
            prop_assert_eq!(Description::read(&bytes), Ok(described));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Description::read(&bytes[..cut]), Err(Damaged));
            }
            bytes.push(0);
            prop_assert_eq!(Description::read(&bytes), Err(Damaged));
        }

        #[test]
        fn what_is_noted_comes_back(note in any_note()) {
            let mut bytes = Vec::new();
            note.write(&mut bytes);
            prop_assert_eq!(SessionNote::read(&bytes), Ok(note));
            for cut in 0..bytes.len() {
                prop_assert_eq!(SessionNote::read(&bytes[..cut]), Err(Damaged));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            drop(SessionNote::read(&bytes));
            for kind in 0..=5 {
                (bytes[0], bytes[1]) = (kind, VERSION);
                drop(Description::read(&bytes));
            }
        }
    }

    #[test]
    fn another_version_is_not_read() {
        let saved = SavedRecord { queue: 1, part: SavedPart::Whole, bytes: vec![7] };
        let mut bytes = Vec::new();
        saved.write(&mut bytes);
        bytes[1] = VERSION + 1;
        assert_eq!(Description::read(&bytes), Err(Damaged));
    }
}
