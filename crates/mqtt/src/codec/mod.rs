//! Bytes to packets and back, for MQTT 3.1, 3.1.1 and 5.0 in one code path.
//!
//! Decoding borrows: a [`Packet`] points into the bytes that were read, nothing is copied or allocated. Everything that the
//! specification calls malformed, and every protocol error that a single packet can show, is found here, with one exception for the
//! sake of speed: the topic of a PUBLISH is handed on unchecked, because the broker checks each topic once and remembers it.
//! What depends on what came before (packet identifiers in use, topic aliases, who may send what) is the state machine's.
//!
//! Both directions stand here, so that a server, a client and a bridge use the same functions.
//!
//! ```text
//! bytes ──► frame_length / decode ──► Packet<'_> ──► encode ──► Vec<u8>
//!                                     OutgoingPublish ──► encode_outgoing
//! ```

mod connect;
mod decode;
mod encode;
mod error;
mod exchanges;
mod filters;
mod message;
mod outgoing;
mod packet;
mod properties;
mod property;
mod reader;
mod reason;
mod version;
mod writer;

pub use decode::{SHORT_ACK_BYTES, decode, decode_message, decode_short_ack, frame_length};
pub use encode::{PACKET_BYTES_MAX, encode, encode_ack, encode_pingreq, encode_pingresp, encode_publish};
pub use error::{DecodeError, EncodeError};
pub use exchanges::{encode_suback, encode_subscribe, encode_unsuback, encode_unsubscribe};
pub use filters::{
    RetainHandling, SubscribeFilter, SubscribeFilters, SubscriptionOptions, UnsubscribeFilters,
};
pub use message::{message_properties, properties_of_message};
pub use outgoing::{OutgoingPublish, encode_outgoing};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Password, Publish, SubAck, Subscribe,
    UnsubAck, Unsubscribe, Will,
};
pub use properties::{PropertiesBuffer, PropertiesRef, Property, PropertyId};
pub use reason::{ReasonCode, ReasonCodes};
pub use version::Version;
