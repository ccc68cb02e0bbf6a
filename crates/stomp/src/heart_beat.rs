//! Heart-beats: what both sides agreed on, and when something is due ([STOMP-1.2/Heart-beating]).

use crate::StompOptions;
use crate::reason::Fault;
use std::time::{Duration, Instant};

/// How many intervals may pass in silence before the peer is given up: the error margin that the specification asks for.
const TOLERANCE: u32 = 2;

/// What one side can do and would like, in milliseconds; 0 is "not at all".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// The shortest interval at which the side can send.
    sends: u64,
    /// The interval at which it would like to hear something.
    wants: u64,
}

/// The agreed intervals and the last signs of life.
#[derive(Debug)]
pub(crate) struct HeartBeats {
    outgoing: Option<Duration>,
    incoming: Option<Duration>,
    last_sent: Instant,
    last_received: Instant,
}

impl Offer {
    /// Reads a `heart-beat` header; a missing one is `0,0`. Longer than 32 bits of milliseconds is as good as never.
    pub(crate) fn parse(header: Option<&str>) -> Result<Offer, Fault> {
        let Some(text) = header else { return Ok(Offer::default()) };
        let number = |text: &str| {
            let digits = text.trim_matches([' ', '\t']);
            // A sign would be taken by the parser of numbers.
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| is_plain).map(u64::from)
        };
        let offer = text
            .split_once(',')
            .and_then(|(sends, wants)| Some(Offer { sends: number(sends)?, wants: number(wants)? }));
        offer.ok_or(Fault::InvalidHeader {
            name: "heart-beat",
            expected: "two numbers of milliseconds with a comma",
        })
    }

    /// What the listener offers.
    pub(crate) fn of(options: &StompOptions) -> Offer {
        Offer {
            sends: options.heart_beat_outgoing.milliseconds(),
            wants: options.heart_beat_incoming.milliseconds(),
        }
    }

    /// The value of a `heart-beat` header.
    pub(crate) fn header(self) -> String {
        format!("{},{}", self.sends, self.wants)
    }
}

impl HeartBeats {
    /// What the server's and the client's offers come to.
    pub(crate) fn agree(server: Offer, client: Offer, now: Instant) -> HeartBeats {
        HeartBeats {
            outgoing: interval(server.sends, client.wants),
            incoming: interval(client.sends, server.wants),
            last_sent: now,
            last_received: now,
        }
    }

    /// Whether the peer promised to be heard.
    pub(crate) fn expects(&self) -> bool {
        self.incoming.is_some()
    }

    /// Bytes for the peer were written.
    pub(crate) fn note_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Bytes of the peer arrived; any sign of life counts.
    pub(crate) fn note_received(&mut self, now: Instant) {
        self.last_received = self.last_received.max(now);
    }

    /// Whether a heart-beat has to be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.send_at().is_some_and(|moment| moment <= now)
    }

    /// The fault of a peer that was silent for too long.
    pub(crate) fn check_peer(&self, now: Instant) -> Result<(), Fault> {
        match (self.incoming, self.silent_at()) {
            (Some(interval), Some(moment)) if moment <= now => {
                Err(Fault::Silent { milliseconds: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) })
            }
            _ => Ok(()),
        }
    }

    /// When something is due next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        [self.send_at(), self.silent_at()].into_iter().flatten().min()
    }

    /// A little before the interval is over: the peer counts from one arrival to the next, and timers fire late.
    fn send_at(&self) -> Option<Instant> {
        self.outgoing.map(|interval| self.last_sent + (interval - interval / 8))
    }

    fn silent_at(&self) -> Option<Instant> {
        self.incoming.map(|interval| self.last_received + interval * TOLERANCE)
    }
}

/// The larger of both numbers, unless one side does not take part.
fn interval(sends: u64, wants: u64) -> Option<Duration> {
    (sends > 0 && wants > 0).then(|| Duration::from_millis(sends.max(wants)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Offer {
        Offer::parse(Some(text)).unwrap()
    }

    /// [STOMP-1.2/Heart-beating]
    #[test]
    fn the_slower_side_decides_and_zero_declines() {
        let now = Instant::now();
        let cases = [
            ("1000,10000", "500,500", Some(1_000), Some(10_000)),
            ("1000,10000", "20000,5000", Some(5_000), Some(20_000)),
            ("1000,10000", "0,0", None, None),
            ("0,0", "10,10", None, None),
            ("1000,0", "10,0", None, None),
        ];
        for (server, client, outgoing, incoming) in cases {
            let agreed = HeartBeats::agree(offer(server), offer(client), now);
            let expected = (outgoing.map(Duration::from_millis), incoming.map(Duration::from_millis));
            assert_eq!((agreed.outgoing, agreed.incoming), expected, "{server} {client}");
        }
    }

    /// [STOMP-1.2/Heart-beating]: a missing header is `0,0`.
    #[test]
    fn offers_are_read_from_the_header() {
        assert_eq!(Offer::parse(None), Ok(Offer::default()));
        assert_eq!(offer("10, 20"), Offer { sends: 10, wants: 20 });
        for text in [
            "",
            ",",
            "1",
            "1,",
            "a,b",
            "-1,2",
            "+1,2",
            "1,2,3",
            "1.5,2",
            "1;2",
            "99999999999,1",
            "1,4294967296",
        ] {
            assert!(Offer::parse(Some(text)).is_err(), "{text:?}");
        }
        assert_eq!(Offer::of(&StompOptions::default()).header(), "1000,10000");
    }
}
