//! Those between whom a bridge stands on this side: a device that publishes, and an application that follows.

use crate::{PATIENCE, connect};
use bytes::Bytes;
use std::time::Duration;
use tidegate_bridge::{Delivered, Event, Link, Publishing};
use tidegate_message::{Properties, QoS, TopicFilter};
use tidegate_net::Inside;
use tidegate_protocol::Outcome;
use tokio::io::DuplexStream;
use tokio::time::timeout;

/// Publishes topics and payloads as a device would, and waits for the acknowledgements.
pub async fn publish<T: Into<Bytes>, P: Into<Bytes>>(
    inside: &Inside,
    messages: impl IntoIterator<Item = (T, P)>,
) {
    publish_all(inside, &[], None, messages).await;
}

/// The same with user properties.
pub async fn publish_with<T: Into<Bytes>, P: Into<Bytes>>(
    inside: &Inside,
    user: &[(&str, &str)],
    messages: impl IntoIterator<Item = (T, P)>,
) {
    publish_all(inside, user, None, messages).await;
}

/// The same with a lifetime.
pub async fn publish_for<T: Into<Bytes>, P: Into<Bytes>>(
    inside: &Inside,
    lifetime: Duration,
    messages: impl IntoIterator<Item = (T, P)>,
) {
    publish_all(inside, &[], Some(lifetime), messages).await;
}

async fn publish_all<T: Into<Bytes>, P: Into<Bytes>>(
    inside: &Inside,
    user: &[(&str, &str)],
    expiry: Option<Duration>,
    messages: impl IntoIterator<Item = (T, P)>,
) {
    let user: Vec<_> = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let properties = (!user.is_empty()).then(|| Box::new(Properties { user, ..Properties::default() }));
    let mut link = Link::new(connect(inside)().unwrap());
    let mut count = 0;
    for (topic, payload) in messages {
        let publishing = Publishing {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: properties.clone(),
            expiry,
        };
        link.outbox.publish(count, publishing);
        count += 1;
    }
    link.outbox.flush().await.unwrap();
    for _ in 0..count {
        match timeout(PATIENCE, link.inbox.next()).await.unwrap().unwrap() {
            Event::Published { result, .. } => drop(result.unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// An application that takes everything that a filter selects.
pub struct Follower(Link<DuplexStream>);

impl Follower {
    /// It misses nothing from now on.
    pub async fn new(inside: &Inside, filter: &str) -> Follower {
        let mut link = Link::new(connect(inside)().unwrap());
        let filters = [(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)];
        link.attach("follower", 1000, &filters, false, &mut Vec::new()).await.unwrap();
        Follower(link)
    }

    /// The next message, which it settles.
    pub async fn next(&mut self) -> Delivered {
        loop {
            match timeout(PATIENCE, self.0.inbox.next()).await.expect("a message comes").unwrap() {
                Event::Delivered(delivered) => {
                    self.0.outbox.settle(delivered.tag, Outcome::Accepted);
                    self.0.outbox.flush().await.unwrap();
                    return *delivered;
                }
                Event::Done => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The first value of a user property.
pub fn property(delivered: &Delivered, name: &str) -> Option<String> {
    let user = &delivered.properties.as_ref()?.user;
    user.iter().find(|(key, _)| **key == *name).map(|(_, value)| value.to_string())
}
