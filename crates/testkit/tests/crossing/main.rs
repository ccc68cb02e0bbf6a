//! A message between MQTT and STOMP: the machines of both on one broker, from bytes to bytes.
//!
//! `sides` has a client of each protocol; `rows` the table of docs/reference/mapping.md, each row with a message that proves it;
//! `page` writes the page from the rows; `round_trips` sends whatever a protocol can say across and back.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod durable;
mod limits;
mod page;
mod round_trips;
mod rows;
mod sides;
