//! CONNECT: who may come in, and what both sides agree on.

use crate::StompOptions;
use crate::codec::{Command, Frame, encode};
use crate::heart_beat::{HeartBeats, Offer};
use crate::reason::Fault;
use std::time::Instant;
use tidegate_protocol::{Output, Peer};

/// How the server calls itself ([STOMP-1.2/CONNECTED Frame]).
const SERVER: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// What has to be known of a client until its CONNECT.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The moment by which CONNECT must have come.
    pub(crate) deadline: Instant,
    connection: u64,
    certificate_name: Option<Box<str>>,
    has_certificate: bool,
    allow_anonymous: bool,
}

/// What a CONNECT brought.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The client's name, for logs.
    pub(crate) client_id: Option<Box<str>>,
    /// What was agreed on heart-beats.
    pub(crate) heart_beats: HeartBeats,
}

impl Opening {
    /// Before the first frame of this peer.
    pub(crate) fn of(peer: &Peer) -> Opening {
        Opening {
            deadline: peer.connect_deadline,
            connection: peer.connection,
            certificate_name: peer.certificate_name.clone(),
            has_certificate: peer.has_certificate,
            allow_anonymous: peer.allow_anonymous,
        }
    }

    /// Handles CONNECT or STOMP and writes CONNECTED ([STOMP-1.2/Connecting]).
    ///
    /// `host` may be anything, also missing: there is one virtual host, and widespread browser clients do not send it.
    /// `login` and `passcode` prove nothing here, so only the listener's permission or a verified certificate lets a client in.
    pub(crate) fn connect(
        &self,
        frame: &Frame<'_>,
        options: &StompOptions,
        now: Instant,
        output: &mut Output,
    ) -> Result<Opened, Fault> {
        let versions = frame.headers.get("accept-version").unwrap_or("1.0");
        if !versions.split(',').any(|version| version.trim() == "1.2") {
            return Err(Fault::UnsupportedVersion);
        }
        if !self.allow_anonymous && !self.has_certificate {
            return Err(Fault::NotAuthenticated);
        }
        let (server, client) = (Offer::of(options), Offer::parse(frame.headers.get("heart-beat"))?);
        self.push_connected(server, output);
        Ok(Opened { client_id: self.client_id(frame), heart_beats: HeartBeats::agree(server, client, now) })
    }

    fn push_connected(&self, offer: Offer, output: &mut Output) {
        let (session, heart_beat) = (format!("tidegate-{}", self.connection), offer.header());
        let headers =
            [("version", "1.2"), ("session", &*session), ("server", SERVER), ("heart-beat", &*heart_beat)];
        if encode(output.buffer(), Command::Connected, headers, b"").is_ok() {
            output.end_frame();
        }
    }

    /// What the client calls itself, or its certificate does, or at least its login.
    fn client_id(&self, frame: &Frame<'_>) -> Option<Box<str>> {
        let own = frame.headers.get("client-id");
        own.or(self.certificate_name.as_deref()).or(frame.headers.get("login")).map(Box::from)
    }
}
