//! What a toy's peer has received, read back from the wire.

use super::Toy;

/// A delivery as the peer has received it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of Delivery, which says what they mean")]
pub struct Got {
    pub consumer: u32,
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub redelivered: bool,
    pub attempt: u32,
    pub is_backlog: bool,
    pub tag: Option<u64>,
    pub subscription_ids: Vec<u32>,
    pub token: Option<String>,
    pub is_after_gap: bool,
}

impl Toy {
    /// Takes the whole deliveries that the peer has received since the last call; the beginning of one stays.
    pub fn got(&self) -> Vec<Got> {
        let mut received = self.link.take_received();
        let whole = received.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.link.put_back_received(&received[whole..]);
        received.truncate(whole);
        String::from_utf8(received).expect("text").lines().map(parse_line).collect()
    }

    /// The payloads of what the peer has received since the last call.
    pub fn got_payloads(&self) -> Vec<String> {
        self.got().into_iter().map(|got| got.payload).collect()
    }
}

fn parse_line(line: &str) -> Got {
    let mut fields = line.split('|');
    let mut next = || fields.next().expect("a field");
    let (topic, payload, qos, retain) = (next().to_owned(), next().to_owned(), next(), next() == "true");
    let (consumer, redelivered, tag) = (next(), next() == "true", next());
    let ids = next();
    let mut fields = fields.peekable();
    let attempt = fields.next_if(|field| field.starts_with("attempt="));
    let attempt = attempt.and_then(|field| field.strip_prefix("attempt="));
    let attempt = attempt.map_or(1, |attempt| attempt.parse().expect("a number"));
    let is_backlog = fields.next_if_eq(&"backlog").is_some();
    let (token, is_after_gap) = (fields.next().map(str::to_owned), fields.next() == Some("true"));
    let ids = ids.split(' ').filter(|id| !id.is_empty()).map(|id| id.parse().expect("an id"));
    Got {
        topic,
        payload,
        qos: qos.parse().expect("a level"),
        retain,
        consumer: consumer.parse().expect("a number"),
        redelivered,
        tag: tag.parse().ok(),
        subscription_ids: ids.collect(),
        token,
        is_after_gap,
        is_backlog,
        attempt,
    }
}
