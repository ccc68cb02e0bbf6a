//! The two protocol versions; a parameter of every codec function, never a second code path.

use std::fmt;

/// A version of MQTT as its level number in CONNECT (MQTT 5.0 section 3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V3 = 4,
    /// MQTT 5.0, level 5.
    V5 = 5,
}

impl Version {
    /// The version with this level number, or nothing where there is none.
    pub fn from_level(level: u8) -> Option<Version> {
        match level {
            4 => Some(Version::V3),
            5 => Some(Version::V5),
            _ => None,
        }
    }

    /// The level number on the wire: 4 or 5.
    pub fn level(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Version::V3 => "3.1.1",
            Version::V5 => "5.0",
        })
    }
}
