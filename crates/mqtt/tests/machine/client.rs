//! A client with its connection: what the scripts are written in.

use crate::packets::{ConnectScript, connect};
use std::time::Duration;
use tidegate_mqtt::codec::{Packet, ReasonCode, Version, decode};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{Attached, Attachment, SavedState, WillAction};
use tidegate_testkit::script::{Harness, Parcel, Request};

/// A client that speaks one version.
pub(crate) struct Client {
    pub(crate) harness: Harness,
    pub(crate) version: Version,
}

impl Client {
    /// A client that has said nothing, on a listener with these options.
    pub(crate) fn silent_with(version: Version, options: MqttOptions) -> Client {
        assert_eq!(options.validate(), []);
        Client { harness: Harness::open(&Mqtt::new(options)), version }
    }

    /// A client that has said nothing.
    pub(crate) fn silent(version: Version) -> Client {
        Client::silent_with(version, MqttOptions::default())
    }

    /// A client that is connected; the CONNACK is read and the requests so far are forgotten.
    pub(crate) fn connected(version: Version) -> Client {
        Client::connected_by(connect(version))
    }

    pub(crate) fn connected_by(script: ConnectScript<'_>) -> Client {
        Client::connected_with(script, MqttOptions::default())
    }

    pub(crate) fn connected_with(script: ConnectScript<'_>, options: MqttOptions) -> Client {
        let mut client = Client::silent_with(script.packet.version, options);
        client.sends(script.bytes());
        client.is_accepted();
        client.harness.take_requests();
        client
    }

    /// A client that continues a session in which an earlier connection left `saved`. Its CONNACK is not read.
    pub(crate) fn continues(version: Version, saved: SavedState) -> Client {
        let mut client = Client::silent(version);
        let attached =
            Attached { present: true, saved: vec![saved], expiry: Duration::MAX, is_durable: false };
        client.harness.broker.attachments.push_back(Attachment::Now(attached));
        let never = tidegate_mqtt::codec::Property::SessionExpiryInterval(u32::MAX);
        let script = connect(version).continued();
        let script = if version == Version::V5 { script.with(never) } else { script };
        client.sends(script.bytes());
        client.harness.take_requests();
        client
    }

    pub(crate) fn sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.harness.feed(bytes);
        self
    }

    /// Everything that the client got since the last time, packet by packet.
    #[track_caller]
    pub(crate) fn receives<const N: usize>(&mut self, expected: [Vec<u8>; N]) -> &mut Client {
        let output = self.harness.take_output();
        let (got, due) = (told(&output, self.version), told(&expected.concat(), self.version));
        assert_eq!(got, due);
        assert_eq!(output, expected.concat());
        self
    }

    #[track_caller]
    pub(crate) fn receives_nothing(&mut self) -> &mut Client {
        self.receives([])
    }

    /// Reads the CONNACK of an accepted connection.
    #[track_caller]
    pub(crate) fn is_accepted(&mut self) -> Vec<u8> {
        let output = self.harness.take_output();
        match decode(&output, self.version, usize::MAX).unwrap() {
            Some((Packet::ConnAck(connack), length)) => {
                assert_eq!((connack.reason, length), (ReasonCode::Success, output.len()));
            }
            other => panic!("CONNACK expected, not {other:?}"),
        }
        output
    }

    /// Reads the CONNACK of a refused connection, which has ended.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, reason: ReasonCode) {
        let output = self.harness.take_output();
        match decode(&output, self.version, usize::MAX).unwrap() {
            Some((Packet::ConnAck(connack), length)) => {
                assert_eq!((connack.reason, connack.session_present), (reason, false));
                assert_eq!(length, output.len());
            }
            other => panic!("CONNACK expected, not {other:?}"),
        }
        assert!(self.harness.closed().is_some());
    }

    /// The connection has ended under this label; a client of MQTT 5.0 was told the same, an older one nothing.
    #[track_caller]
    pub(crate) fn is_disconnected(&mut self, reason: ReasonCode) -> &mut Client {
        assert_eq!(self.harness.close_label(), Some(reason.label()));
        let output = self.harness.take_output();
        match (self.version, decode(&output, self.version, usize::MAX).unwrap()) {
            (Version::V31 | Version::V3, None) => {}
            (Version::V5, Some((Packet::Disconnect(disconnect), length))) => {
                assert_eq!((disconnect.reason, length), (reason, output.len()));
            }
            (version, other) => panic!("{other:?} is no goodbye in {version}"),
        }
        self
    }

    #[track_caller]
    pub(crate) fn delivers(&mut self, parcel: Parcel) -> &mut Client {
        assert_eq!(self.harness.deliver(&parcel), Ok(()));
        self
    }

    /// The requests since the last time.
    #[track_caller]
    pub(crate) fn asks<const N: usize>(&mut self, expected: [Request; N]) -> &mut Client {
        assert_eq!(self.harness.take_requests(), expected);
        self
    }

    /// The client loses its socket; returns what was saved and what was said about the will.
    #[track_caller]
    pub(crate) fn is_lost(&mut self) -> (SavedState, WillAction) {
        self.harness.close(tidegate_protocol::CloseReason::PeerClosed);
        self.detached()
    }

    /// What the last request, a detach, says.
    #[track_caller]
    pub(crate) fn detached(&mut self) -> (SavedState, WillAction) {
        match self.harness.take_requests().pop() {
            Some(Request::Detach { saved, will, .. }) => (saved, will),
            other => panic!("a detach expected, not {other:?}"),
        }
    }
}

/// Packets in words, for a message that shows where two conversations part.
fn told(mut bytes: &[u8], version: Version) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(Some((packet, length))) = decode(bytes, version, usize::MAX) {
        words.push(format!("{packet:?}"));
        bytes = &bytes[length..];
    }
    words.push(format!("and {} bytes", bytes.len()));
    words
}
