//! What would be sent, without a gateway.

use crate::forward;
use crate::toy::Toy;
use bytes::Bytes;
use tidegate_bridge::{Delivered, PATH_PROPERTY, Rehearsal, rehearse};
use tidegate_bridging::options;
use tidegate_message::{Properties, QoS, Topic};
use tidegate_protocol::DeliveryTag;

fn message(topic: &str, user: &[(&str, &str)]) -> Delivered {
    let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Delivered {
        tag: DeliveryTag(42),
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        payload: Bytes::from_static(b"21"),
        properties: Some(Box::new(Properties { user, ..Properties::default() })),
        qos: QoS::ExactlyOnce,
        retain: false,
        redelivered: false,
        attempt: 1,
        expires_at: None,
        publisher: None,
        is_backlog: false,
    }
}

fn rehearsed(message: &Delivered) -> Vec<Rehearsal> {
    let mut other = forward("alarms/#");
    other.name = "central.1".to_owned();
    let mut both = forward("+/a");
    both.name = "central.2".to_owned();
    let options = options(vec![forward("telemetry/#"), other, both], vec![]);
    rehearse(&options, &*Toy::new(1), message).unwrap()
}

#[test]
fn each_forward_that_takes_a_message_says_what_it_would_send() {
    let rehearsed = rehearsed(&message("telemetry/a", &[]));
    assert_eq!(rehearsed.iter().map(|rehearsal| rehearsal.lane).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(rehearsed[1].id, "edge-1/7/central.2/42");
    let rendered = rehearsed[0].sent.as_ref().unwrap();
    let fields = [("id", "edge-1/7/central.0/42".to_owned()), ("path", "edge-1".to_owned())];
    assert_eq!((&rendered.fields[..], &rendered.payload[..]), (&fields[..], &b"21"[..]));
}

#[test]
fn what_would_go_in_a_circle_says_so() {
    let rehearsed = rehearsed(&message("telemetry/a", &[(PATH_PROPERTY, "edge-1,far")]));
    let unsent = rehearsed[0].sent.as_ref().unwrap_err();
    assert_eq!((unsent.label, unsent.is_refused), ("loop_circle", false));
    assert!(unsent.reason.contains("edge-1"), "{unsent:?}");
}
