//! RECEIPT for every frame of a client, and headers that come twice.

use super::{connected, connected_as, frames, opening};
use crate::codec::Version;
use tidegate_testkit::script::{Request, parcel};

/// [STOMP-1.2/Header receipt] [STOMP-1.0/RECEIPT]
#[test]
fn every_client_frame_may_ask_for_a_receipt() {
    for version in Version::ALL {
        let mut harness = connected_as(version);
        let reference = |tag| match version {
            Version::V1_0 => format!("message-id:0-{tag}"),
            Version::V1_1 => format!("message-id:0-{tag}\nsubscription:s"),
            Version::V1_2 => format!("id:0-{tag}"),
        };
        let [first, second] = [1, 2].map(reference);
        let conversation = [
            ("SUBSCRIBE", "id:s\ndestination:/topic/a\nack:client-individual"),
            ("SEND", "destination:/topic/a"),
            ("BEGIN", "transaction:t"),
            ("ACK", &*first),
            ("COMMIT", "transaction:t"),
            ("BEGIN", "transaction:t"),
            ("ABORT", "transaction:t"),
            ("NACK", &*second),
            ("UNSUBSCRIBE", "id:s"),
            ("DISCONNECT", "x:y"),
        ];
        for (command, headers) in conversation {
            if (command, version) == ("NACK", Version::V1_0) {
                continue;
            }
            harness.feed(format!("{command}\n{headers}\nreceipt:for {command}\n\n\0"));
            let receipt = format!("RECEIPT\nreceipt-id:for {command}\n\n^@");
            assert_eq!(frames(&mut harness), [receipt], "{version} {command}");
            if command == "SUBSCRIBE" {
                harness.deliver(&parcel("a", "x").tagged(1)).unwrap();
                harness.deliver(&parcel("a", "x").tagged(2)).unwrap();
                harness.take_output();
            }
        }
        assert_eq!(harness.close_label(), Some("disconnected"));
    }
}

/// [STOMP-1.2/Header receipt]: CONNECT is answered with CONNECTED and nothing else.
#[test]
fn connect_has_no_receipt() {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-version:1.2\nreceipt:r\n\n\0");
    let frames = frames(&mut harness);
    assert!(frames.len() == 1 && frames[0].starts_with("CONNECTED\n"), "{frames:?}");
}

/// [STOMP-1.2/RECEIPT]: what came before a goodbye, or before the socket was lost, is processed.
#[test]
fn frames_before_a_disconnect_are_processed() {
    let mut harness = connected();
    harness.feed(
        "SEND\ndestination:/topic/a\n\n1\0SEND\ndestination:/topic/b\n\n2\0DISCONNECT\n\n\0SEND\ndestination:/topic/c\n\n3\0",
    );
    let requests = harness.take_requests();
    let topics: Vec<_> = requests.iter().filter_map(Request::published_topic).collect();
    assert_eq!((topics, harness.close_label()), (vec!["a", "b"], Some("disconnected")));
}

/// [STOMP-1.2/Repeated Header Entries]: the first one counts; the application's are all passed on.
#[test]
fn a_repeated_header_counts_once() {
    let mut harness = connected();
    harness.feed("SEND\ndestination:/topic/a\ndestination:/topic/b\nqos:0\nqos:nonsense\nx:1\nx:2\nreceipt:r\nreceipt:s\n\n\0");
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    let requests = harness.take_requests();
    let Some(Request::Publish { topic, properties, .. }) = requests.first() else { panic!("{requests:?}") };
    let user = properties.as_ref().map(|properties| properties.user.clone());
    let expected = [("x", "1"), ("x", "2")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!((&**topic, user), (b"a".as_slice(), Some(expected.into())));
    harness.feed("SUBSCRIBE\nid:s\nid:t\ndestination:/topic/a\n\n\0");
    harness.deliver(&parcel("a", "x")).unwrap();
    assert!(frames(&mut harness)[0].starts_with("MESSAGE\nsubscription:s\nmessage-id:"));
}
