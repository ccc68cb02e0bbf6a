//! Subscriptions that can be resumed: the header `resume` in SUBSCRIBE, RECEIPT and MESSAGE.
//!
//! ```text
//! SUBSCRIBE resume:            begins; `true` is the same, `false` asks for an ordinary subscription
//! MESSAGE   resume:<token>     names the place behind this message
//! SUBSCRIBE resume:<token>     goes on there
//! RECEIPT   resume:began, resume:continued or resume:gap, and the token of the place in front of the first MESSAGE
//! MESSAGE   resume-gap:true    messages are missing before this one
//! ```
//!
//! What a token means is the broker's affair; here it is a text.

use crate::codec::Frame;
use crate::durable;
use crate::names::{Place, Source};
use crate::reason::Fault;
use tidegate_message::QoS;
use tidegate_protocol::{
    Broker, Consume, ConsumerId, Follow, Following, Position, RetainedDelivery, Start, StateDelivery,
};

/// The header of all three frames, and of a SUBSCRIBE that is none of these texts, the token.
const RESUME: &str = "resume";

/// The texts of a RECEIPT that says where a subscription begins.
#[derive(Debug)]
pub(crate) struct StartHeaders {
    start: &'static str,
    token: String,
}

impl StartHeaders {
    /// The headers that the RECEIPT has for it.
    pub(crate) fn pairs(&self) -> [(&str, &str); 2] {
        [(RESUME, self.start), ("resume-token", &self.token)]
    }
}

impl From<Following> for StartHeaders {
    fn from(following: Following) -> StartHeaders {
        let start = match following.start {
            Start::Began => "began",
            Start::Continued => "continued",
            Start::Gap => "gap",
        };
        StartHeaders { start, token: following.token.to_string() }
    }
}

/// What a SUBSCRIBE says about resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume<'f> {
    /// From now on.
    Begin,
    /// From where a token says.
    From(&'f str),
}

impl Resume<'_> {
    /// Lets a new consumer follow what can be resumed.
    pub(crate) fn subscribe(
        self,
        source: &Source,
        retained: RetainedDelivery,
        consume: Consume,
        broker: &mut dyn Broker,
    ) -> Result<Following, Fault> {
        let consumer: ConsumerId = consume.consumer;
        broker.consume(consume)?;
        let state = match retained {
            RetainedDelivery::Never => StateDelivery::Nothing,
            RetainedDelivery::Always | RetainedDelivery::WhenNew => StateDelivery::Retained,
        };
        let from = match self {
            Resume::Begin => None,
            Resume::From(token) => Some(token),
        };
        let follow = Follow { consumer, filter: &source.filter, qos_max: QoS::ExactlyOnce, state, from };
        broker.follow(&follow).map_err(|refusal| {
            broker.cancel(consumer);
            refusal.into()
        })
    }
}

/// Whether a SUBSCRIBE asks for a subscription that can be resumed. Queues keep their messages for whoever comes next, and a durable
/// subscription keeps its own, so neither has a place in a ring.
pub(crate) fn resume_of<'f>(frame: &'f Frame<'_>, source: &Source) -> Result<Option<Resume<'f>>, Fault> {
    let resume = match frame.headers.get(RESUME) {
        None | Some("false") => return Ok(None),
        Some("" | "true") => Resume::Begin,
        Some(token) => Resume::From(token),
    };
    if source.place != Place::Topic || source.share.is_some() {
        let expected = "left out: only subscriptions to topics that are not shared can be resumed";
        return Err(Fault::InvalidHeader { name: RESUME, expected });
    }
    if durable::is_durable(frame)? {
        let expected = "left out: a durable subscription keeps its messages by itself";
        return Err(Fault::InvalidHeader { name: RESUME, expected });
    }
    Ok(Some(resume))
}

/// Appends what a MESSAGE says to its receiver alone: that messages are missing before it.
pub(crate) fn push_gap(buffer: &mut Vec<u8>, position: Option<Position>) {
    if position.is_some_and(|position| position.is_after_gap) {
        buffer.extend_from_slice(b"resume-gap:true\n");
    }
}

/// Appends the token of a MESSAGE.
pub(crate) fn push_token(buffer: &mut Vec<u8>, position: Option<Position>) {
    if let Some(position) = position {
        crate::codec::push_raw_header(buffer, RESUME, position.token.to_string().as_bytes());
    }
}
