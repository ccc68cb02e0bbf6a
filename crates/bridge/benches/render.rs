//! What a forwarded message costs before it is sent, in nanoseconds: templates, envelopes, the look for a duplicate. Run with
//! `cargo bench -p tidegate-bridge`.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop"
)]

use std::hint::black_box;
use std::time::Instant;
use tidegate_bridge::{CloudEvents, Envelope, Facts, Form, PayloadForm, SeenIds, StableId, StreamName};
use tidegate_bridge::{Template, Vocabulary};
use tidegate_message::{Properties, QoS};

const ROUNDS: u32 = 1_000_000;

fn main() {
    let user = [("site", "north"), ("unit", "celsius")].map(|(name, value)| (name.into(), value.into()));
    let properties = Properties { user: user.into(), ..Properties::default() };
    let facts = Facts {
        topic: "plant/line-2/pump-7/state",
        payload: br#"{"device": {"id": "pump-7"}, "temperature": 21.50, "ok": true}"#,
        properties: Some(&properties),
        qos: QoS::AtLeastOnce,
        client_id: Some("pump-7"),
        timestamp_millis: Some(1_795_311_000_123),
        node: Some("edge-1"),
        id: Some("edge-1/5f3a9c0b77e1d204/central.telemetry/4711"),
        ..Facts::default()
    };
    render("constant", "telemetry", Form::ShortText, &facts);
    render("{topic}, as a topic", "up/{topic}", Form::Topic, &facts);
    render("{topic}, as a routing key", "{topic}", Form::RoutingKey, &facts);
    render("{topic[1..]} and {client_id}", "up/{topic[1..]}/{client_id}", Form::Topic, &facts);
    render("{property.unit}", "{property.unit}", Form::Text, &facts);
    render("{payload.device.id}, 62 B", "{payload.device.id}", Form::Text, &facts);
    render("{timestamp.iso}", "{timestamp.iso}", Form::Text, &facts);
    seal("json, 62 B", &Envelope::Json { payload: PayloadForm::Text }, &facts);
    seal("json with the payload as JSON, 62 B", &Envelope::Json { payload: PayloadForm::Json }, &facts);
    seal("cloudevents, 62 B", &Envelope::CloudEvent(CloudEvents::default()), &facts);
    recognise();
}

fn render(name: &str, text: &str, form: Form, facts: &Facts<'_>) {
    let template = Template::parse(text, &Vocabulary::FORWARD, form).expect("a valid template");
    let mut scratch = String::new();
    measure(&format!("render {name}"), || {
        let text = template.rendered(black_box(facts), &mut scratch).expect("everything is known");
        black_box(text);
    });
}

fn seal(name: &str, envelope: &Envelope, facts: &Facts<'_>) {
    let sealed = envelope.seal(facts).expect("everything is known");
    measure(&format!("seal {name}"), || {
        black_box(envelope.seal(black_box(facts)).expect("everything is known"));
    });
    measure(&format!("open {name}"), || {
        black_box(envelope.open(black_box(&sealed)).expect("what was sealed"));
    });
}

/// One id after the other, read from its text, looked for and noted.
fn recognise() {
    let stream = StreamName::new("edge-1", 7, "central.telemetry").expect("valid names");
    let mut seen = SeenIds::new(1_024, 32_768);
    let mut number = 0;
    let mut text = String::new();
    measure("recognise an id", || {
        use std::fmt::Write;
        number += 1;
        text.clear();
        write!(text, "{}", stream.id(number)).expect("a string takes everything");
        let id = StableId::parse(black_box(&text)).expect("a valid id");
        black_box(seen.look(&id));
        seen.note(&id);
    });
}

fn measure(name: &str, mut step: impl FnMut()) {
    (0..ROUNDS / 10).for_each(|_| step());
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| step());
    let nanoseconds = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{name:<50} {nanoseconds:>6} ns");
}
