//! What a client says to a broker and hears from it: no socket, no clock, no `async`.
//!
//! ```text
//!  ┌────────────┐ CONNACK ┌─────────────┐ SUBACK ┌──────┐
//!  │ Connecting ├────────►│ Subscribing ├───────►│ Open │
//!  └─────┬──────┘         └─────────────┘        └──▲───┘
//!        └───────────── nothing to receive ─────────┘
//!
//!  Subscribing becomes Open without a SUBACK as well where as much has come as may be without an acknowledgement.
//! ```

use crate::arrivals::{Arrivals, Room};
use crate::options::MqttOptions;
use crate::outbound::{Publication, publication};
use crate::strangers::{Strangers, filters_of};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    ID_PROPERTY, Incoming, Lost, Order, Outgoing, PATH_PROPERTY, Report, Taken, UNSETTLED_MAX, Verdict,
};
use tidegate_message::{Properties, QoS, Topic};
use tidegate_mqtt::codec::{
    Ack, ConnAck, Connect, DecodeError, Disconnect, EncodeError, Packet, PacketType, Password,
    PropertiesBuffer, PropertiesRef, Property, Publish, ReasonCode, RetainHandling, SubAck, SubscribeFilter,
    SubscriptionOptions, Version, decode, encode, encode_ack, encode_pingreq, encode_subscribe,
    encode_unsubscribe, message_properties,
};

/// What the broker may hear nothing for before it gives the client up, in seconds.
pub(crate) const KEEP_ALIVE_SECONDS: u16 = 60;
/// Unsent bytes above which no more is asked of the conversation.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// How many packet identifiers messages may have at a time: one is left for UNSUBSCRIBE.
const IDS_MAX: usize = u16::MAX as usize - 1;
/// The identifier of the only SUBSCRIBE of a connection.
const SUBSCRIBE_ID: NonZeroU16 = NonZeroU16::MAX;

/// One connection's conversation.
pub(crate) struct Conversation {
    options: Arc<MqttOptions>,
    phase: Phase,
    /// Bytes for the broker.
    pub(crate) output: Vec<u8>,
    /// What the bridge is to hear.
    pub(crate) reports: VecDeque<Report>,
    granted: Granted,
    /// Messages without PUBACK: their tickets by their identifiers.
    sent: HashMap<NonZeroU16, u64>,
    /// Messages for which the broker has no room before it acknowledges others. What is ordered behind them does not wait for them.
    held: VecDeque<Box<Outgoing>>,
    last_id: u16,
    arrivals: Arrivals,
    /// Whether what was read ends at a message for which there is no room, and until when it waits for that at the most.
    stopped: Option<Option<Instant>>,
    strangers: Strangers,
    scratch: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Subscribing,
    Open,
}

/// What the broker has granted.
#[derive(Debug, Clone, Copy)]
struct Granted {
    receive_maximum: usize,
    packet_bytes_max: usize,
    qos_max: QoS,
    retains: bool,
}

impl Conversation {
    /// A conversation that begins with CONNECT to the address of this number.
    pub(crate) fn new(options: Arc<MqttOptions>, address: usize) -> Result<Conversation, Lost> {
        let granted = Granted {
            receive_maximum: IDS_MAX,
            packet_bytes_max: usize::MAX,
            qos_max: QoS::ExactlyOnce,
            retains: true,
        };
        let mut conversation = Conversation {
            arrivals: Arrivals::new(options.receives.len()),
            options,
            phase: Phase::Connecting,
            output: Vec::new(),
            reports: VecDeque::new(),
            granted,
            sent: HashMap::new(),
            held: VecDeque::new(),
            last_id: 0,
            stopped: None,
            strangers: Strangers::default(),
            scratch: String::new(),
        };
        conversation.connect(address).map_err(|error| Lost::Refused(error.to_string()))?;
        Ok(conversation)
    }

    /// What is received has to wait there while nobody is connected, so it needs a session that stays. What is forwarded does not: this side
    /// knows what has no answer.
    fn connect(&mut self, address: usize) -> Result<(), EncodeError> {
        let options = self.options.clone();
        let keeps_session = !options.receives.is_empty();
        let mut properties = PropertiesBuffer::new();
        if options.version == Version::V5 {
            properties.push(Property::ReceiveMaximum(receive_maximum()))?;
            // A larger message would break the connection each time it comes again.
            if let Some(max) = u32::try_from(options.packet_bytes_max).ok().and_then(NonZeroU32::new) {
                properties.push(Property::MaximumPacketSize(max))?;
            }
            if keeps_session {
                properties.push(Property::SessionExpiryInterval(u32::MAX))?;
            }
        }
        let login = options.addresses.get(address);
        let connect = Connect {
            version: options.version,
            clean_start: !keeps_session,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
            properties: properties.as_ref(),
            client_id: &options.client_id,
            will: None,
            user_name: login.and_then(|login| login.user.as_deref()),
            password: login.and_then(|login| login.password.as_ref()).map(|secret| Password(secret.expose())),
        };
        encode(&mut self.output, options.version, &Packet::Connect(connect), usize::MAX)
    }

    /// Whether the bridge may order more.
    pub(crate) fn can_take_orders(&self) -> bool {
        self.phase == Phase::Open && self.output.len() < OUTPUT_BYTES_MAX
    }

    /// Whether more may be heard: what was received and is not settled is bounded, and so is what the bridge has not heard yet.
    pub(crate) fn can_listen(&self) -> bool {
        self.stopped.is_none() && self.reports.len() < UNSETTLED_MAX
    }

    /// When there is something to be done though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.stopped.flatten()
    }

    /// Whether nothing is on its way in either direction.
    pub(crate) fn is_finished(&self) -> bool {
        self.sent.is_empty() && self.held.is_empty() && self.output.is_empty()
    }

    /// Takes the leave of a client that means it.
    pub(crate) fn say_goodbye(&mut self) {
        let (reason, properties) = (ReasonCode::Success, PropertiesRef::default());
        let packet = Packet::Disconnect(Disconnect { reason, properties });
        // Success without properties fits into every packet.
        let _ = encode(&mut self.output, self.options.version, &packet, usize::MAX);
    }

    pub(crate) fn ping(&mut self) {
        encode_pingreq(&mut self.output);
    }

    /// Handles what the bridge orders.
    pub(crate) fn handle_order(&mut self, order: Order, now: Instant) {
        match order {
            Order::Send(outgoing) => {
                self.held.push_back(outgoing);
                self.send_held(now);
            }
            Order::Settle { ticket, taken } => {
                self.arrivals.settle(ticket, taken);
                self.acknowledge();
            }
            Order::Probe => self.ping(),
        }
    }

    /// Sends what the broker has room for: what was received is settled, and questions are asked, whether or not it has.
    fn send_held(&mut self, now: Instant) {
        while self.sent.len() < self.granted.receive_maximum
            && let Some(outgoing) = self.held.pop_front()
        {
            if let Err(verdict) = self.publish(&outgoing, now) {
                self.reports.push_back(Report::Verdict { ticket: outgoing.ticket, verdict });
            }
        }
    }

    fn publish(&mut self, outgoing: &Outgoing, now: Instant) -> Result<(), Verdict> {
        let options = self.options.clone();
        let mut scratch = std::mem::take(&mut self.scratch);
        let publication = publication(&options, outgoing, &mut scratch, now);
        self.scratch = scratch;
        let Publication { topic, qos, retain, properties } = publication?;
        let packet_id = (qos > QoS::AtMostOnce).then(|| self.next_id());
        let publish = Publish {
            dup: false,
            qos,
            retain: retain && self.granted.retains,
            topic: topic.as_str().as_bytes(),
            packet_id,
            properties: properties.as_ref(),
            payload: &outgoing.payload,
        };
        let packet = Packet::Publish(publish);
        encode(&mut self.output, options.version, &packet, self.granted.packet_bytes_max)
            .map_err(|error| Verdict::Never { label: "too_large", reason: error.to_string() })?;
        match packet_id {
            Some(packet_id) => drop(self.sent.insert(packet_id, outgoing.ticket)),
            // Nobody confirms level 0.
            None => {
                let verdict = Verdict::Confirmed;
                self.reports.push_back(Report::Verdict { ticket: outgoing.ticket, verdict });
            }
        }
        Ok(())
    }

    /// An identifier that is not in use; there is one, since fewer may be without an answer than there are.
    fn next_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let is_free = |id: &NonZeroU16| !self.sent.contains_key(id) && !self.strangers.uses(*id);
            if let Some(id) = NonZeroU16::new(self.last_id).filter(is_free) {
                return id;
            }
        }
    }

    /// Handles every whole packet at the front of what has come, up to a message for which there is no room; returns how many bytes that took.
    pub(crate) fn handle_bytes(&mut self, input: &[u8], now: Instant) -> Result<usize, Lost> {
        let (version, limit) = (self.options.version, self.options.packet_bytes_max);
        let broken = |error: DecodeError| Lost::Broken(format!("the broker sends what is no MQTT: {error}"));
        let mut rest = input;
        self.stopped = None;
        while self.reports.len() < UNSETTLED_MAX
            && let Some((packet, bytes)) = decode(rest, version, limit).map_err(broken)?
        {
            self.handle_packet(&packet, now)?;
            if self.stopped.is_some() {
                break;
            }
            rest = rest.get(bytes..).unwrap_or_default();
        }
        Ok(input.len() - rest.len())
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, now: Instant) -> Result<(), Lost> {
        match (self.phase, packet) {
            (Phase::Connecting, Packet::ConnAck(connack)) => self.handle_connack(connack),
            (Phase::Subscribing | Phase::Open, Packet::SubAck(suback)) => self.handle_suback(suback),
            (Phase::Subscribing | Phase::Open, Packet::Publish(publish)) => self.handle_publish(publish, now),
            (Phase::Subscribing | Phase::Open, Packet::UnsubAck(ack)) => {
                self.strangers.handle_unsuback(ack.packet_id);
                Ok(())
            }
            (Phase::Open, Packet::PubAck(ack)) => {
                self.handle_puback(ack, now);
                Ok(())
            }
            (Phase::Subscribing | Phase::Open, Packet::PingResp) => {
                self.reports.push_back(Report::RoundTrip);
                Ok(())
            }
            (_, Packet::Disconnect(disconnect)) => {
                let why = disconnect.properties.reason_string().unwrap_or_default();
                Err(Lost::Broken(format!("the broker disconnects: {} {why}", disconnect.reason.label())))
            }
            (_, packet) => {
                Err(Lost::Broken(format!("the broker sends a {} here", packet.packet_type().name())))
            }
        }
    }

    fn handle_connack(&mut self, connack: &ConnAck<'_>) -> Result<(), Lost> {
        if connack.reason.is_failure() {
            let why = connack.properties.reason_string().unwrap_or_default();
            let text = format!("the broker refuses the connection: {} {why}", connack.reason.label());
            let is_passing = matches!(connack.reason, ReasonCode::ServerBusy | ReasonCode::ServerUnavailable);
            return Err(if is_passing { Lost::Broken(text) } else { Lost::Refused(text) });
        }
        let properties = &connack.properties;
        self.granted = Granted {
            receive_maximum: properties
                .receive_maximum()
                .map_or(IDS_MAX, |max| usize::from(max.get()).min(IDS_MAX)),
            packet_bytes_max: properties.maximum_packet_size().map_or(usize::MAX, |max| max.get() as usize),
            qos_max: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retains: properties.retain_available().unwrap_or(true),
        };
        if self.granted.qos_max == QoS::AtMostOnce && !self.options.forwards.is_empty() {
            return Err(Lost::Refused(
                "the broker takes messages at level 0 only and so confirms none".to_owned(),
            ));
        }
        match self.options.receives.is_empty() {
            true => self.open(),
            false => self.subscribe().map_err(|error| Lost::Refused(error.to_string()))?,
        }
        Ok(())
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.reports.push_back(Report::Ready);
    }

    fn subscribe(&mut self) -> Result<(), EncodeError> {
        self.phase = Phase::Subscribing;
        let options = self.options.clone();
        let filters = options.receives.iter().map(|received| SubscribeFilter {
            filter: received.filter.as_str(),
            options: SubscriptionOptions {
                // What this gateway forwards itself comes back only where both directions overlap.
                no_local: !received.filter.as_str().starts_with("$share/"),
                retain_as_published: true,
                retain_handling: RetainHandling::SendIfNew,
                ..SubscriptionOptions::at_most(received.qos_max.min(QoS::AtLeastOnce))
            },
        });
        let properties = PropertiesRef::default();
        let limit = self.granted.packet_bytes_max;
        encode_subscribe(&mut self.output, options.version, SUBSCRIBE_ID, &properties, filters, limit)
    }

    fn handle_suback(&mut self, suback: &SubAck<'_>) -> Result<(), Lost> {
        let refused =
            suback.reasons.iter().zip(&self.options.receives).find(|(reason, _)| reason.is_failure());
        if let Some((reason, received)) = refused {
            let filter = received.filter.as_str();
            return Err(Lost::Refused(format!(
                "the broker refuses the filter `{filter}`: {}",
                reason.label()
            )));
        }
        if self.phase == Phase::Subscribing {
            self.open();
        }
        Ok(())
    }

    fn handle_puback(&mut self, ack: &Ack<'_>, now: Instant) {
        let Some(ticket) = self.sent.remove(&ack.packet_id) else { return };
        let reason = || match ack.properties.reason_string() {
            Some(text) => format!("{}: {text}", ack.reason.label()),
            None => ack.reason.label().to_owned(),
        };
        let verdict = match ack.reason {
            code if !code.is_failure() => Verdict::Confirmed,
            ReasonCode::NotAuthorized => Verdict::Never { label: "not_authorised", reason: reason() },
            ReasonCode::TopicNameInvalid | ReasonCode::PayloadFormatInvalid => {
                Verdict::Never { label: "not_expressible", reason: reason() }
            }
            _ => Verdict::NotNow(reason()),
        };
        self.reports.push_back(Report::Verdict { ticket, verdict });
        self.send_held(now);
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, now: Instant) -> Result<(), Lost> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(Lost::Broken("the broker sends at a level that nobody has subscribed".to_owned()));
        }
        let topic = Topic::parse(publish.topic).ok();
        let lane = topic.as_ref().and_then(|topic| self.lane_of(topic));
        match (self.arrivals.room(lane, publish.packet_id, now), lane) {
            (Room::Later(until), _) => self.stopped = Some(until),
            (Room::Yes, Some(lane)) => {
                let ticket = self.arrivals.note(lane, publish.packet_id);
                let incoming = incoming(lane, ticket, publish);
                self.reports.push_back(Report::Received(Box::new(incoming)));
            }
            (Room::No, Some(lane)) => self.reports.push_back(Report::Dropped {
                lane,
                label: "no_room",
                reason: "a message at level 0 found no room: the receive cannot keep what it has".to_owned(),
            }),
            (_, None) => self.handle_stranger(topic.as_ref(), publish.packet_id),
        }
        // A broker may send all of a session's messages before its SUBACK, some more than they were asked for: nothing of it could be acknowledged
        // before the bridge is told that the connection stands, and the SUBACK behind it could not be read before something is acknowledged.
        if self.phase == Phase::Subscribing && (self.stopped.is_some() || self.arrivals.is_full()) {
            self.open();
        }
        Ok(())
    }

    /// The first receive that selects a topic.
    fn lane_of(&self, topic: &Topic) -> Option<usize> {
        self.options.receives.iter().position(|received| selects(&received.filter, topic))
    }

    /// Handles a message that no receive selects: the session has a subscription of an earlier configuration, which is left where it can be told.
    fn handle_stranger(&mut self, topic: Option<&Topic>, packet_id: Option<NonZeroU16>) {
        let shown = topic.map(Topic::as_str).unwrap_or_default();
        let reason = format!(
            "a message to `{shown}` is for no receive: the session there has a subscription from before"
        );
        self.reports.push_back(Report::Dropped { lane: 0, label: "not_selected", reason });
        if let Some(packet_id) = packet_id {
            self.arrivals.note_unwanted(packet_id);
            self.acknowledge();
        }
        if let Some(topic) = topic.filter(|_| self.strangers.may_leave()) {
            let (id, version, limit) = (self.next_id(), self.options.version, self.granted.packet_bytes_max);
            let (none, filters) = (PropertiesRef::default(), filters_of(topic.as_str()));
            let filters = filters.iter().map(String::as_str);
            if encode_unsubscribe(&mut self.output, version, id, &none, filters, limit).is_ok() {
                self.strangers.note_leaving(id);
            }
        }
    }

    fn acknowledge(&mut self) {
        while let Some((packet_id, taken)) = self.arrivals.next_settled() {
            match (taken, self.options.version) {
                (Taken::Never, Version::V5) => self.refuse(packet_id),
                _ => encode_ack(&mut self.output, PacketType::PubAck, packet_id),
            }
        }
    }

    fn refuse(&mut self, packet_id: NonZeroU16) {
        let reason = ReasonCode::ImplementationSpecificError;
        let ack = Ack { packet_id, reason, properties: PropertiesRef::default() };
        let packet = Packet::PubAck(ack);
        if encode(&mut self.output, self.options.version, &packet, self.granted.packet_bytes_max).is_err() {
            encode_ack(&mut self.output, PacketType::PubAck, packet_id);
        }
    }
}

fn receive_maximum() -> NonZeroU16 {
    u16::try_from(UNSETTLED_MAX / 2).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

fn incoming(lane: usize, ticket: u64, publish: &Publish<'_>) -> Incoming {
    let mut properties = message_properties(&publish.properties).unwrap_or_default();
    let (id, path) = (take(&mut properties, ID_PROPERTY), take(&mut properties, PATH_PROPERTY));
    let expiry = publish.properties.message_expiry_interval();
    let topic = String::from_utf8_lossy(publish.topic).into_owned();
    Incoming {
        lane,
        ticket,
        place: vec![("topic", topic)],
        payload: Bytes::copy_from_slice(publish.payload),
        qos: publish.qos,
        retain: publish.retain,
        properties: (!properties.is_empty()).then_some(properties),
        expires_in: expiry.map(|seconds| Duration::from_secs(seconds.into())),
        id,
        path,
    }
}

/// Whether a subscription selects a topic; of a shared one that is the filter behind its name.
fn selects(filter: &tidegate_message::TopicFilter, topic: &Topic) -> bool {
    match filter.as_str().strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((_, shared)) => tidegate_message::TopicFilter::parse_mqtt(shared.as_bytes())
            .is_ok_and(|shared| shared.matches(topic)),
        None => filter.matches(topic),
    }
}

/// Takes the value of a user property out.
fn take(properties: &mut Properties, name: &str) -> Option<Box<str>> {
    let at = properties.user.iter().position(|(known, _)| **known == *name)?;
    let value = properties.user.remove(at).1;
    properties.user.retain(|(known, _)| **known != *name);
    Some(value)
}

#[cfg(test)]
mod tests;
