//! CONNECT and CONNACK: what a client asks for, and what it is granted (MQTT 5.0 sections 3.1 and 3.2).
//!
//! Who the client is, is found out between the two, in `authenticating`.

use crate::authenticating::{Candidate, Turn};
use crate::codec::{
    Connect, PropertiesBuffer, Property, ReasonCode, Version, Will as WillPacket, message_properties,
};
use crate::connected::Connected;
use crate::inbound::{NOT_TEXT, is_payload_as_told};
use crate::options::MqttOptions;
use crate::reason::fault;
use crate::saved::Saved;
use crate::wire::Wire;
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::Topic;
use tidegate_protocol::{Attached, Close, Context, Output, Will};

/// What a session expiry interval of "never" is on the wire (section 3.1.2.11.2).
const NEVER: u32 = u32::MAX;

/// What is known about a client before its CONNECT, and what it is let in by.
#[derive(Debug)]
pub(crate) struct Door {
    /// The listener's options.
    pub(crate) options: Arc<MqttOptions>,
    /// Tells the generated name of this client from those of another process; others cannot guess it.
    pub(crate) connection_secret: u64,
    /// Tells generated names of this process from each other.
    pub(crate) connection: u64,
    /// By when the CONNECT must be accepted.
    pub(crate) deadline: Instant,
}

/// A CONNECT whose session has been asked for.
#[derive(Debug)]
pub(crate) struct Opening {
    /// How to write to the client.
    pub(crate) wire: Wire,
    /// The name of the session.
    pub(crate) client_id: Box<str>,
    id_is_assigned: bool,
    /// Seconds; 0 for none.
    keep_alive_seconds: u16,
    keep_alive_is_ours: bool,
    pub(crate) expiry: Duration,
    pub(crate) credit: u16,
    /// The highest alias that may be set towards the client.
    pub(crate) topic_alias_max: u16,
    asks_response_information: bool,
    /// The method of an enhanced authentication, which the client has to keep to.
    pub(crate) method: Option<Box<str>>,
    /// What the method says last; goes out with the CONNACK.
    pub(crate) last_words: Vec<u8>,
}

impl Door {
    /// Reads a CONNECT.
    pub(crate) fn read(&self, connect: &Connect<'_>) -> Result<Candidate, Close> {
        let will = connect.will.as_ref().map(|will| read_will(will, &self.options)).transpose()?;
        let (opening, clean_start) = (self.opening(connect)?, connect.clean_start);
        Ok(Candidate { opening, clean_start, will, turn: Turn::Broker })
    }

    fn opening(&self, connect: &Connect<'_>) -> Result<Opening, Close> {
        let (keep_alive_seconds, keep_alive_is_ours) = self.keep_alive(connect);
        let receive_maximum = connect.properties.receive_maximum().map_or(u16::MAX, NonZeroU16::get);
        let topic_alias_max = connect.properties.topic_alias_maximum().unwrap_or(0);
        Ok(Opening {
            wire: Wire::of(connect),
            client_id: self.client_id(connect)?,
            id_is_assigned: connect.client_id.is_empty(),
            keep_alive_seconds,
            keep_alive_is_ours,
            expiry: session_expiry(connect),
            // [MQTT-3.3.4-9]
            credit: receive_maximum.min(self.options.in_flight_max()),
            // [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
            topic_alias_max: topic_alias_max.min(self.options.topic_alias_max_outgoing),
            // [MQTT-3.1.2-28]
            asks_response_information: connect.properties.request_response_information().unwrap_or(false),
            method: connect.properties.authentication_method().map(Box::from),
            last_words: Vec::new(),
        })
    }

    fn client_id(&self, connect: &Connect<'_>) -> Result<Box<str>, Close> {
        match (connect.client_id, connect.version) {
            // MQTT 3.1 section 3.1. Identifiers of more than 23 characters are taken although it refuses them: they are common,
            // and the later versions allow them.
            ("", Version::V31) => {
                Err(fault(ReasonCode::ClientIdentifierNotValid, "MQTT 3.1 has no empty client identifier"))
            }
            // [MQTT-3.1.1/3.1.3-8]: only a session that ends with the connection may do without a name.
            ("", Version::V3) if !connect.clean_start => {
                let detail = "an empty client identifier needs a clean session";
                Err(fault(ReasonCode::ClientIdentifierNotValid, detail))
            }
            // [MQTT-3.1.3-6] [MQTT-3.1.3-7]
            ("", _) => Ok(format!("auto-{:016x}-{:x}", self.connection_secret, self.connection).into()),
            (named, _) => Ok(named.into()),
        }
    }

    /// The keep alive that is in force, and whether the client has to be told so ([MQTT-3.1.2-21]).
    fn keep_alive(&self, connect: &Connect<'_>) -> (u16, bool) {
        let asked = connect.keep_alive_seconds;
        match self.options.keep_alive_seconds_max() {
            Some(longest) if connect.version == Version::V5 && (asked == 0 || asked > longest) => {
                (longest, true)
            }
            _ => (asked, false),
        }
    }
}

impl Opening {
    /// Becomes the connected phase with the session, and says so to the client. An error still leaves an attached session.
    pub(crate) fn complete(
        self,
        attached: Attached,
        options: &MqttOptions,
        context: &mut Context<'_>,
    ) -> (Connected, Result<(), Close>) {
        // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
        let outcome = self.greet(&attached, options, context.output);
        let mut connected = Connected::new(self, options, attached.is_durable, outcome.is_ok(), context.now);
        let outcome = outcome.and_then(|()| match attached.present {
            true => {
                let saved = Saved::from_pieces(&attached.saved, attached.is_durable);
                connected.resume(&saved, context)
            }
            false => Ok(()),
        });
        (connected, outcome)
    }

    /// CONNACK.
    fn greet(&self, attached: &Attached, options: &MqttOptions, output: &mut Output) -> Result<(), Close> {
        if self.wire.version < Version::V5 {
            return self.wire.accept(attached.present, &PropertiesBuffer::new(), output);
        }
        let mut properties = self.granted(attached, options);
        if let Some(information) = self.response_information(options) {
            let plain = properties.clone();
            // [MQTT-3.1.2-24]: what nobody has to know is left out where it does not fit.
            let longer = properties.push(Property::ResponseInformation(&information)).is_ok();
            if longer && self.wire.accept(attached.present, &properties, output).is_ok() {
                return Ok(());
            }
            properties = plain;
        }
        self.wire.accept(attached.present, &properties, output)
    }

    /// The topic below which the client may wait for answers (section 3.2.2.3.15), where it asked for it.
    fn response_information(&self, options: &MqttOptions) -> Option<String> {
        let template = options.response_information.as_ref().filter(|_| self.asks_response_information)?;
        // An identifier that is more than one level, or none, would point to the topics of others.
        let is_level = !self.client_id.contains(['/', '+', '#']);
        (is_level || !template.contains("%c")).then(|| template.replace("%c", &self.client_id))
    }

    /// What the CONNACK of MQTT 5.0 tells (section 3.2.2.3). What is not told has its default: wildcards, subscription identifiers,
    /// shared subscriptions, retained messages and QoS 2 are available.
    fn granted(&self, attached: &Attached, options: &MqttOptions) -> PropertiesBuffer {
        let packet_bytes_max = NonZeroU32::new(options.packet_limit() as u32);
        let properties = [
            expiry_change(self.expiry, attached.expiry).map(Property::SessionExpiryInterval),
            NonZeroU16::new(options.receive_max()).map(Property::ReceiveMaximum),
            packet_bytes_max.map(Property::MaximumPacketSize),
            self.id_is_assigned.then_some(Property::AssignedClientIdentifier(&self.client_id)),
            Some(options.topic_alias_max).filter(|maximum| *maximum > 0).map(Property::TopicAliasMaximum),
            self.keep_alive_is_ours.then_some(Property::ServerKeepAlive(self.keep_alive_seconds)),
            // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
            self.method.as_deref().map(Property::AuthenticationMethod),
            (!self.last_words.is_empty()).then_some(Property::AuthenticationData(&self.last_words)),
        ];
        let mut buffer = PropertiesBuffer::new();
        // Each of them is there once and none has a value that the codec refuses, so none is lost.
        let _ = buffer.extend(properties.into_iter().flatten());
        buffer
    }

    /// One and a half times the keep alive ([MQTT-3.1.2-22]); nothing when it is switched off.
    pub(crate) fn silence_max(&self) -> Option<Duration> {
        match self.keep_alive_seconds {
            0 => None,
            seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
        }
    }

    /// Whether the session was to end with its connection, which a DISCONNECT may not change any more (section 3.14.2.2.2).
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.expiry.is_zero()
    }
}

/// How long the session is to outlive the connection (section 3.1.2.11.2; in 3.1.1 Clean Session, section 3.1.2.4).
fn session_expiry(connect: &Connect<'_>) -> Duration {
    match (connect.version, connect.clean_start) {
        (Version::V31 | Version::V3, true) => Duration::ZERO,
        (Version::V31 | Version::V3, false) => Duration::MAX,
        (Version::V5, _) => expiry_duration(connect.properties.session_expiry_interval().unwrap_or(0)),
    }
}

/// A session expiry interval as a duration.
pub(crate) fn expiry_duration(seconds: u32) -> Duration {
    match seconds {
        NEVER => Duration::MAX,
        seconds => Duration::from_secs(seconds.into()),
    }
}

/// The interval that the client has to be told because the broker changed it (section 3.2.2.3.2).
fn expiry_change(asked: Duration, granted: Duration) -> Option<u32> {
    (asked != granted).then(|| u32::try_from(granted.as_secs()).unwrap_or(NEVER))
}

fn read_will(will: &WillPacket<'_>, options: &MqttOptions) -> Result<Will, Close> {
    if options.check_payload_format && !is_payload_as_told(&will.properties, will.payload) {
        return Err(fault(ReasonCode::PayloadFormatInvalid, format!("the will: {NOT_TEXT}")));
    }
    let topic = Topic::parse(will.topic.as_bytes())
        .map_err(|error| fault(ReasonCode::TopicNameInvalid, format!("the will: {error}")))?;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(Will {
        topic,
        payload: Bytes::copy_from_slice(will.payload),
        qos: will.qos,
        retain: will.retain,
        properties: message_properties(&will.properties),
        expiry: will.properties.message_expiry_interval().map(seconds),
        delay: will.properties.will_delay_interval().map_or(Duration::ZERO, seconds),
    })
}
