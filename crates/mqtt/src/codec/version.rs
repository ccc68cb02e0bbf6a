//! The protocol versions; a parameter of every codec function, never a second code path.
//!
//! They are ordered: what only 5.0 has is asked for as `version < Version::V5`.

use std::fmt;

/// A version of MQTT as its level number in CONNECT (MQTT 5.0 section 3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, level 3, under the protocol name `MQIsdp`.
    V31 = 3,
    /// MQTT 3.1.1, level 4.
    V3 = 4,
    /// MQTT 5.0, level 5.
    V5 = 5,
}

impl Version {
    /// The version with this level number, or nothing where there is none.
    pub fn from_level(level: u8) -> Option<Version> {
        match level {
            3 => Some(Version::V31),
            4 => Some(Version::V3),
            5 => Some(Version::V5),
            _ => None,
        }
    }

    /// The level number on the wire: 3, 4 or 5.
    pub fn level(self) -> u8 {
        self as u8
    }

    /// The protocol name that begins a CONNECT of this version ([MQTT-3.1.2-1]; MQTT 3.1 section 3.1).
    pub fn protocol_name(self) -> &'static str {
        match self {
            Version::V31 => "MQIsdp",
            Version::V3 | Version::V5 => "MQTT",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Version::V31 => "3.1",
            Version::V3 => "3.1.1",
            Version::V5 => "5.0",
        })
    }
}
