//! RECEIPTs, in the order of the frames that asked for them: a RECEIPT says of everything before it that it was processed
//! ([STOMP-1.2/RECEIPT]).
//!
//! A frame whose message has to be on the disk first holds up the RECEIPTs behind it, and the end that a DISCONNECT asks for. Where nothing
//! waits, nothing passes through here.

use crate::codec::{Version, push_escaped, push_header};
use crate::resuming::StartHeaders;
use std::collections::VecDeque;
use tidegate_protocol::{Answer, Output};

/// What is said when a frame is done.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// The receipt that it asked for.
    pub(crate) receipt: Option<Box<str>>,
    /// Where its subscription begins.
    pub(crate) start: Option<StartHeaders>,
    /// Whether the connection ends with it.
    pub(crate) is_goodbye: bool,
}

/// The frames of one connection that are not done.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Each with whether the broker owes an answer for it.
    waiting: VecDeque<(Answer, Words)>,
    is_leaving: bool,
}

impl Receipts {
    /// Whether a frame can be answered at once.
    #[inline]
    pub(crate) fn are_none_waiting(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many frames wait, for answers or behind others.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the client has said goodbye, so that nothing of it is handled any more.
    pub(crate) fn are_last(&self) -> bool {
        self.is_leaving
    }

    /// Lets a frame wait for its answer, or behind others.
    pub(crate) fn push(&mut self, answer: Answer, words: Words) {
        self.is_leaving |= words.is_goodbye;
        if answer == Answer::Later || words.receipt.is_some() || words.is_goodbye {
            self.waiting.push_back((answer, words));
        }
    }

    /// The broker has answered for the oldest frame. Returns what was to be said of it; the rest is for [`Receipts::next`].
    pub(crate) fn take_answered(&mut self) -> Option<Words> {
        self.waiting.pop_front().map(|(_, words)| words)
    }

    /// What can be said behind that.
    pub(crate) fn next(&mut self) -> Option<Words> {
        self.waiting.pop_front_if(|(answer, _)| *answer == Answer::Now).map(|(_, words)| words)
    }
}

/// Appends the RECEIPT that a frame asked for, with where its subscription begins ([STOMP-1.2/RECEIPT]).
pub(crate) fn push_receipt(
    version: Version,
    receipt: Option<&str>,
    start: Option<&StartHeaders>,
    output: &mut Output,
) {
    let Some(receipt) = receipt else { return };
    let buffer = output.buffer();
    buffer.extend_from_slice(b"RECEIPT\nreceipt-id:");
    // It came in a header of this version, so it can go out in one.
    push_escaped(buffer, version, receipt);
    buffer.push(b'\n');
    for (name, value) in start.into_iter().flat_map(StartHeaders::pairs) {
        push_header(buffer, version, name, value);
    }
    buffer.extend_from_slice(b"\n\0");
    output.end_frame();
}
