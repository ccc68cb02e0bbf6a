//! Transactions: what is sent and acknowledged in one waits for its COMMIT, and then happens all together or not at all
//! ([STOMP-1.2/BEGIN], [STOMP-1.2/COMMIT], [STOMP-1.2/ABORT]).
//!
//! A SEND is read and checked when it comes, as far as its frame goes; a message that an ACK is about is set aside, so that it cannot be
//! acknowledged twice, and comes back with ABORT. At COMMIT the broker takes all messages or none, and only where it takes them are
//! acknowledgements passed on. A transaction lives in its connection: when that ends it is gone, as if aborted.

use crate::StompOptions;
use crate::acknowledge::settle;
use crate::reason::Fault;
use crate::send::Letter;
use crate::subscriptions::{Subscriptions, Taken};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tidegate_protocol::{Answer, Broker};

/// The longest name of a transaction in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The open transactions of one connection.
#[derive(Debug)]
pub(crate) struct Transactions {
    limits: TransactionLimits,
    open: HashMap<Box<str>, Transaction, RandomState>,
    /// What all of them hold.
    frames: usize,
    bytes: usize,
}

/// What the open transactions of a connection may hold together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransactionLimits {
    pub(crate) transactions: usize,
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Transaction {
    /// How many frames were accepted into it.
    frames: usize,
    bytes: usize,
    /// Each with its place among the frames, counted from 1.
    letters: Vec<(usize, Letter<'static>)>,
    taken: Vec<(usize, Taken)>,
    /// The first frame that acknowledges a delivery of a subscription that had ended before.
    late: Option<usize>,
}

impl Transactions {
    /// None yet.
    pub(crate) fn new(options: &StompOptions) -> Transactions {
        Transactions { limits: options.transaction_limits(), open: HashMap::default(), frames: 0, bytes: 0 }
    }

    /// Handles BEGIN.
    pub(crate) fn begin(&mut self, name: &str) -> Result<(), Fault> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Fault::InvalidHeader { name: "transaction", expected: "at most 255 bytes" });
        }
        if self.open.contains_key(name) {
            return Err(Fault::DuplicateTransaction);
        }
        let limit = self.limits.transactions;
        if self.open.len() >= limit {
            return Err(Fault::TooManyTransactions { limit });
        }
        self.open.insert(name.into(), Transaction::default());
        Ok(())
    }

    /// Accepts a SEND.
    pub(crate) fn hold(&mut self, name: &str, letter: Letter<'_>) -> Result<(), Fault> {
        let transaction = self.accept(name, letter.weight_bytes())?;
        transaction.letters.push((transaction.frames, letter.into_owned()));
        Ok(())
    }

    /// Accepts an ACK or NACK; one whose subscription has ended takes nothing, and lets COMMIT fail.
    pub(crate) fn set_aside(&mut self, name: &str, taken: Option<Taken>) -> Result<(), Fault> {
        let transaction = self.accept(name, taken.as_ref().map_or(0, Taken::weight_bytes))?;
        let frame = transaction.frames;
        match taken {
            Some(taken) => transaction.taken.push((frame, taken)),
            None => transaction.late = transaction.late.or(Some(frame)),
        }
        Ok(())
    }

    /// Handles COMMIT: everything, or an error and nothing. What cannot be acknowledged any more comes again, to this consumer or to another
    /// one, and then what was made of it would be sent twice.
    pub(crate) fn commit(
        &mut self,
        name: &str,
        subscriptions: &Subscriptions,
        broker: &mut dyn Broker,
    ) -> Result<Answer, Fault> {
        let transaction = self.end(name)?;
        if let Some(frame) = transaction.first_too_late(subscriptions) {
            return Err(Fault::AcknowledgedTooLate { frame });
        }
        let batch: Vec<_> = transaction.letters.iter().map(|(_, letter)| letter.as_publish()).collect();
        let mut answer = Answer::Now;
        if !batch.is_empty() {
            answer = broker.publish_all(&batch).map_err(|(at, refusal)| {
                let frame = transaction.letters.get(at).map_or(at + 1, |(frame, _)| *frame);
                Fault::NotCommitted { frame, refusal }
            })?;
        }
        transaction.taken.iter().for_each(|(_, taken)| settle(taken, broker));
        Ok(answer)
    }

    /// Handles ABORT: nothing was sent, and what was acknowledged waits again.
    pub(crate) fn abort(&mut self, name: &str, subscriptions: &mut Subscriptions) -> Result<(), Fault> {
        let transaction = self.end(name)?;
        transaction.taken.iter().for_each(|(_, taken)| subscriptions.put_back(taken));
        Ok(())
    }

    /// The transaction of a name, with one more frame of this weight.
    fn accept(&mut self, name: &str, weight_bytes: usize) -> Result<&mut Transaction, Fault> {
        let transaction = self.open.get_mut(name).ok_or(Fault::UnknownTransaction)?;
        let (frames, bytes) = (self.frames + 1, self.bytes.saturating_add(weight_bytes));
        if frames > self.limits.frames {
            return Err(Fault::TransactionFrames { limit: self.limits.frames });
        }
        if bytes > self.limits.bytes {
            return Err(Fault::TransactionBytes { limit: self.limits.bytes });
        }
        (self.frames, self.bytes) = (frames, bytes);
        transaction.frames += 1;
        transaction.bytes += weight_bytes;
        Ok(transaction)
    }

    fn end(&mut self, name: &str) -> Result<Transaction, Fault> {
        let transaction = self.open.remove(name).ok_or(Fault::UnknownTransaction)?;
        self.frames -= transaction.frames;
        self.bytes -= transaction.bytes;
        Ok(transaction)
    }
}

impl Transaction {
    /// The first frame that acknowledges what is no longer its connection's to acknowledge.
    fn first_too_late(&self, subscriptions: &Subscriptions) -> Option<usize> {
        let ended = self.taken.iter().find(|(_, taken)| !subscriptions.has_consumer(taken.consumer));
        ended.map(|(frame, _)| *frame).into_iter().chain(self.late).min()
    }
}
