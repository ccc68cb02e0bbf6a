//! Acknowledgements that wait until the disk has what they promise.
//!
//! The broker answers in the order of its requests, so one list is enough. What could go at once waits here only behind an earlier
//! acknowledgement of its kind: PUBACK, PUBREC and PUBREL have to be sent in the order of what they answer ([MQTT-4.6.0-2],
//! [MQTT-4.6.0-3], [MQTT-4.6.0-4]). Where nothing waits, nothing passes through here.

use crate::codec::{PacketType, ReasonCode, Version};
use crate::journal::Journal;
use crate::subscriptions::Answers;
use crate::wire::Wire;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use tidegate_protocol::{Answer, Close, Output, Refusal};

/// What a connection has to say later, and what it keeps for the time behind the end of the process.
#[derive(Debug)]
pub(crate) struct Late {
    waiting: VecDeque<Waiting>,
    /// How many PUBACK, PUBREC and PUBREL wait.
    in_order: [usize; 3],
    pub(crate) journal: Journal,
}

#[derive(Debug)]
struct Waiting {
    /// Answers of the broker that are still to come.
    awaited: usize,
    refusal: Option<Refusal>,
    word: Word,
}

/// What is to be said.
#[derive(Debug)]
pub(crate) enum Word {
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack { packet: PacketType, id: NonZeroU16, reason: ReasonCode, detail: Box<str> },
    /// SUBACK.
    SubAck(Box<SubAck>),
    /// Nothing: the message had QoS 0.
    Nothing,
}

/// A SUBACK with filters whose subscriptions are not kept yet.
#[derive(Debug)]
pub(crate) struct SubAck {
    pub(crate) version: Version,
    pub(crate) id: NonZeroU16,
    pub(crate) answers: Answers,
    /// Those filters, in order.
    pub(crate) awaited: VecDeque<Asked>,
    /// Those of them that are not kept, and of which the client is told so.
    pub(crate) refused: Vec<Asked>,
}

/// A filter that was subscribed before it was known whether that is kept.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its place in the packet.
    pub(crate) at: usize,
    /// Its text, with the name of its share.
    pub(crate) filter: Box<str>,
    /// Whether there was a subscription with it before.
    pub(crate) existed: bool,
}

/// A word whose time has come, and why it is another one than was meant.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) word: Word,
    pub(crate) refusal: Option<Refusal>,
}

impl Late {
    /// Nothing waits.
    pub(crate) fn new(journal: Journal) -> Late {
        Late { waiting: VecDeque::new(), in_order: [0; 3], journal }
    }

    /// Writes an acknowledgement, or lets it wait.
    #[inline]
    pub(crate) fn ack(
        &mut self,
        answer: Answer,
        (packet, id): (PacketType, NonZeroU16),
        (reason, detail): (ReasonCode, &str),
        wire: &Wire,
        output: &mut Output,
    ) -> Result<(), Close> {
        match answer == Answer::Now && self.waiting.is_empty() {
            true => wire.ack(packet, id, reason, detail, output),
            false => self.ack_in_order(answer, (packet, id), (reason, detail), wire, output),
        }
    }

    #[inline(never)]
    fn ack_in_order(
        &mut self,
        answer: Answer,
        (packet, id): (PacketType, NonZeroU16),
        (reason, detail): (ReasonCode, &str),
        wire: &Wire,
        output: &mut Output,
    ) -> Result<(), Close> {
        if answer == Answer::Now && !self.are_waiting(packet) {
            return wire.ack(packet, id, reason, detail, output);
        }
        if let Some(count) = place_of(packet).and_then(|place| self.in_order.get_mut(place)) {
            *count += 1;
        }
        let word = Word::Ack { packet, id, reason, detail: detail.into() };
        let awaited = usize::from(answer == Answer::Later);
        self.waiting.push_back(Waiting { awaited, refusal: None, word });
        Ok(())
    }

    /// Lets a SUBACK wait.
    pub(crate) fn suback(&mut self, suback: SubAck) {
        let awaited = suback.awaited.len();
        self.waiting.push_back(Waiting { awaited, refusal: None, word: Word::SubAck(Box::new(suback)) });
    }

    /// The broker owes an answer that nobody is told.
    pub(crate) fn nothing(&mut self) {
        self.waiting.push_back(Waiting { awaited: 1, refusal: None, word: Word::Nothing });
    }

    /// Whether another SUBACK waits for this filter.
    pub(crate) fn awaits(&self, filter: &str) -> bool {
        let awaits = |waiting: &Waiting| match &waiting.word {
            Word::SubAck(suback) => suback.awaited.iter().any(|asked| *asked.filter == *filter),
            Word::Ack { .. } | Word::Nothing => false,
        };
        self.waiting.iter().any(awaits)
    }

    /// How many words wait, for answers or behind others.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn are_waiting(&self, packet: PacketType) -> bool {
        place_of(packet).and_then(|place| self.in_order.get(place)).is_some_and(|count| *count > 0)
    }

    /// The broker has answered the oldest request. What is to be said now is asked for with [`Late::next`].
    pub(crate) fn note_answer(&mut self, answer: Result<(), Refusal>) {
        let Some(first) = self.waiting.front_mut() else { return };
        first.awaited = first.awaited.saturating_sub(1);
        if let Word::SubAck(suback) = &mut first.word {
            suback.note_answer(answer);
        }
        first.refusal = first.refusal.or(answer.err());
    }

    /// What is to be said next, as far as nothing before it has to wait.
    pub(crate) fn next(&mut self) -> Option<Due> {
        let Waiting { word, refusal, .. } = self.waiting.pop_front_if(|first| first.awaited == 0)?;
        if let Word::Ack { packet, .. } = &word
            && let Some(count) = place_of(*packet).and_then(|place| self.in_order.get_mut(place))
        {
            *count -= 1;
        }
        Some(Due { word, refusal })
    }
}

impl SubAck {
    fn note_answer(&mut self, answer: Result<(), Refusal>) {
        match (self.awaited.pop_front(), answer) {
            // MQTT 3.1 sections 3.8 and 3.9: it has no word for a refusal.
            (Some(asked), Err(refusal)) if self.version > Version::V31 => {
                self.answers.refuse(asked.at, refusal);
                self.refused.push(asked);
            }
            _ => {}
        }
    }
}

/// Where packets are counted whose order is prescribed.
fn place_of(packet: PacketType) -> Option<usize> {
    match packet {
        PacketType::PubAck => Some(0),
        PacketType::PubRec => Some(1),
        PacketType::PubRel => Some(2),
        _ => None,
    }
}
