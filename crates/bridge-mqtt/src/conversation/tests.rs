use super::*;
use crate::arrivals::{ACKNOWLEDGED_MAX, FLEETING_MAX};
use crate::{Forwarded, MqttAddress, Received};
use tidegate_bridge::{Form, Template, Vocabulary};
use tidegate_message::TopicFilter;

fn options(receives: bool) -> Arc<MqttOptions> {
    let topic = Template::parse("{topic}", &Vocabulary::FORWARD, Form::Topic).unwrap();
    let filter = TopicFilter::parse_mqtt(b"commands/#").unwrap();
    let received = Received { filter, qos_max: QoS::AtLeastOnce };
    Arc::new(MqttOptions {
        addresses: vec![MqttAddress::parse("mqtt://user:secret@broker").unwrap()],
        tls: None,
        version: Version::V5,
        client_id: "edge-1-central".to_owned(),
        node: "edge-1".into(),
        forwards: vec![Forwarded { topic, retain: false }],
        receives: if receives { vec![received] } else { Vec::new() },
        packet_bytes_max: 1 << 20,
    })
}

fn send(ticket: u64) -> Order {
    Order::Send(Box::new(Outgoing {
        lane: 0,
        ticket,
        topic: Topic::parse(b"telemetry/a").unwrap(),
        payload: Bytes::from_static(b"21"),
        original: Bytes::from_static(b"21"),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        expires_at: None,
        publisher: None,
        id: "edge-1/1/central.0/7".into(),
        path: "edge-1".into(),
        is_repeated: false,
    }))
}

/// The broker's packet, heard by the conversation.
fn hear(conversation: &mut Conversation, packet: &Packet<'_>) -> Result<usize, Lost> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Version::V5, packet, usize::MAX).unwrap();
    conversation.handle_bytes(&bytes, Instant::now())
}

fn connack(reason: ReasonCode) -> Packet<'static> {
    Packet::ConnAck(ConnAck { session_present: false, reason, properties: PropertiesRef::default() })
}

/// Messages of the broker under these packet identifiers.
fn hear_commands(conversation: &mut Conversation, ids: impl IntoIterator<Item = u16>) {
    for id in ids {
        hear(conversation, &command(b"commands/x", NonZeroU16::new(id))).unwrap();
    }
}

fn command(topic: &[u8], packet_id: Option<NonZeroU16>) -> Packet<'_> {
    let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let (dup, retain, properties, payload) = (false, false, PropertiesRef::default(), &b"open"[..]);
    Packet::Publish(Publish { dup, qos, retain, topic, packet_id, properties, payload })
}

/// A conversation that receives, and has had its SUBACK.
fn subscribed() -> Conversation {
    let mut conversation = open(true);
    conversation.handle_bytes(&[0x90, 4, 0xff, 0xff, 0, 1], Instant::now()).unwrap();
    conversation.reports.clear();
    conversation
}

fn open(receives: bool) -> Conversation {
    let mut conversation = Conversation::new(options(receives), 0).unwrap();
    hear(&mut conversation, &connack(ReasonCode::Success)).unwrap();
    conversation.output.clear();
    conversation
}

/// A session stays there only where something is received: what waits is on this side otherwise.
#[test]
fn connect_says_who_comes_how_large_a_packet_may_be_and_whether_the_session_stays() {
    for receives in [false, true] {
        let conversation = Conversation::new(options(receives), 0).unwrap();
        let (packet, _) = decode(&conversation.output, Version::V5, usize::MAX).unwrap().unwrap();
        let Packet::Connect(connect) = packet else { panic!("{packet:?}") };
        assert_eq!((connect.client_id, connect.user_name), ("edge-1-central", Some("user")));
        assert_eq!(connect.password, Some(Password(b"secret")));
        assert_eq!(connect.clean_start, !receives);
        assert_eq!(connect.properties.session_expiry_interval(), receives.then_some(u32::MAX));
        assert_eq!(connect.properties.maximum_packet_size().map(|max| max.get()), Some(1 << 20));
    }
}

/// A verdict is what PUBACK says; what went out carries id and path, at level 1.
#[test]
fn puback_is_the_verdict_on_a_message() {
    for (reason, expected) in [
        (ReasonCode::Success, Verdict::Confirmed),
        (ReasonCode::NoMatchingSubscribers, Verdict::Confirmed),
        (ReasonCode::QuotaExceeded, Verdict::NotNow("quota_exceeded".to_owned())),
        (
            ReasonCode::NotAuthorized,
            Verdict::Never { label: "not_authorised", reason: "not_authorized".to_owned() },
        ),
    ] {
        let mut conversation = open(false);
        conversation.reports.clear();
        conversation.handle_order(send(9), Instant::now());
        let (packet, _) = decode(&conversation.output, Version::V5, usize::MAX).unwrap().unwrap();
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        assert_eq!(publish.qos, QoS::AtLeastOnce);
        let user: Vec<_> = publish.properties.user_properties().collect();
        assert_eq!(user, [(ID_PROPERTY, "edge-1/1/central.0/7"), (PATH_PROPERTY, "edge-1")]);
        let packet_id = publish.packet_id.unwrap();
        let ack = Ack { packet_id, reason, properties: PropertiesRef::default() };
        hear(&mut conversation, &Packet::PubAck(ack)).unwrap();
        let report = conversation.reports.pop_front();
        assert!(
            matches!(&report, Some(Report::Verdict { ticket: 9, verdict }) if *verdict == expected),
            "{reason:?}: {report:?}"
        );
        hear(&mut conversation, &Packet::PubAck(ack)).unwrap();
        assert!(conversation.reports.is_empty(), "a second PUBACK means nothing");
    }
}

/// [MQTT-4.6.0-2]
#[test]
fn received_messages_are_acknowledged_in_their_order_and_only_when_settled() {
    let mut conversation = open(true);
    conversation.handle_bytes(&[0x90, 4, 0xff, 0xff, 0, 1], Instant::now()).unwrap();
    assert!(matches!(conversation.reports.pop_front(), Some(Report::Ready)));
    hear_commands(&mut conversation, [3, 4]);
    conversation.handle_order(Order::Settle { ticket: 1, taken: Taken::Yes }, Instant::now());
    assert!(conversation.output.is_empty(), "the first one is not settled");
    conversation.handle_order(Order::Settle { ticket: 0, taken: Taken::Yes }, Instant::now());
    assert_eq!(conversation.output, [0x40, 2, 0, 3, 0x40, 2, 0, 4]);
}

/// [MQTT-3.3.4-7]: what the broker has no room for waits, but not what is ordered behind it: a broker that waits for that would never have room again.
#[test]
fn what_was_received_is_settled_while_the_broker_has_no_room() {
    let mut conversation = open(true);
    conversation.handle_bytes(&[0x90, 4, 0xff, 0xff, 0, 1], Instant::now()).unwrap();
    conversation.granted.receive_maximum = 1;
    hear_commands(&mut conversation, [3]);
    conversation.reports.clear();
    conversation.handle_order(send(1), Instant::now());
    let first = conversation.output.len();
    conversation.handle_order(send(2), Instant::now());
    assert_eq!(conversation.output.len(), first, "there is no room for it");
    assert!(conversation.can_take_orders() && !conversation.is_finished());
    conversation.handle_order(Order::Settle { ticket: 0, taken: Taken::Yes }, Instant::now());
    assert!(conversation.output.len() > first, "PUBACK is no PUBLISH");
    conversation.output.clear();
    let packet_id = NonZeroU16::MIN;
    let ack = Ack { packet_id, reason: ReasonCode::Success, properties: PropertiesRef::default() };
    hear(&mut conversation, &Packet::PubAck(ack)).unwrap();
    assert_eq!(conversation.output.len(), first, "the second one goes");
}

/// MQTT 5.0 section 3.3.2.3.3: what waits until the broker has room is sent with what is left of its lifetime then, or not at all.
#[test]
fn a_lifetime_goes_on_while_the_broker_has_no_room() {
    let mut conversation = open(false);
    conversation.granted.receive_maximum = 1;
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    for (ticket, seconds) in [(1, 100), (2, 10), (3, 100)] {
        let Order::Send(outgoing) = send(ticket) else { panic!() };
        let expires_at = Some(now + seconds * second);
        conversation.handle_order(Order::Send(Box::new(Outgoing { expires_at, ..*outgoing })), now);
    }
    conversation.reports.clear();
    conversation.output.clear();
    let (packet_id, properties) = (NonZeroU16::MIN, PropertiesRef::default());
    let ack = Packet::PubAck(Ack { packet_id, reason: ReasonCode::Success, properties });
    let mut bytes = Vec::new();
    encode(&mut bytes, Version::V5, &ack, usize::MAX).unwrap();
    conversation.handle_bytes(&bytes, now + 10 * second).unwrap();
    let verdicts: Vec<_> = conversation.reports.drain(..).collect();
    assert!(
        matches!(&verdicts[1..], [Report::Verdict { ticket: 2, verdict: Verdict::Expired }]),
        "{verdicts:?}"
    );
    let (packet, bytes) = decode(&conversation.output, Version::V5, usize::MAX).unwrap().unwrap();
    let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
    assert_eq!(publish.properties.message_expiry_interval(), Some(90));
    assert_eq!(bytes, conversation.output.len(), "nothing but that");
}

/// A broker that sends more of a session in front of its SUBACK than may be unacknowledged is answered nevertheless, and its SUBACK is still believed.
#[test]
fn a_session_that_fills_the_window_before_the_suback_is_acknowledged() {
    let mut conversation = open(true);
    hear_commands(&mut conversation, 1..=ACKNOWLEDGED_MAX as u16 - 1);
    assert!(!conversation.reports.iter().any(|report| matches!(report, Report::Ready)));
    hear_commands(&mut conversation, [ACKNOWLEDGED_MAX as u16]);
    assert!(matches!(conversation.reports.pop_back(), Some(Report::Ready)));
    conversation.reports.clear();
    conversation.handle_order(Order::Settle { ticket: 0, taken: Taken::Yes }, Instant::now());
    assert!(!conversation.output.is_empty());
    conversation.handle_bytes(&[0x90, 4, 0xff, 0xff, 0, 1], Instant::now()).unwrap();
    assert!(conversation.reports.is_empty(), "it is not ready twice");
    let refused = conversation.handle_bytes(&[0x90, 4, 0xff, 0xff, 0, 0x87], Instant::now());
    assert!(matches!(refused, Err(Lost::Refused(_))), "{refused:?}");
}

/// A receive that can keep nothing does not keep the forwards beside it from hearing what the broker says of theirs.
#[test]
fn a_full_receive_stops_only_at_messages_of_its_own() {
    let mut conversation = subscribed();
    conversation.handle_order(send(9), Instant::now());
    hear_commands(&mut conversation, 1..=ACKNOWLEDGED_MAX as u16);
    conversation.reports.clear();
    assert!(conversation.can_listen());
    let ack =
        Ack { packet_id: NonZeroU16::MIN, reason: ReasonCode::Success, properties: PropertiesRef::default() };
    hear(&mut conversation, &Packet::PubAck(ack)).unwrap();
    let said = conversation.reports.pop_front();
    assert!(matches!(said, Some(Report::Verdict { ticket: 9, .. })), "{said:?}");
    let one_more = command(b"commands/x", NonZeroU16::new(9999));
    assert_eq!(hear(&mut conversation, &one_more), Ok(0), "there is no room");
    assert!(!conversation.can_listen() && conversation.wake_at().is_none());
    conversation.handle_order(Order::Settle { ticket: 0, taken: Taken::Yes }, Instant::now());
    assert!(hear(&mut conversation, &one_more).unwrap() > 0 && conversation.can_listen());
}

/// What has no identifier waits for room for a moment only; nothing that is acknowledged waits behind it.
#[test]
fn messages_of_level_0_are_dropped_where_nothing_becomes_of_those_before() {
    let mut conversation = subscribed();
    (0..FLEETING_MAX).for_each(|_| drop(hear(&mut conversation, &command(b"commands/x", None))));
    assert_eq!(conversation.reports.len(), FLEETING_MAX);
    conversation.reports.clear();
    let mut bytes = Vec::new();
    encode(&mut bytes, Version::V5, &command(b"commands/x", None), usize::MAX).unwrap();
    encode(&mut bytes, Version::V5, &Packet::PingResp, usize::MAX).unwrap();
    assert_eq!(conversation.handle_bytes(&bytes, Instant::now()), Ok(0));
    let wake_at = conversation.wake_at().unwrap();
    assert_eq!(conversation.handle_bytes(&bytes, wake_at), Ok(bytes.len()));
    let said: Vec<_> = conversation.reports.drain(..).collect();
    assert!(
        matches!(said[..], [Report::Dropped { lane: 0, label: "no_room", .. }, Report::RoundTrip]),
        "{said:?}"
    );
    hear_commands(&mut conversation, [7]);
    conversation
        .handle_order(Order::Settle { ticket: FLEETING_MAX as u64, taken: Taken::Yes }, Instant::now());
    assert_eq!(conversation.output, [0x40, 2, 0, 7], "it does not wait for what was before it");
}

/// The session goes on with the subscriptions of an earlier configuration: what they bring is told, and they are left where they can be found.
#[test]
fn a_message_for_no_receive_is_counted_and_its_subscription_is_left() {
    let mut conversation = subscribed();
    hear(&mut conversation, &command(b"old/alarm", NonZeroU16::new(3))).unwrap();
    let said = conversation.reports.pop_front();
    assert!(matches!(said, Some(Report::Dropped { lane: 0, label: "not_selected", .. })), "{said:?}");
    let (ack, bytes) = decode(&conversation.output, Version::V5, usize::MAX).unwrap().unwrap();
    assert!(
        matches!(ack, Packet::PubAck(ack) if ack.packet_id.get() == 3 && ack.reason.is_failure()),
        "{ack:?}"
    );
    let (packet, _) = decode(&conversation.output[bytes..], Version::V5, usize::MAX).unwrap().unwrap();
    let Packet::Unsubscribe(unsubscribe) = packet else { panic!("{packet:?}") };
    assert_eq!(unsubscribe.filters.iter().collect::<Vec<_>>(), ["old/alarm", "#", "old/#", "old/alarm/#"]);
    let id = unsubscribe.packet_id.get().to_be_bytes();
    conversation.output.clear();
    hear(&mut conversation, &command(b"old/alarm", None)).unwrap();
    assert!(conversation.output.is_empty(), "one at a time");
    conversation.handle_bytes(&[0xb0, 7, id[0], id[1], 0, 0, 0x11, 0x11, 0], Instant::now()).unwrap();
    hear(&mut conversation, &command(b"old/alarm", None)).unwrap();
    assert_eq!(conversation.output[0], 0xa2);
}

#[test]
fn a_broker_that_does_not_let_the_bridge_in_is_told_apart_from_one_that_is_busy() {
    let answer = |reason| {
        let mut conversation = Conversation::new(options(false), 0).unwrap();
        hear(&mut conversation, &connack(reason)).unwrap_err()
    };
    assert!(matches!(answer(ReasonCode::BadUserNameOrPassword), Lost::Refused(_)));
    assert!(matches!(answer(ReasonCode::ServerBusy), Lost::Broken(_)));
    let mut conversation = open(false);
    let nonsense = conversation.handle_bytes(&[0xff, 0xff, 0xff, 0xff, 0xff], Instant::now());
    assert!(matches!(nonsense, Err(Lost::Broken(_))));
}
