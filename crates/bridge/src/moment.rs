//! Moments as text: RFC 3339 in UTC with milliseconds (`2026-11-22T01:30:00.123Z`).
//!
//! Only what a timestamp of a message needs. No calendar but the Gregorian one, no time zone of the machine.

use std::fmt;

const DAY_SECONDS: u64 = 86_400;

/// Milliseconds since 1970 (UTC), printed as RFC 3339. The year has more than four digits past the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1_000, self.0 % 1_000);
        let (year, month, day) = date(seconds / DAY_SECONDS);
        let of_day = seconds % DAY_SECONDS;
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl Moment {
    /// A moment that RFC 3339 can say: the year has four digits there.
    pub(crate) fn in_four_digits(millis: u64) -> Option<Moment> {
        (millis < 253_402_300_800_000).then_some(Moment(millis))
    }

    /// Reads RFC 3339 with any offset. Digits past the milliseconds are dropped; nothing comes of a moment before 1970.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let mut fields = date.split('-');
        let (year, month, day) =
            (number(fields.next()?, 4)?, number(fields.next()?, 2)?, number(fields.next()?, 2)?);
        if fields.next().is_some() || !is_date(year, month, day) {
            return None;
        }
        let zone_at = time.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = time.split_at_checked(zone_at)?;
        let local = days(year, month, day) * DAY_SECONDS as i64 * 1_000 + clock_millis(clock)?;
        u64::try_from(local - zone_minutes(zone)? * 60_000).ok().map(Moment)
    }
}

/// `12:30:59.5` in milliseconds. A leap second is the second before it.
fn clock_millis(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let mut fields = whole.split(':');
    let (hour, minute, second) =
        (number(fields.next()?, 2)?, number(fields.next()?, 2)?, number(fields.next()?, 2)?);
    if fields.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = fraction.map_or(Some(0), fraction_millis)?;
    Some(((hour * 60 + minute) * 60 + second.min(59)) * 1_000 + millis)
}

fn fraction_millis(digits: &str) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let weights = [100, 10, 1];
    is_number
        .then(|| digits.bytes().zip(weights).map(|(digit, weight)| i64::from(digit - b'0') * weight).sum())
}

/// `Z`, `+02:00` or `-05:30` in minutes.
fn zone_minutes(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn is_date(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=length).contains(&day)
}

/// Days from 1970-01-01 to a date. Years are counted from March, so that a leap day is the last one of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of so many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_written_and_read() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_311_000_123, "2026-11-22T01:30:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(Moment(millis).to_string(), text);
            assert_eq!(Moment::parse(text), Some(Moment(millis)), "{text}");
        }
    }

    #[test]
    fn other_forms_of_the_same_moment_are_read() {
        let texts = [
            "2026-11-22T01:30:00Z",
            "2026-11-22t01:30:00z",
            "2026-11-22 01:30:00.0Z",
            "2026-11-22T01:30:00.000999Z",
            "2026-11-22T03:00:00+01:30",
            "2026-11-21T20:30:00-05:00",
        ];
        for text in texts {
            assert_eq!(Moment::parse(text), Some(Moment(1_795_311_000_000)), "{text}");
        }
    }

    #[test]
    fn a_year_of_five_digits_is_beyond_the_format() {
        assert_eq!(Moment::in_four_digits(253_402_300_799_999), Some(Moment(253_402_300_799_999)));
        assert_eq!(Moment::in_four_digits(253_402_300_800_000), None);
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        let texts = [
            "",
            "T",
            "2026-11-22",
            "2026-11-22T01:30:00",
            "2026-11-22T01:30Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T01:30:00.Z",
            "2026-11-22T01:30:00.1xZ",
            "2026-11-22T01:30:00+1:00",
            "2026-11-22T01:30:00Zé",
            "+026-11-22T01:30:00Z",
            "2026-11-22T01:30:00+24:00",
            "1969-12-31T23:59:59Z",
            "2026-1-22T01:30:00Z",
            "2026-11-22-1T01:30:00Z",
        ];
        for text in texts {
            assert_eq!(Moment::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_comes_back_from_its_text(millis in 0..253_402_300_800_000_u64) {
            prop_assert_eq!(Moment::parse(&Moment(millis).to_string()), Some(Moment(millis)));
        }

        #[test]
        fn any_moment_is_written_and_any_text_read_without_harm(millis in any::<u64>(), text in "[0-9TZ:.+-]{0,30}|.{0,30}") {
            let _ = (Moment(millis).to_string(), Moment::parse(&text));
        }
    }
}
