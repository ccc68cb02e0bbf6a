//! Requests in a form that owns its parts, so that a test can keep and compare them.

use std::time::Duration;
use tidegate_message::{Properties, QoS, TopicFilter};
use tidegate_protocol::{
    Attach, Backlog, Consume, ConsumerId, DeliveryTag, Detach, Follow, Outcome, Publish, RetainedDelivery,
    SavedState, Saving, StateDelivery, Subscribe, Will, WillAction,
};

/// What a machine asked of the broker; each variant is the request structure of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the request structures, which say what they mean")]
pub enum Request {
    Attach {
        consumer: ConsumerId,
        protocol: &'static str,
        client_id: String,
        clean_start: bool,
        expiry: Duration,
        credit: u32,
        settlement: tidegate_protocol::Settlement,
        will: Option<Will>,
    },
    Detach {
        consumer: ConsumerId,
        will: WillAction,
        expiry: Option<Duration>,
        saved: SavedState,
    },
    Consume {
        consumer: ConsumerId,
        credit: u32,
        settlement: tidegate_protocol::Settlement,
    },
    SaveWhole {
        consumer: ConsumerId,
        bytes: Vec<u8>,
        saving: Saving,
    },
    SaveMore {
        consumer: ConsumerId,
        bytes: Vec<u8>,
        saving: Saving,
    },
    Cancel(ConsumerId),
    ReplyPrefix,
    Subscribe {
        consumer: ConsumerId,
        share: Option<String>,
        filter: String,
        qos_max: QoS,
        no_local: bool,
        retain_as_published: bool,
        subscription_id: Option<u32>,
        retained: RetainedDelivery,
    },
    Follow {
        consumer: ConsumerId,
        filter: String,
        qos_max: QoS,
        state: StateDelivery,
        from: Option<String>,
    },
    Unsubscribe {
        consumer: ConsumerId,
        share: Option<String>,
        filter: String,
    },
    KeepOnly {
        consumer: ConsumerId,
        filters: Vec<TopicFilter>,
    },
    Publish {
        topic: Vec<u8>,
        payload: Vec<u8>,
        qos: QoS,
        retain: bool,
        properties: Option<Properties>,
        expiry: Option<Duration>,
    },
    PublishAll(Vec<Request>),
    SlowDown(Duration),
    NoteDropped(&'static str),
    Arrange {
        consumer: ConsumerId,
        backlog: Backlog,
    },
    Settle {
        consumer: ConsumerId,
        tag: DeliveryTag,
        outcome: Outcome,
    },
}

/// What a machine showed of its client; each variant is the evidence of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the protocol's evidence")]
pub enum Evidence {
    Password { user: Option<String>, password: Option<Vec<u8>> },
    Begin { method: String, data: Vec<u8> },
    Continue { data: Vec<u8> },
}

impl From<tidegate_protocol::Evidence<'_>> for Evidence {
    fn from(evidence: tidegate_protocol::Evidence<'_>) -> Evidence {
        use tidegate_protocol::Evidence as Shown;
        match evidence {
            Shown::Password { user, password } => {
                Evidence::Password { user: user.map(str::to_owned), password: password.map(<[u8]>::to_vec) }
            }
            Shown::Begin { method, data } => {
                Evidence::Begin { method: method.to_owned(), data: data.to_vec() }
            }
            Shown::Continue { data } => Evidence::Continue { data: data.to_vec() },
        }
    }
}

impl Request {
    /// The topic of a publish as text; nothing for any other request.
    pub fn published_topic(&self) -> Option<&str> {
        match self {
            Request::Publish { topic, .. } => std::str::from_utf8(topic).ok(),
            _ => None,
        }
    }
}

impl From<Attach<'_>> for Request {
    fn from(attach: Attach<'_>) -> Request {
        let Attach { consumer, protocol, client_id, clean_start, expiry, credit, settlement, will, .. } =
            attach;
        Request::Attach {
            consumer,
            protocol,
            client_id: client_id.to_owned(),
            clean_start,
            expiry,
            credit,
            settlement,
            will,
        }
    }
}

impl From<Detach> for Request {
    fn from(detach: Detach) -> Request {
        let Detach { consumer, will, expiry, saved } = detach;
        Request::Detach { consumer, will, expiry, saved }
    }
}

impl From<Consume> for Request {
    fn from(consume: Consume) -> Request {
        let Consume { consumer, credit, settlement } = consume;
        Request::Consume { consumer, credit, settlement }
    }
}

impl From<&Subscribe<'_>> for Request {
    fn from(subscribe: &Subscribe<'_>) -> Request {
        let Subscribe {
            consumer,
            share,
            filter,
            qos_max,
            no_local,
            retain_as_published,
            subscription_id,
            retained,
        } = *subscribe;
        let (share, filter) = (share.map(str::to_owned), filter.as_str().to_owned());
        Request::Subscribe {
            consumer,
            share,
            filter,
            qos_max,
            no_local,
            retain_as_published,
            subscription_id,
            retained,
        }
    }
}

impl From<&Follow<'_>> for Request {
    fn from(follow: &Follow<'_>) -> Request {
        let Follow { consumer, filter, qos_max, state, from } = *follow;
        let (filter, from) = (filter.as_str().to_owned(), from.map(str::to_owned));
        Request::Follow { consumer, filter, qos_max, state, from }
    }
}

impl From<&Publish<'_>> for Request {
    fn from(publish: &Publish<'_>) -> Request {
        let Publish { topic, payload, qos, retain, properties, expiry } = *publish;
        let (topic, payload, properties) = (topic.to_vec(), payload.to_vec(), properties.cloned());
        Request::Publish { topic, payload, qos, retain, properties, expiry }
    }
}
