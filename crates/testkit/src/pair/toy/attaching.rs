//! How a toy claims its session.

use super::SESSION;
use std::time::Duration;
use tidegate_protocol::{ConsumerId, SessionLimits, Settlement, Will};

/// How a toy attaches; change what the test is about.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are those of Attach, which says what they mean")]
pub struct Attaching {
    pub consumer: ConsumerId,
    pub client_id: String,
    pub clean_start: bool,
    pub expiry: Duration,
    pub credit: u32,
    pub settlement: Settlement,
    pub will: Option<Will>,
    pub limits: SessionLimits,
    pub wants_publisher: bool,
    /// Whether what waits in the session comes only as it is asked for.
    pub has_backlog: bool,
}

/// A session that lives for an hour and takes 10 unsettled deliveries.
pub fn session(client_id: &str) -> Attaching {
    let expiry = Duration::from_secs(3600);
    let (consumer, settlement) = (SESSION, Settlement::AboveAtMostOnce);
    let (client_id, clean_start, credit) = (client_id.to_owned(), false, 10);
    Attaching {
        consumer,
        client_id,
        clean_start,
        expiry,
        credit,
        settlement,
        will: None,
        limits: SessionLimits::Usual,
        wants_publisher: false,
        has_backlog: false,
    }
}

impl Attaching {
    /// Deliveries that may be unsettled at a time.
    pub fn credit(mut self, credit: u32) -> Attaching {
        self.credit = credit;
        self
    }

    /// How long the session outlives its connection.
    pub fn expiry(mut self, expiry: Duration) -> Attaching {
        self.expiry = expiry;
        self
    }

    /// Under another consumer than the first.
    pub fn consumer(mut self, consumer: u32) -> Attaching {
        self.consumer = ConsumerId(consumer);
        self
    }

    /// Which deliveries have to be settled.
    pub fn settlement(mut self, settlement: Settlement) -> Attaching {
        self.settlement = settlement;
        self
    }

    /// An existing session is ended first.
    pub fn clean(mut self) -> Attaching {
        self.clean_start = true;
        self
    }

    /// Bounded by the disk only.
    pub fn bounded_by_disk(mut self) -> Attaching {
        self.limits = SessionLimits::Disk;
        self
    }

    /// Told who has published what it gets.
    pub fn wants_publisher(mut self) -> Attaching {
        self.wants_publisher = true;
        self
    }

    /// What waits comes as it is asked for.
    pub fn with_backlog(mut self) -> Attaching {
        self.has_backlog = true;
        self
    }

    /// With a will.
    pub fn will(mut self, will: Will) -> Attaching {
        self.will = Some(will);
        self
    }
}
