//! An MQTT client that lives with broken connections: every trouble is an error of the one connection, and nothing is sent twice.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Connect, PACKET_BYTES_MAX, Packet, PacketType, PropertiesBuffer, PropertiesRef, Property, Publish,
    SubscribeFilter, SubscriptionOptions, Version, decode, encode, encode_ack, encode_publish,
    encode_subscribe,
};

use super::scene::PATIENCE;

const READ_BYTES: usize = 64 << 10;
/// What may be under way to a client with a session, and comes again when its connection ends.
const UNDER_WAY_MAX: NonZeroU16 = NonZeroU16::new(500).expect("it is not 0");
/// The user property in which a gateway's id travels.
const ID_PROPERTY: &str = "tidegate-id";

/// What becomes of the session at the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Kept,
    Dropped,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    version: Version,
    input: Vec<u8>,
    last_id: u16,
}

/// What the broker has sent.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Whether it has taken the message with this packet identifier.
    Acknowledged(NonZeroU16, bool),
    /// A message, which is acknowledged when it has been dealt with.
    Message(Message),
    /// An answer to something else.
    Other,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) payload: Vec<u8>,
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) is_again: bool,
    /// The id that a gateway has given it.
    pub(crate) id: Option<String>,
}

impl Client {
    /// Connects, and waits until it is let in.
    pub(crate) fn connect(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        session: Session,
    ) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut properties = PropertiesBuffer::new();
        if version == Version::V5 && session == Session::Kept {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).expect("the property is valid");
            properties.push(Property::ReceiveMaximum(UNDER_WAY_MAX)).expect("the property is valid");
        }
        let connect = Connect {
            version,
            clean_start: session == Session::Dropped,
            keep_alive_seconds: 0,
            properties: properties.as_ref(),
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, version, &Packet::Connect(connect), PACKET_BYTES_MAX)
            .expect("the CONNECT is valid");
        let mut client = Client { stream, version, input: Vec::new(), last_id: 0 };
        client.stream.write_all(&bytes)?;
        let is_in = client.read(PATIENCE, |packet| match packet {
            Packet::ConnAck(connack) => !connack.reason.is_failure(),
            _ => false,
        })?;
        match is_in {
            Some(true) => Ok(client),
            _ => Err(io::Error::other("the broker does not let the client in")),
        }
    }

    /// Asks for a filter.
    pub(crate) fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let id = self.next_id();
        let filters = [SubscribeFilter { filter, options: SubscriptionOptions::at_most(QoS::AtLeastOnce) }];
        let (mut bytes, properties) = (Vec::new(), PropertiesRef::EMPTY);
        encode_subscribe(&mut bytes, self.version, id, &properties, filters.into_iter(), PACKET_BYTES_MAX)
            .expect("the SUBSCRIBE is valid");
        self.stream.write_all(&bytes)
    }

    /// Sends a message at QoS 1.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        id: Option<&str>,
    ) -> io::Result<NonZeroU16> {
        let packet_id = self.next_id();
        let mut properties = PropertiesBuffer::new();
        if let Some(id) = id {
            properties.push(Property::UserProperty((ID_PROPERTY, id))).expect("the property is valid");
        }
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: topic.as_bytes(),
            packet_id: Some(packet_id),
            properties: properties.as_ref(),
            payload,
        };
        let mut bytes = Vec::new();
        encode_publish(&mut bytes, self.version, &publish, PACKET_BYTES_MAX).expect("the PUBLISH is valid");
        self.stream.write_all(&bytes)?;
        Ok(packet_id)
    }

    /// Acknowledges a message.
    pub(crate) fn acknowledge(&mut self, packet_id: NonZeroU16) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_ack(&mut bytes, PacketType::PubAck, packet_id);
        self.stream.write_all(&bytes)
    }

    /// What the broker says next; nothing where it says nothing within this time.
    pub(crate) fn next(&mut self, patience: Duration) -> io::Result<Option<Heard>> {
        self.read(patience, |packet| match packet {
            Packet::PubAck(ack) => Heard::Acknowledged(ack.packet_id, !ack.reason.is_failure()),
            Packet::Publish(publish) => {
                let mut user = publish.properties.user_properties();
                Heard::Message(Message {
                    payload: publish.payload.to_vec(),
                    packet_id: publish.packet_id,
                    is_again: publish.dup,
                    id: user.find(|(name, _)| *name == ID_PROPERTY).map(|(_, id)| id.to_owned()),
                })
            }
            _ => Heard::Other,
        })
    }

    fn next_id(&mut self) -> NonZeroU16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        NonZeroU16::new(self.last_id).expect("it is never 0")
    }

    fn read<T>(&mut self, patience: Duration, handle: impl Fn(&Packet<'_>) -> T) -> io::Result<Option<T>> {
        loop {
            let found = decode(&self.input, self.version, PACKET_BYTES_MAX).map_err(io::Error::other)?;
            if let Some((packet, used)) = found {
                let result = handle(&packet);
                self.input.drain(..used);
                return Ok(Some(result));
            }
            if !read_more(&mut self.stream, &mut self.input, patience)? {
                return Ok(None);
            }
        }
    }
}

/// Reads what there is; false where nothing comes within this time. The end is an error.
pub(crate) fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>, patience: Duration) -> io::Result<bool> {
    let mut piece = [0; READ_BYTES];
    stream.set_read_timeout(Some(patience))?;
    match stream.read(&mut piece) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            input.extend_from_slice(&piece[..count]);
            Ok(true)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
