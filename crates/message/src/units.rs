//! Durations and sizes as people write them: a whole number directly followed by its unit.
//!
//! This is the text form of quantities in every option, the gateway's own and those of each protocol; it stands here because
//! protocols do not know the configuration. A bare number is refused on purpose: `timeout = 30` means seconds to one reader
//! and milliseconds to the next. Fractions are refused as well, because every one of them can be written exactly with a
//! smaller unit. What range makes sense is not known here: each option checks its own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// One kind of quantity: how it is written, and how to explain that.
#[derive(Clone, Copy)]
struct Scale {
    /// Completes "expected …".
    expected: &'static str,
    /// The unit that somebody who wrote a bare number probably meant.
    usual_unit: &'static str,
    /// Names of the units and what they multiply by, in the order in which printing tries them.
    units: &'static [(&'static str, u64)],
}

/// In milliseconds, largest unit first, so that printing finds the shortest exact form.
const TIME: Scale = Scale {
    expected: "a duration with its unit, such as \"30s\"",
    usual_unit: "s",
    units: &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)],
};

/// In bytes; binary units first, so that printing prefers them where both are exact.
const SIZE: Scale = Scale {
    expected: "a size with its unit, such as \"64MiB\"",
    usual_unit: "B",
    units: &[
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
        ("B", 1),
    ],
};

/// Why a duration or a size could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text does not begin with a digit.
    #[error("expected a whole number followed by a unit ({units})")]
    NoNumber {
        /// The units that exist, for the reader.
        units: String,
    },
    /// The text begins with a minus sign.
    #[error("must not be negative")]
    Negative,
    /// The number has a decimal point.
    #[error("fractions are not supported; use a smaller unit ({units})")]
    Fraction {
        /// The units that exist.
        units: String,
    },
    /// A number without a unit.
    #[error("a unit is missing: one of {units}")]
    NoUnit {
        /// The units that exist.
        units: String,
    },
    /// The letters after the number are no unit.
    #[error("unknown unit: one of {units} is expected")]
    UnknownUnit {
        /// The units that exist.
        units: String,
    },
    /// The value does not fit in 64 bits of milliseconds or bytes.
    #[error("the number is too large")]
    TooLarge,
}

/// A duration in an option, exact to the millisecond. Units: `ms`, `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan {
    milliseconds: u64,
}

impl TimeSpan {
    /// A span of this many milliseconds.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self { milliseconds }
    }

    /// The length in milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// The same length as the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        TIME.parse(text).map(Self::from_milliseconds)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TIME).map(Self::from_milliseconds)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milliseconds == 0 {
            return formatter.write_str("0s");
        }
        TIME.print(self.milliseconds, formatter)
    }
}

/// A number of bytes in an option. Units: `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize {
    bytes: u64,
}

impl ByteSize {
    /// A size of this many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        SIZE.parse(text).map(Self::from_bytes)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SIZE).map(Self::from_bytes)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes == 0 {
            return formatter.write_str("0B");
        }
        SIZE.print(self.bytes, formatter)
    }
}

impl Scale {
    fn parse(self, text: &str) -> Result<u64, UnitError> {
        if text.starts_with('-') {
            return Err(UnitError::Negative);
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
        if digits.is_empty() {
            return Err(UnitError::NoNumber { units: self.names() });
        }
        if unit.is_empty() {
            return Err(UnitError::NoUnit { units: self.names() });
        }
        if unit.starts_with(['.', ',']) {
            return Err(UnitError::Fraction { units: self.names() });
        }
        let Some((_, factor)) = self.units.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError::UnknownUnit { units: self.names() });
        };
        let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
        number.checked_mul(*factor).ok_or(UnitError::TooLarge)
    }

    fn print(self, value: u64, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.units.iter().find(|(_, factor)| value.is_multiple_of(*factor));
        match exact {
            Some((name, factor)) => write!(formatter, "{}{name}", value / factor),
            None => write!(formatter, "{value}"),
        }
    }

    fn names(self) -> String {
        let names: Vec<&str> = self.units.iter().rev().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// Numbers are visited only to be refused: the sentence then shows the number with the unit that was probably meant.
impl Visitor<'_> for Scale {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        self.parse(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        let error = UnitError::NoUnit { units: self.names() };
        Err(E::custom(format_args!("{error}, for example \"{number}{}\"", self.usual_unit)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(UnitError::Negative)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every documented unit is read and has its documented length.
    #[test]
    fn reads_every_unit() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(text.parse(), Ok(TimeSpan::from_milliseconds(milliseconds)), "{text}");
        }
        for (text, bytes) in [
            ("7B", 7),
            ("10kB", 10_000),
            ("1MB", 1_000_000),
            ("2GB", 2_000_000_000),
            ("4KiB", 4096),
            ("64MiB", 67_108_864),
            ("1GiB", 1_073_741_824),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)), "{text}");
        }
    }

    /// What people write by mistake is refused with the reason, never rounded or guessed.
    #[test]
    fn refuses_what_is_ambiguous() {
        let time = |text: &str| text.parse::<TimeSpan>().unwrap_err();
        assert!(matches!(time("30"), UnitError::NoUnit { .. }));
        assert!(matches!(time(""), UnitError::NoNumber { .. }));
        assert!(matches!(time("s"), UnitError::NoNumber { .. }));
        assert!(matches!(time(" 30s"), UnitError::NoNumber { .. }));
        assert!(matches!(time("1.5s"), UnitError::Fraction { .. }));
        assert!(matches!(time("30 s"), UnitError::UnknownUnit { .. }));
        assert!(matches!(time("30S"), UnitError::UnknownUnit { .. }));
        assert_eq!(time("-1s"), UnitError::Negative);
        assert_eq!(time("99999999999999999999s"), UnitError::TooLarge);
        assert_eq!(time("18446744073709551615d"), UnitError::TooLarge);
        let size = |text: &str| text.parse::<ByteSize>().unwrap_err();
        assert!(matches!(size("64mib"), UnitError::UnknownUnit { .. }));
        assert_eq!(size("18446744073709551615KiB"), UnitError::TooLarge);
    }

    /// A printed value reads back as itself.
    #[test]
    fn prints_what_it_reads() {
        for text in ["0s", "1ms", "1500ms", "90s", "1h", "7d"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
        for text in ["0B", "1kB", "256KiB", "512MiB", "1GiB", "10MB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    /// An option that is no text with a unit says what it has to be; a bare number is shown with the unit.
    #[test]
    fn values_that_are_no_text_explain_themselves() {
        let time = |json: &str| serde_json::from_str::<TimeSpan>(json).map_err(|error| error.to_string());
        let size = |json: &str| serde_json::from_str::<ByteSize>(json).map_err(|error| error.to_string());
        assert_eq!(time("\"5m\""), Ok(TimeSpan::from_milliseconds(300_000)));
        assert_eq!(size("\"64KiB\""), Ok(ByteSize::from_bytes(65_536)));
        for (found, expected) in [
            (time("60").unwrap_err(), "a unit is missing: one of ms, s, m, h, d, for example \"60s\""),
            (size("70000").unwrap_err(), "for example \"70000B\""),
            (time("-1").unwrap_err(), "must not be negative"),
            (size("1.5").unwrap_err(), "expected a size with its unit, such as \"64MiB\""),
            (time("[]").unwrap_err(), "expected a duration with its unit, such as \"30s\""),
            (
                size("\"64 KiB\"").unwrap_err(),
                "unknown unit: one of B, kB, MB, GB, KiB, MiB, GiB is expected",
            ),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }
}
