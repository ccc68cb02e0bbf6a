//! What an answer of the cluster means for a message, and for the connection.
//!
//! Order is what decides here. A record that was not taken, while the next one of its partition might have been, must not simply be sent again: it
//! would come behind it. So only what is refused for good has a verdict of its own; everything else ends the connection, and what has no
//! verdict is sent again in its order.
//!
//! What the operator has named (a topic without variables) he can make and permit, and until he has, everything waits: a backlog must not become
//! dead letters because of a missing topic. What a message has named is the message's own trouble.
//!
//! A batch is taken or refused as a whole, so a refusal for good is believed only of a record that was alone in its batch; otherwise
//! the batches become smaller until it is.

use rdkafka::types::RDKafkaErrorCode as Code;

/// What becomes of a record that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody will ever take it; the label says why.
    Never(&'static str),
    /// The next connection makes smaller batches.
    SmallerBatches,
    /// An operator has to mend something; all of it waits.
    Refused,
    /// Another attempt may succeed.
    Broken,
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Whether the message has a say in its topic or partition.
    pub(crate) is_named_by_message: bool,
    /// Whether it cannot have shared its batch.
    pub(crate) is_alone: bool,
}

pub(crate) fn fate(code: Code, circumstances: Circumstances) -> Fate {
    let Circumstances { is_named_by_message, is_alone } = circumstances;
    let unless_shared = |label| if is_alone { Fate::Never(label) } else { Fate::SmallerBatches };
    let unless_constant = |label| if is_named_by_message { Fate::Never(label) } else { Fate::Refused };
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            unless_shared("too_large")
        }
        Code::InvalidMessage
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation
        | Code::UnsupportedForMessageFormat => unless_shared("invalid"),
        Code::InvalidDifferentRecord => Fate::SmallerBatches,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            unless_constant("unroutable")
        }
        Code::InvalidTopic => unless_constant("not_expressible"),
        Code::TopicAuthorizationFailed => unless_constant("not_authorised"),
        Code::ClusterAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedSASLMechanism => Fate::Refused,
        _ => Fate::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, is_named_by_message: bool, is_alone: bool) -> Fate {
        fate(code, Circumstances { is_named_by_message, is_alone })
    }

    #[test]
    fn a_topic_that_the_operator_named_may_still_be_made() {
        assert_eq!(of(Code::UnknownTopicOrPartition, false, true), Fate::Refused);
        assert_eq!(of(Code::TopicAuthorizationFailed, false, true), Fate::Refused);
        assert_eq!(of(Code::UnknownTopic, true, true), Fate::Never("unroutable"));
        assert_eq!(of(Code::TopicAuthorizationFailed, true, false), Fate::Never("not_authorised"));
    }

    #[test]
    fn a_batch_is_no_evidence_against_one_record() {
        assert_eq!(of(Code::MessageSizeTooLarge, false, false), Fate::SmallerBatches);
        assert_eq!(of(Code::MessageSizeTooLarge, false, true), Fate::Never("too_large"));
        assert_eq!(of(Code::InvalidDifferentRecord, false, true), Fate::SmallerBatches);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [Code::NotEnoughReplicas, Code::PurgeInflight, Code::Fatal, Code::RequestTimedOut] {
            assert_eq!(of(code, true, true), Fate::Broken);
        }
    }
}
