//! CONNECT: what a client offers and shows, and what both sides agree on once it is known.

use crate::StompOptions;
use crate::codec::{Command, Frame, encode};
use crate::heart_beat::{HeartBeats, Offer};
use crate::reason::Fault;
use std::time::Instant;
use tidegate_protocol::{Evidence, Output, Peer};

/// How the server calls itself ([STOMP-1.2/CONNECTED Frame]).
const SERVER: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// What has to be known of a client until its CONNECT.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The moment by which CONNECT must have come.
    pub(crate) deadline: Instant,
    connection: u64,
}

/// A client whose CONNECT was read, and of which nobody knows yet who it is.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The moment by which it must be known.
    pub(crate) deadline: Instant,
    /// What the client calls itself, for logs.
    pub(crate) client_id: Option<Box<str>>,
    connection: u64,
    offer: Offer,
}

impl Opening {
    /// Before the first frame of this peer.
    pub(crate) fn of(peer: &Peer) -> Opening {
        Opening { deadline: peer.connect_deadline, connection: peer.connection }
    }

    /// Reads CONNECT or STOMP ([STOMP-1.2/Connecting]).
    ///
    /// `host` may be anything, also missing: there is one virtual host, and widespread browser clients do not send it.
    pub(crate) fn read(&self, frame: &Frame<'_>) -> Result<Candidate, Fault> {
        let versions = frame.headers.get("accept-version").unwrap_or("1.0");
        if !versions.split(',').any(|version| version.trim() == "1.2") {
            return Err(Fault::UnsupportedVersion);
        }
        let own = frame.headers.get("client-id").or(frame.headers.get("login"));
        Ok(Candidate {
            deadline: self.deadline,
            client_id: own.map(Box::from),
            connection: self.connection,
            offer: Offer::parse(frame.headers.get("heart-beat"))?,
        })
    }
}

/// What a CONNECT shows of its client ([STOMP-1.2/CONNECT or STOMP Frame]).
pub(crate) fn evidence<'a>(frame: &'a Frame<'_>) -> Evidence<'a> {
    let user = frame.headers.get("login");
    Evidence::Password { user, password: frame.headers.get("passcode").map(str::as_bytes) }
}

impl Candidate {
    /// Writes CONNECTED, and begins to count heart-beats.
    pub(crate) fn welcome(&self, options: &StompOptions, now: Instant, output: &mut Output) -> HeartBeats {
        let server = Offer::of(options);
        self.push_connected(server, output);
        HeartBeats::agree(server, self.offer, now)
    }

    fn push_connected(&self, offer: Offer, output: &mut Output) {
        let (session, heart_beat) = (format!("tidegate-{}", self.connection), offer.header());
        let headers =
            [("version", "1.2"), ("session", &*session), ("server", SERVER), ("heart-beat", &*heart_beat)];
        if encode(output.buffer(), Command::Connected, headers, b"").is_ok() {
            output.end_frame();
        }
    }
}
