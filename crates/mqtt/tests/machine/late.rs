//! Acknowledgements that wait until the disk has what they promise, and what a durable session keeps of its exchanges.

use crate::client::Client;
use crate::packets::{
    V3, V5, VERSIONS, ack_because, connect, delivered, delivered_2, id, puback, pubcomp, publish_1,
    publish_2, publish_packet, pubrec, pubrel, suback, suback_because, subscribe,
};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{PacketType, ReasonCode, Version};
use tidegate_protocol::{
    Answer, Attached, Attachment, ConsumerId, DeliveryTag, Outcome, Published, Refusal, SavedState, Saving,
    Subscribed,
};
use tidegate_testkit::script::{Request, parcel};

const FAILING: Refusal = Refusal::StoreFailing;

/// The broker has the next messages, and says whether that may be told.
fn takes(client: &mut Client, answers: &[Answer]) {
    let published = answers.iter().map(|&answer| Ok(Published { matched: true, answer }));
    client.harness.broker.published.extend(published);
}

/// The broker says later to the next steps that are awaited.
fn keeps_later(client: &mut Client, count: usize) {
    client.harness.broker.saved.extend(std::iter::repeat_n(Answer::Later, count));
}

/// A client with a session that outlives the process, in which earlier pieces stand.
fn durable(version: Version, pieces: Vec<SavedState>) -> Client {
    let mut client = Client::silent(version);
    let attached = Attached { present: true, saved: pieces, expiry: Duration::MAX, is_durable: true };
    client.harness.broker.attachments.push_back(Attachment::Now(attached));
    let never = tidegate_mqtt::codec::Property::SessionExpiryInterval(u32::MAX);
    let script = connect(version).continued();
    let script = if version == V5 { script.with(never) } else { script };
    client.sends(script.bytes());
    client
}

/// The pieces that a crash at this moment leaves: the last whole and what stands behind it.
fn pieces(client: &mut Client, mut before: Vec<SavedState>) -> Vec<SavedState> {
    for request in client.harness.take_requests() {
        match request {
            Request::SaveWhole { bytes, .. } => before = vec![bytes],
            Request::SaveMore { bytes, .. } => before.push(bytes),
            _ => {}
        }
    }
    before
}

/// The same message once more, as a client sends it that has no answer.
fn again(version: Version, qos: QoS, number: u16) -> Vec<u8> {
    delivered(version, "a", "x", |publish| {
        (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id(number)), true);
    })
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-3.1.1/4.6.0-2] [MQTT-3.1.1/4.6.0-3]: what could be acknowledged at once waits behind what cannot,
/// if it is of its kind.
#[test]
fn acknowledgements_wait_and_keep_their_order() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        takes(&mut client, &[Answer::Later, Answer::Now, Answer::Now, Answer::Later, Answer::Now]);
        client.sends([publish_1(version, 1, "a", "x"), publish_1(version, 2, "a", "x")].concat());
        // Of another kind.
        client.sends(publish_2(version, 3, "a", "x")).receives([pubrec(3)]);
        client.sends([publish_2(version, 4, "a", "x"), publish_2(version, 5, "a", "x")].concat());
        client.receives_nothing();
        client.harness.answer(Ok(()));
        client.receives([puback(1), puback(2)]);
        client.harness.answer(Ok(()));
        client.receives([pubrec(4), pubrec(5)]);
        client.sends([publish_1(version, 6, "a", "x"), pubrel(4)].concat());
        client.receives([puback(6), pubcomp(4)]);
    }
}

/// A client that floods while the disk hangs is read from no longer, whatever its messages wait for.
#[test]
fn what_waits_behind_others_is_held_back_too() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        takes(&mut client, &[Answer::Later, Answer::Now, Answer::Now, Answer::Now]);
        let flood = [1, 2, 3].map(|number| publish_1(version, number, "a", "x"));
        client.sends(flood.concat()).receives_nothing();
        assert_eq!(client.harness.connection().held_back(), 3);
        client.harness.answer(Ok(()));
        client.receives([puback(1), puback(2), puback(3)]);
        client.sends(publish_1(version, 4, "a", "x")).receives([puback(4)]);
        assert_eq!(client.harness.connection().held_back(), 0);
    }
}

/// [MQTT-3.3.4-7]: what waits counts against the receive maximum.
#[test]
fn unanswered_messages_count_against_the_receive_maximum() {
    let options = || MqttOptions { receive_maximum: 2, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options());
    takes(&mut client, &[Answer::Later; 4]);
    client.sends([publish_1(V5, 1, "a", "x"), publish_2(V5, 2, "a", "x")].concat());
    client.harness.answer(Ok(())).answer(Ok(()));
    client.sends(publish_1(V5, 3, "a", "x")).receives([puback(1), pubrec(2)]);
    client.sends(publish_1(V5, 4, "a", "x")).is_disconnected(ReasonCode::ReceiveMaximumExceeded);
}

/// [MQTT-2.2.1-3] [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2]: a message that comes again before it is answered is neither published nor
/// answered twice.
#[test]
fn a_message_that_comes_again_is_answered_once() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        takes(&mut client, &[Answer::Later, Answer::Later]);
        client.sends([publish_1(version, 1, "a", "x"), publish_2(version, 2, "a", "x")].concat());
        client.harness.take_requests();
        for (qos, number) in [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)] {
            client.sends(again(version, qos, number)).asks([]);
        }
        client.harness.answer(Ok(())).answer(Ok(()));
        client.receives([puback(1), pubrec(2)]);
    }
    let mut client = Client::connected(V5);
    takes(&mut client, &[Answer::Later]);
    client.sends([publish_1(V5, 1, "a", "x"), publish_1(V5, 1, "a", "y")].concat()).receives_nothing();
    client.harness.answer(Ok(()));
    let words = "a message with this packet identifier has not been released";
    let in_use = ack_because(PacketType::PubAck, 1, ReasonCode::PacketIdentifierInUse, words);
    client.receives([puback(1), in_use]);
}

/// Section 3.4.2.1: what the disk does not keep is refused by its reason.
#[test]
fn version_5_is_told_that_the_disk_failed() {
    let mut client = Client::connected(V5);
    takes(&mut client, &[Answer::Later]);
    client.sends(publish_1(V5, 1, "a", "x"));
    client.harness.answer(Err(FAILING));
    let reason = ReasonCode::ImplementationSpecificError;
    client.receives([ack_because(PacketType::PubAck, 1, reason, &FAILING.to_string())]);
    assert_eq!(client.harness.closed(), None);
}

/// [MQTT-4.3.3-10]: a QoS 2 message that the disk may keep after all, or that somebody has who needs no disk, is not published again. A PUBREC that
/// refuses it would have it come again under another identifier ([MQTT-4.3.3-9]), so none is sent.
#[test]
fn version_5_keeps_the_identifier_of_a_message_that_may_have_been_kept() {
    let mut client = Client::connected(V5);
    takes(&mut client, &[Answer::Later]);
    client.sends(publish_2(V5, 2, "a", "x"));
    client.harness.answer(Err(FAILING));
    client.harness.take_requests();
    client.receives_nothing();
    client.sends(again(V5, QoS::ExactlyOnce, 2)).asks([]).receives_nothing();
    client.harness.advance(Duration::from_secs(31));
    client.is_disconnected(ReasonCode::QuotaExceeded);
}

/// MQTT 3.1.1 has no word for it: as with a full queue nothing is acknowledged, and the connection ends after a while. A QoS 2 message
/// that its receivers have is not published again meanwhile.
#[test]
fn version_3_is_not_acknowledged_when_the_disk_fails() {
    let mut client = Client::connected(V3);
    takes(&mut client, &[Answer::Later, Answer::Later]);
    client.sends([publish_1(V3, 1, "a", "x"), publish_2(V3, 2, "a", "x")].concat());
    client.harness.answer(Err(FAILING)).answer(Err(FAILING));
    client.harness.take_requests();
    client.sends(again(V3, QoS::ExactlyOnce, 2)).asks([]).receives_nothing();
    client.harness.advance(Duration::from_secs(29));
    assert_eq!(client.harness.closed(), None);
    client.harness.advance(Duration::from_secs(2));
    client.is_disconnected(ReasonCode::QuotaExceeded);
}

/// [MQTT-3.8.4-6] [MQTT-3.8.4-1]: one SUBACK, when all of it is kept; what is not has its own reason.
#[test]
fn a_suback_waits_for_its_filters() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let subscribed = |answer| Ok(Subscribed { existed: false, answer });
        let answers = [Answer::Later, Answer::Now, Answer::Later].map(subscribed);
        client.harness.broker.subscribed.extend(answers);
        let filters = [("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce), ("c", QoS::ExactlyOnce)];
        client.sends(subscribe(version, 5, &filters)).receives_nothing();
        client.harness.answer(Ok(()));
        client.receives_nothing();
        client.harness.answer(Err(FAILING));
        let granted = [ReasonCode::Success, ReasonCode::GrantedQoS1];
        let expected = match version {
            V5 => suback_because(
                version,
                5,
                &[granted[0], granted[1], ReasonCode::ImplementationSpecificError],
                &format!("filter 3: {FAILING}"),
            ),
            Version::V3 => suback(version, 5, &[granted[0], granted[1], ReasonCode::UnspecifiedError]),
            Version::V31 => suback(version, 5, &[granted[0], granted[1], ReasonCode::GrantedQoS2]),
        };
        client.receives([expected]);
    }
}

/// The filters that the client's machine has taken back since it was asked last.
fn taken_back(client: &mut Client) -> Vec<String> {
    let filter = |request| match request {
        Request::Unsubscribe { share: None, filter, .. } => Some(filter.as_str().to_owned()),
        _ => None,
    };
    client.harness.take_requests().into_iter().filter_map(filter).collect()
}

fn subscribed_later(client: &mut Client, existed: bool) {
    client.harness.broker.subscribed.push_back(Ok(Subscribed { existed, answer: Answer::Later }));
}

/// [MQTT-3.8.4-6] [MQTT-3.1.1/3.8.4-5]: who is told that a subscription failed gets nothing for it. MQTT 3.1 has no word for that, and its client has what it
/// was told.
#[test]
fn a_subscription_that_is_not_kept_is_undone() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        (0..2).for_each(|_| subscribed_later(&mut client, false));
        client.sends(subscribe(version, 5, &[("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce)]));
        client.harness.take_requests();
        client.harness.answer(Ok(())).answer(Err(FAILING));
        let expected: &[&str] = if version == Version::V31 { &[] } else { &["b"] };
        assert_eq!(taken_back(&mut client), expected, "{version}");
        assert_eq!(client.harness.closed(), None);
    }
}

/// Section 3.8.4: what a subscription was before it was changed cannot be had back, and neither of the two is what the client could be told.
#[test]
fn a_changed_subscription_that_is_not_kept_ends_the_connection() {
    for version in [V3, V5] {
        let mut client = Client::connected(version);
        subscribed_later(&mut client, true);
        client.sends(subscribe(version, 5, &[("a", QoS::AtMostOnce)]));
        client.harness.answer(Err(FAILING));
        client.is_disconnected(ReasonCode::ImplementationSpecificError);
    }
}

/// What is asked for once more meanwhile is what the client is told of it last.
#[test]
fn a_subscription_that_is_asked_for_again_is_not_undone() {
    let mut client = Client::connected(V5);
    (0..2).for_each(|_| subscribed_later(&mut client, false));
    client.sends([5, 6].map(|number| subscribe(V5, number, &[("a", QoS::AtMostOnce)])).concat());
    client.harness.take_requests();
    client.harness.answer(Err(FAILING));
    let failing = ReasonCode::ImplementationSpecificError;
    client.receives([suback_because(V5, 5, &[failing], &format!("filter 1: {FAILING}"))]);
    assert_eq!(taken_back(&mut client), [""; 0]);
    client.harness.answer(Ok(()));
    client.receives([suback(V5, 6, &[ReasonCode::Success])]);
    assert_eq!(taken_back(&mut client), [""; 0]);
}

/// [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2], over the end of the process: the identifier of a QoS 2 message is kept along with it, so the same
/// message is not published again.
#[test]
fn a_received_identifier_survives_the_process() {
    for version in VERSIONS {
        let mut client = durable(version, Vec::new());
        client.harness.take_output();
        let before = pieces(&mut client, Vec::new());
        takes(&mut client, &[Answer::Later]);
        client.sends(publish_2(version, 7, "a", "x")).receives_nothing();
        let requests = client.harness.take_requests();
        let [Request::Publish { .. }, Request::SaveMore { bytes, saving: Saving::Along, .. }] = &requests[..]
        else {
            panic!("{requests:?}")
        };
        let mut client = durable(version, [&before[..], std::slice::from_ref(bytes)].concat());
        client.harness.take_output();
        client.harness.take_requests();
        // Whether the disk has it is not known here.
        keeps_later(&mut client, 1);
        client.sends(again(version, QoS::ExactlyOnce, 7)).receives_nothing();
        assert!(matches!(
            client.harness.take_requests()[..],
            [Request::SaveMore { saving: Saving::Awaited, .. }]
        ));
        client.harness.answer(Ok(()));
        client.receives([pubrec(7)]);
    }
}

/// [MQTT-4.3.3-11] [MQTT-4.3.3-12]: the client is told that an identifier is free when that is kept, and not before: it would be taken for the
/// old message otherwise.
#[test]
fn pubcomp_waits_until_the_release_is_kept() {
    for version in VERSIONS {
        let mut client = durable(version, Vec::new());
        client.harness.take_output();
        client.sends(publish_2(version, 7, "a", "x")).receives([pubrec(7)]);
        let before = pieces(&mut client, Vec::new());
        keeps_later(&mut client, 2);
        client.sends(pubrel(7)).receives_nothing();
        client.harness.answer(Ok(()));
        client.receives([pubcomp(7)]);
        let released = pieces(&mut client, before);
        let mut next = durable(version, released);
        next.harness.take_output();
        next.harness.take_requests();
        next.sends(publish_2(version, 7, "a", "another"));
        assert_eq!(next.harness.take_requests()[0].published_topic(), Some("a"));
        // A disk that does not keep it leaves the identifier in use.
        client.sends(publish_2(version, 8, "a", "x")).receives([pubrec(8)]);
        client.sends(pubrel(8));
        client.harness.answer(Err(FAILING));
        client.receives_nothing();
        client.harness.take_requests();
        client.sends(again(version, QoS::ExactlyOnce, 8)).receives([pubrec(8)]);
        assert!(client.harness.take_requests().iter().all(|request| request.published_topic().is_none()));
    }
}

/// [MQTT-4.3.3-4] [MQTT-4.4.0-1] [MQTT-4.6.0-4]: PUBREL waits until it is kept that the client has the message; behind that the message
/// itself never comes again.
#[test]
fn pubrel_waits_until_pubrec_is_kept() {
    for version in VERSIONS {
        let mut client = durable(version, Vec::new());
        client.harness.take_output();
        let before = pieces(&mut client, Vec::new());
        client.delivers(parcel("a", "5").exactly_once(5)).delivers(parcel("a", "6").exactly_once(6));
        client.receives([delivered_2(version, 5, "a", "5"), delivered_2(version, 6, "a", "6")]);
        keeps_later(&mut client, 2);
        client.sends([pubrec(6), pubrec(5), pubrec(6)].concat()).receives_nothing();
        client.harness.answer(Ok(()));
        client.receives([pubrel(6)]);
        client.harness.answer(Err(FAILING));
        client.receives_nothing();
        let kept = pieces(&mut client, before);
        // Only the first was kept.
        let mut next = durable(version, kept[..kept.len() - 1].to_vec());
        assert!(next.harness.take_output().ends_with(&pubrel(6)));
        next.delivers(parcel("a", "5").exactly_once(5).redelivered());
        next.delivers(parcel("a", "6").exactly_once(6).redelivered());
        let same = delivered(version, "a", "5", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(5)), true);
        });
        next.receives([same]);
        next.harness.take_requests();
        next.sends(pubcomp(6));
        let settled =
            Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(6), outcome: Outcome::Accepted };
        let requests = next.harness.take_requests();
        assert!(
            matches!(&requests[..], [Request::SaveMore { saving: Saving::Along, .. }, last] if *last == settled)
        );
    }
}

/// [MQTT-2.2.1-4] [MQTT-4.4.0-1] [MQTT-3.3.1-1]: the identifier follows from the tag, so that it is the same after the end of the process.
#[test]
fn a_durable_session_derives_identifiers_from_tags() {
    for (tag, number) in [(1, 1), (65_535, 65_535), (65_536, 1), (200_000, 3_395)] {
        let mut client = durable(V5, Vec::new());
        client.harness.take_output();
        client.delivers(parcel("a", "x").exactly_once(tag));
        client.receives([delivered_2(V5, number, "a", "x")]);
        let kept = pieces(&mut client, Vec::new());
        let mut client = durable(V5, kept);
        client.harness.take_output();
        client.delivers(parcel("a", "x").exactly_once(tag).redelivered());
        let again = publish_packet(V5, "a", "x", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(number)), true);
        });
        client.receives([again]);
    }
}

/// [MQTT-4.4.0-1] [MQTT-4.3.3-10] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.3.3-2]: after the end of the process what was under way may come behind
/// what never was, and as if it were new. Its tag tells what it is, so that the client does not get it under another identifier.
#[test]
fn what_a_durable_session_has_under_way_is_known_whenever_it_comes() {
    for version in VERSIONS {
        let mut client = durable(version, vec![b"\x01\0\0\0\0".to_vec()]);
        client.harness.take_output();
        for (tag, payload) in [(5, "5"), (6, "6"), (8, "8"), (9, "9")] {
            client.delivers(parcel("a", payload).exactly_once(tag));
        }
        client.sends(pubrec(9));
        let (saved, _) = client.is_lost();
        let mut next = durable(version, vec![saved]);
        assert!(next.harness.take_output().ends_with(&pubrel(9)));
        next.delivers(parcel("a", "5").exactly_once(5).redelivered());
        // What was not delivered stands where something was that had been settled, and something new comes early.
        next.delivers(parcel("a", "7").exactly_once(7).redelivered());
        next.delivers(parcel("a", "30").exactly_once(30));
        for (tag, payload) in [(6, "6"), (8, "8"), (9, "9"), (10, "10")] {
            next.delivers(parcel("a", payload).exactly_once(tag));
        }
        let same = |number: u16| {
            delivered(version, "a", &number.to_string(), |publish| {
                (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(number)), true);
            })
        };
        let first = |number: u16| delivered_2(version, number, "a", &number.to_string());
        next.receives([same(5), first(7), first(30), same(6), same(8), first(10)]);
    }
}

/// [MQTT-3.3.4-9]: what has not come again and cannot come any more is given up, so that it takes no identifier for ever.
#[test]
fn what_has_vanished_long_ago_is_released() {
    for version in VERSIONS {
        let mut client = durable(version, vec![b"\x01\0\0\0\0".to_vec()]);
        client.harness.take_output();
        client.delivers(parcel("a", "5").exactly_once(5)).delivers(parcel("a", "6").exactly_once(40_000));
        let (saved, _) = client.is_lost();
        let mut next = durable(version, vec![saved]);
        next.harness.take_output();
        next.delivers(parcel("a", "x").exactly_once(60_000));
        next.receives([delivered_2(version, 60_000, "a", "x"), pubrel(5)]);
    }
}

/// The pieces stay few, whatever a client does.
#[test]
fn the_whole_takes_the_place_of_many_pieces() {
    let mut client = durable(V5, Vec::new());
    let mut kept = pieces(&mut client, Vec::new());
    client.sends(publish_2(V5, 999, "a", "x"));
    for number in 1..500 {
        client.sends([publish_2(V5, number, "a", "x"), pubrel(number)].concat());
        kept = pieces(&mut client, kept);
        assert!(kept.len() < 100, "{}", kept.len());
    }
    let mut client = durable(V5, kept);
    client.harness.take_output();
    client.harness.take_requests();
    client.sends([publish_2(V5, 999, "a", "x"), publish_2(V5, 499, "a", "y")].concat());
    let published = client.harness.take_requests();
    assert_eq!(published.iter().filter(|request| request.published_topic().is_some()).count(), 1);
}
