//! CONNECT: what a client offers and shows, and what both sides agree on once it is known.
//!
//! Which version is spoken stands in the headers of the first frame, so it is read before that is known: CONNECT has no escapes in any
//! version, and what 1.0 calls padding is taken off here.

use crate::StompOptions;
use crate::codec::{Command, Frame, Version, encode};
use crate::heart_beat::{HeartBeats, Offer};
use crate::names::Names;
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
    /// The highest version that both sides speak.
    pub(crate) version: Version,
    /// How it writes destinations, by the virtual host that it asked for.
    pub(crate) names: Names,
    connection: u64,
    /// Whether the client knows of versions.
    negotiates: bool,
    offer: Offer,
}

impl Opening {
    /// Before the first frame of this peer.
    pub(crate) fn of(peer: &Peer) -> Opening {
        Opening { deadline: peer.connect_deadline, connection: peer.connection }
    }

    /// Reads CONNECT or STOMP ([STOMP-1.2/Connecting]).
    ///
    /// `host` may be missing in every version, because widespread browser clients do not send it.
    pub(crate) fn read(&self, frame: &Frame<'_>, options: &StompOptions) -> Result<Candidate, Fault> {
        let version = version(frame)?;
        let own = value(frame, version, "client-id").or(value(frame, version, "login"));
        Ok(Candidate {
            deadline: self.deadline,
            client_id: own.map(Box::from),
            version,
            names: options.names_at(version, value(frame, version, "host"))?,
            connection: self.connection,
            negotiates: frame.headers.get("accept-version").is_some(),
            offer: match version {
                // 1.0 has no heart-beats, whatever the client writes.
                Version::V1_0 => Offer::default(),
                Version::V1_1 | Version::V1_2 => Offer::parse(frame.headers.get("heart-beat"))?,
            },
        })
    }
}

/// The highest version that both sides speak; a client that says nothing speaks 1.0 ([STOMP-1.2/Protocol Negotiation]).
fn version(frame: &Frame<'_>) -> Result<Version, Fault> {
    match frame.headers.get("accept-version") {
        None => Ok(Version::V1_0),
        Some(offered) => Version::highest_of(offered).ok_or(Fault::UnsupportedVersion),
    }
}

/// The value of a header of CONNECT, without what is padding in 1.0 ([STOMP-1.0/Connecting]).
pub(crate) fn value<'f>(frame: &'f Frame<'_>, version: Version, name: &str) -> Option<&'f str> {
    let value = frame.headers.get(name)?;
    Some(if version.pads_headers() { value.trim_matches([' ', '\t']) } else { value })
}

/// What a CONNECT shows of its client ([STOMP-1.2/CONNECT or STOMP Frame]).
pub(crate) fn evidence<'a>(frame: &'a Frame<'_>, version: Version) -> Evidence<'a> {
    let password = value(frame, version, "passcode").map(str::as_bytes);
    Evidence::Password { user: value(frame, version, "login"), password }
}

impl Candidate {
    /// Writes CONNECTED, and begins to count heart-beats.
    pub(crate) fn welcome(&self, options: &StompOptions, now: Instant, output: &mut Output) -> HeartBeats {
        let server = Offer::of(options);
        self.push_connected(server, output);
        HeartBeats::agree(server, self.offer, now)
    }

    /// A client that knows of no versions is told what CONNECTED has in 1.0: the session ([STOMP-1.0/Connecting]).
    fn push_connected(&self, offer: Offer, output: &mut Output) {
        let version = self.negotiates.then_some(("version", self.version.as_str()));
        let session = format!("tidegate-{}", self.connection);
        let server = self.negotiates.then_some(("server", SERVER));
        let heart_beat = (self.version > Version::V1_0).then(|| offer.header());
        let heart_beat = heart_beat.as_deref().map(|offer| ("heart-beat", offer));
        let headers = version.into_iter().chain([("session", &*session)]).chain(server).chain(heart_beat);
        if encode(output.buffer(), self.version, Command::Connected, headers, b"").is_ok() {
            output.end_frame();
        }
    }
}
