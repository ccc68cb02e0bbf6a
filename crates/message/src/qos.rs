//! Quality of service: how hard a delivery tries.
//!
//! The three levels are MQTT's; the other protocols map onto them (AMQP transient is level 0, persistent level 1).

use std::fmt;

/// How hard a delivery tries (MQTT 5.0 section 4.3). Ordered: a higher level promises more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum QoS {
    /// Sent once, never acknowledged; lost with the connection.
    #[default]
    AtMostOnce = 0,
    /// Sent until acknowledged; may arrive more than once.
    AtLeastOnce = 1,
    /// Sent until acknowledged, and recognised when it arrives again.
    ExactlyOnce = 2,
}

impl QoS {
    /// All levels, lowest first; a level's position is its number on the wire.
    pub const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    /// The level with this number on the wire, or nothing for a number above 2.
    pub fn from_number(number: u8) -> Option<QoS> {
        QoS::ALL.get(usize::from(number)).copied()
    }

    /// The level's number on the wire: 0, 1 or 2.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(formatter)
    }
}
