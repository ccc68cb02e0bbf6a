use super::*;
use proptest::prelude::*;
use std::time::Instant;
use tidegate_protocol::ConsumerId;

fn any_qos() -> impl Strategy<Value = QoS> {
    (0_u8..3).prop_map(|number| QoS::from_number(number).unwrap())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn any_properties() -> impl Strategy<Value = Option<Box<Properties>>> {
    let text = || proptest::option::of("[a-zü]{0,5}".prop_map(|text| Box::from(text.as_str())));
    let pair = ("[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(name, value)| (name.into(), value.into()));
    let user = proptest::collection::vec(pair, 0..3);
    let all = (text(), text(), proptest::option::of(any_bytes()), any::<Option<bool>>(), user);
    let all = all.prop_map(|(content_type, reply_to, correlation, payload_is_text, user)| {
        Box::new(Properties { content_type, reply_to, correlation, payload_is_text, user })
    });
    proptest::option::of(all)
}

prop_compose! {
    fn any_publishing()(
        topic in any_bytes(),
        payload in any_bytes(),
        qos in any_qos(),
        retain in any::<bool>(),
        properties in any_properties(),
        expiry in proptest::option::of((0..1_u64 << 40).prop_map(Duration::from_millis)),
    ) -> Publishing {
        Publishing { topic, payload, qos, retain, properties, expiry }
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let outcome = prop_oneof![Just(Outcome::Accepted), Just(Outcome::Rejected), Just(Outcome::Released)];
    prop_oneof![
        ("[a-zü/]{0,9}", any::<u32>()).prop_map(|(name, credit)| Command::Attach { name, credit }),
        (any_bytes(), any_qos(), any::<bool>()).prop_map(|(filter, qos_max, retained)| Command::Subscribe {
            filter,
            qos_max,
            retained
        }),
        proptest::collection::vec(any_bytes(), 0..4).prop_map(Command::KeepOnly),
        Just(Command::Done),
        any_bytes().prop_map(Command::SaveMore),
        any_bytes().prop_map(Command::SaveWhole),
        prop_oneof![
            Just(Backlog::Grows),
            Just(Backlog::Overtaken),
            Just(Backlog::LastValues),
            any::<u32>().prop_map(Backlog::More)
        ]
        .prop_map(Command::Arrange),
        Just(Command::End),
        (any::<u64>(), any_publishing())
            .prop_map(|(ticket, publishing)| Command::Publish { ticket, publishing }),
        (any::<u64>(), outcome).prop_map(|(tag, outcome)| Command::Settle { tag: DeliveryTag(tag), outcome }),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let refusal = || (any::<bool>(), "[a-zü ]{0,9}");
    let refusal = move || refusal().prop_map(|(is_passing, text)| LinkRefusal { is_passing, text });
    let result = prop_oneof![any::<bool>().prop_map(|matched| Ok(Matched(matched))), refusal().prop_map(Err)];
    prop_oneof![
        any::<bool>().prop_map(|present| Event::Attached { present }),
        Just(Event::Done),
        any_bytes().prop_map(Event::Saved),
        refusal().prop_map(Event::Refused),
        (any::<u64>(), result).prop_map(|(ticket, result)| Event::Published { ticket, result }),
    ]
}

fn any_publisher() -> impl Strategy<Value = Publisher> {
    let text = || proptest::option::of("[a-zü]{0,5}".prop_map(|text| Box::from(text.as_str())));
    (text(), text(), any::<[u64; 2]>()).prop_map(
        |(client_id, user, [published_at_millis, taken_at_millis])| Publisher {
            client_id,
            user,
            published_at_millis,
            taken_at_millis,
        },
    )
}

proptest! {
    #[test]
    fn a_command_comes_out_as_it_went_in(command in any_command()) {
        let mut bytes = Vec::new();
        command.write(&mut bytes);
        prop_assert_eq!(frame_bytes(&bytes), Ok(Some(bytes.len())));
        prop_assert_eq!(Command::read(&bytes), Ok(command));
    }

    #[test]
    fn an_event_comes_out_as_it_went_in_however_it_is_split(event in any_event(), split in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        event.write(&mut bytes);
        let split = split.index(bytes.len());
        let mut input = BytesMut::from(&bytes[..split]);
        prop_assert_eq!(Event::take(&mut input), Ok(None));
        input.extend_from_slice(&bytes[split..]);
        prop_assert_eq!(Event::take(&mut input), Ok(Some(event)));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_delivery_comes_out_as_it_went_in(
        publishing in any_publishing(),
        tag in any::<u64>(),
        attempt in any::<u32>(),
        redelivered in any::<bool>(),
        publisher in proptest::option::of(any_publisher()),
        is_backlog in any::<bool>(),
    ) {
        let now = Instant::now();
        let topic = Topic::parse(b"a/b").unwrap();
        let Publishing { payload, qos, retain, properties, expiry, .. } = publishing;
        let delivery = Delivery {
            consumer: ConsumerId(0),
            topic: &topic,
            payload: &payload,
            properties: properties.as_deref(),
            qos,
            retain,
            redelivered,
            attempt,
            expires_at: expiry.map(|expiry| now + expiry),
            now,
            subscription_ids: &[],
            tag: None,
            is_backlog,
            position: None,
            publisher: publisher.as_ref(),
        };
        let tag = DeliveryTag(tag);
        let mut bytes = Vec::new();
        write_delivery(&delivery, tag, &mut bytes);
        let expected = Delivered {
            tag,
            topic: topic.clone(),
            payload: payload.clone(),
            properties: properties.clone(),
            qos,
            retain,
            redelivered,
            attempt,
            expires_at: expiry.map(|expiry| now + expiry),
            publisher: publisher.map(Box::new),
            is_backlog,
        };
        let event = Event::take(&mut BytesMut::from(&bytes[..]));
        prop_assert_eq!(event, Ok(Some(Event::Delivered(Box::new(expected)))));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        drop(Command::read(&bytes));
        drop(Event::take(&mut BytesMut::from(&bytes[..])));
    }
}
