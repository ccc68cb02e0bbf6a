//! The vocabulary that every protocol shares: messages, topics, filters, quality of service; and quantities in options.
//!
//! A protocol translates its own words into these and back; the broker knows only these. Nothing here reads a socket, a
//! clock or a configuration, and nothing here belongs to one protocol: where a text form is needed it is MQTT's
//! (`a/b/c`, `+`, `#`), because that is the canonical form of the one address space.

mod filter;
mod message;
mod pattern;
mod properties;
mod qos;
mod queue_name;
mod topic;
mod units;

pub use filter::{FilterError, FilterLevel, TopicFilter};
pub use message::{Message, Origin, Publisher};
pub use pattern::{Names, PatternError, TopicPattern, Unnamed};
pub use properties::Properties;
pub use qos::QoS;
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicError};
pub use units::{ByteSize, TimeSpan, UnitError};
