use super::*;
use crate::template::{Form, Template, Vocabulary};
use proptest::option;
use proptest::prelude::*;
use tidegate_message::{Properties, QoS};

const JSON_TEXT: Envelope = Envelope::Json { payload: PayloadForm::Text };
const JSON_JSON: Envelope = Envelope::Json { payload: PayloadForm::Json };

fn event() -> Envelope {
    Envelope::CloudEvent(CloudEvents::default())
}

fn sealed(envelope: &Envelope, facts: &Facts<'_>) -> String {
    String::from_utf8(envelope.seal(facts).unwrap().into_owned()).unwrap()
}

fn opened(envelope: &Envelope, text: &str) -> Result<Parts, OpenError> {
    envelope.open(text.as_bytes()).map(Option::unwrap)
}

fn wrong(field: &'static str, problem: &'static str) -> Result<Parts, OpenError> {
    Err(OpenError::Field { field, problem })
}

fn payload(payload: &[u8]) -> Facts<'_> {
    Facts { payload, topic: "a", node: Some("n"), id: Some("n/1/s/1"), ..Facts::default() }
}

#[test]
fn a_raw_payload_is_what_it_was() {
    let facts = payload(b"\xff\x00");
    assert!(matches!(Envelope::Raw.seal(&facts), Ok(Cow::Borrowed(b"\xff\x00"))));
    assert_eq!(Envelope::Raw.open(b"{}"), Ok(None));
    assert_eq!(Envelope::default().content_type(), None);
}

#[test]
fn a_payload_stands_in_an_object_as_what_it_is() {
    let cases: [(&[u8], &str, &str); 8] = [
        (b"21.5 C", r#""payload":"21.5 C""#, r#""payload":"21.5 C""#),
        (b"", r#""payload":"""#, r#""payload":"""#),
        (b"\xff\x00", r#""payload_base64":"/wA=""#, r#""payload_base64":"/wA=""#),
        (b" {\"a\": 1.50}\n", r#""payload":" {\"a\": 1.50}\n""#, r#""payload":{"a": 1.50}"#),
        (b"[1]", r#""payload":"[1]""#, r#""payload":[1]"#),
        (b"null", r#""payload":"null""#, r#""payload":null"#),
        (b"\"hi\"", r#""payload":"\"hi\"""#, r#""payload":"\"hi\"""#),
        (b"{\"a\"", r#""payload":"{\"a\"""#, r#""payload":"{\"a\"""#),
    ];
    for (bytes, as_text, as_json) in cases {
        let frame =
            |field| format!(r#"{{"topic":"a","qos":0,"retain":false,"node":"n","id":"n/1/s/1",{field}}}"#);
        assert_eq!(sealed(&JSON_TEXT, &payload(bytes)), frame(as_text));
        assert_eq!(sealed(&JSON_JSON, &payload(bytes)), frame(as_json));
    }
}

#[test]
fn a_payload_stands_in_an_event_as_its_content_type_says() {
    let cases: [(Option<&str>, &[u8], &str); 13] = [
        (None, b"21.5 C", r#""datacontenttype":"text/plain","data":"21.5 C""#),
        (None, b"21.5", r#""datacontenttype":"application/json","data":21.5"#),
        (None, b"\"hi\"", r#""datacontenttype":"application/json","data":"hi""#),
        (None, b"null", r#""datacontenttype":"application/json","data":null"#),
        (None, b"\xff", r#""data_base64":"/w==""#),
        (Some("application/json"), b"{\"a\": 1}", r#""datacontenttype":"application/json","data":{"a": 1}"#),
        (
            Some("application/json"),
            b"21 C",
            r#""datacontenttype":"application/json","data_base64":"MjEgQw==""#,
        ),
        (Some("a/b+JSON; x=y"), b" [1] ", r#""datacontenttype":"a/b+JSON; x=y","data":[1]"#),
        (Some("text/csv"), b"[1]", r#""datacontenttype":"text/csv","data":"[1]""#),
        (Some("text/csv"), b"\xff", r#""datacontenttype":"text/csv","data_base64":"/w==""#),
        (Some("json"), b"1", r#""datacontenttype":"json","data":"1""#),
        (Some("text/csv"), b"", r#""datacontenttype":"text/csv""#),
        (None, b"", ""),
    ];
    for (content_type, bytes, expected) in cases {
        let properties = Properties { content_type: content_type.map(Into::into), ..Properties::default() };
        let facts = Facts { properties: Some(&properties), ..payload(bytes) };
        let frame =
            r#"{"specversion":"1.0","id":"n/1/s/1","source":"/n","type":"tidegate.message","subject":"a""#;
        let (head, tail) = sealed(&event(), &facts)
            .split_once(r#","qos":0,"retain":false"#)
            .map(|(head, tail)| (head.to_owned(), tail.to_owned()))
            .unwrap();
        // The content type stands in front of the level, the data behind it.
        let written = format!("{}{tail}", head.strip_prefix(frame).unwrap());
        let written = written.strip_suffix('}').unwrap().trim_start_matches(',');
        assert_eq!(written, expected, "{content_type:?} {bytes:?}");
    }
}

#[test]
fn an_event_has_the_source_and_type_that_were_asked_for() {
    let template = |text| Template::parse(text, &Vocabulary::FORWARD, Form::Text).ok();
    let event = Envelope::CloudEvent(CloudEvents {
        source: template("//plant/{node}"),
        event_type: template("com.plant.{topic[0]}"),
    });
    let written = sealed(&event, &payload(b"1"));
    assert!(written.contains(r#""source":"//plant/n","type":"com.plant.a""#), "{written}");
    let facts = Facts { topic: "", ..payload(b"") };
    assert!(matches!(event.seal(&facts), Err(SealError::Render(_))), "`{{topic[0]}}` of no topic");
}

#[test]
fn an_event_says_who_published_it_and_when() {
    let facts = Facts { client_id: Some("c"), user: Some("u"), timestamp_millis: Some(0), ..payload(b"1") };
    let written = sealed(&event(), &facts);
    for expected in [r#""clientid":"c""#, r#""user":"u""#, r#""time":"1970-01-01T00:00:00.000Z""#] {
        assert!(written.contains(expected), "{written}");
    }
}

#[test]
fn what_no_event_can_hold_is_refused() {
    let refused = |facts: Facts<'_>| event().seal(&facts).unwrap_err();
    assert_eq!(refused(Facts { id: None, ..payload(b"") }), SealError::Missing("id"));
    assert_eq!(refused(Facts { id: Some(""), ..payload(b"") }), SealError::Missing("id"));
    let character = |attribute, character| SealError::Character { attribute, character };
    assert_eq!(refused(Facts { topic: "a\nb", ..payload(b"") }), character("subject", '\n'));
    assert_eq!(refused(Facts { node: Some("a b"), ..payload(b"") }), character("source", ' '));
    assert_eq!(refused(Facts { client_id: Some("\u{7f}"), ..payload(b"") }), character("clientid", '\u{7f}'));
    let later = Facts { timestamp_millis: Some(u64::MAX), ..payload(b"") };
    assert!(!sealed(&event(), &later).contains("time"), "a year of more than four digits is left out");
}

#[test]
fn objects_that_others_have_written_are_opened() {
    let parts = opened(&JSON_TEXT, r#"{"payload": "21 C", "colour": {"deep": [1]}}"#).unwrap();
    assert_eq!(parts, Parts { payload: "21 C".into(), ..Parts::default() });
    let parts = opened(&JSON_TEXT, r#"{"payload": {"a": "b"}, "qos": 2, "topic": null}"#).unwrap();
    let expected = Parts { payload: r#"{"a": "b"}"#.into(), qos: Some(QoS::ExactlyOnce), ..Parts::default() };
    assert_eq!(parts, expected);
}

#[test]
fn objects_that_are_not_as_they_should_be_are_refused() {
    let long = format!(r#"{{"payload":"","client_id":"{}"}}"#, "x".repeat(65_536));
    let many = format!(r#"{{"payload":"","properties":[{}["a","b"]]}}"#, r#"["a","b"],"#.repeat(1_000));
    let cases = [
        ("{}", wrong("payload", "is missing, and so is `payload_base64`")),
        (r#"{"payload":"","payload_base64":""}"#, wrong("payload", "stands beside `payload_base64`")),
        (r#"{"payload_base64":"/w="}"#, wrong("payload_base64", "is not base64")),
        (r#"{"payload":"","qos":3}"#, wrong("qos", "is not 0, 1 or 2")),
        (r#"{"payload":"","user":"\u0000"}"#, wrong("user", "holds U+0000")),
        (r#"{"payload":"","properties":[["a","\u0000"]]}"#, wrong("properties", "holds U+0000")),
        (
            r#"{"payload":"","correlation":"","correlation_base64":""}"#,
            wrong("correlation", "stands beside `correlation_base64`"),
        ),
        (&long, wrong("client_id", "has more than 65,535 bytes")),
        (&many, wrong("properties", "are more than 1,000")),
        ("", Err(OpenError::Form { line: 1, column: 0 })),
        ("[1,2]", Err(OpenError::Form { line: 1, column: 2 })),
        (r#"{"payload":"\ud800"}"#, Err(OpenError::Form { line: 1, column: 8 })),
        ("{\"payload\":\"\",\n\"retain\":1}", Err(OpenError::Form { line: 2, column: 10 })),
    ];
    for (text, expected) in cases {
        assert_eq!(opened(&JSON_TEXT, text), expected, "{}", text.get(..80).unwrap_or(text));
    }
}

#[test]
fn what_bridges_write_themselves_is_not_taken_from_an_envelope() {
    let text = r#"{"payload":"","properties":[["tidegate-path","x"],["a","b"],["tidegate-id","y"]]}"#;
    assert_eq!(*opened(&JSON_TEXT, text).unwrap().properties.user, [("a".into(), "b".into())]);
}

/// The examples of section 3.2 of the JSON format, with content of our own.
#[test]
fn events_that_others_have_written_are_opened() {
    let head =
        r#""specversion":"1.0","id":"7","source":"/shop","type":"com.shop.sold","myextension":{"a":1}"#;
    let data = |fields: &str| {
        let parts = opened(&event(), &format!("{{{head}{fields}}}")).unwrap();
        assert_eq!(parts.id.as_deref(), Some("7"));
        let user: Vec<_> = parts.properties.user.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(user, [("source", "/shop"), ("type", "com.shop.sold")]);
        let content_type = parts.properties.content_type.as_deref().map(str::to_owned);
        (String::from_utf8(parts.payload.to_vec()).unwrap(), content_type)
    };
    let typed = |payload: &str, content_type: &str| (payload.to_owned(), Some(content_type.to_owned()));
    assert_eq!(data(""), (String::new(), None));
    assert_eq!(
        data(r#","data":{"n": 1},"subject":null,"time":null"#),
        typed(r#"{"n": 1}"#, "application/json")
    );
    assert_eq!(data(r#","data":"just a string""#), typed(r#""just a string""#, "application/json"));
    assert_eq!(data(r#","data":null"#), typed("null", "application/json"));
    assert_eq!(data(r#","datacontenttype":"text/xml","data":"<a/>""#), typed("<a/>", "text/xml"));
    assert_eq!(data(r#","datacontenttype":"image/png","data_base64":"aGk=""#), typed("hi", "image/png"));
    let parts = opened(&event(), &format!(r#"{{{head},"time":"1970-01-01T01:00:01+01:00"}}"#)).unwrap();
    assert_eq!(parts.timestamp_millis, Some(1_000));
}

#[test]
fn events_that_are_not_as_they_should_be_are_refused() {
    let with =
        |fields: &str| format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t",{fields}}}"#);
    let cases = [
        ("{}".to_owned(), Err(OpenError::Version)),
        (r#"{"specversion":"0.3","id":"7","source":"/s","type":"t"}"#.to_owned(), Err(OpenError::Version)),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#.to_owned(), wrong("id", "is missing")),
        (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#.to_owned(), wrong("id", "is missing")),
        (r#"{"specversion":"1.0","id":"7","type":"t"}"#.to_owned(), wrong("source", "is missing")),
        (with(r#""data":1,"data_base64":"""#), wrong("data", "stands beside `data_base64`")),
        (with(r#""data_base64":"?""#), wrong("data_base64", "is not base64")),
        (
            with(r#""datacontenttype":"text/csv","data":1"#),
            wrong("data", "is no string, although its content type is not JSON"),
        ),
        (with(r#""time":"yesterday""#), wrong("time", "is not a time of RFC 3339")),
        (with(r#""qos":9"#), wrong("qos", "is not 0, 1 or 2")),
        (with(r#""subject":"\u0000""#), wrong("topic", "holds U+0000")),
        (with(r#""data":nul"#), Err(OpenError::Form { line: 1, column: 66 })),
    ];
    for (text, expected) in cases {
        assert_eq!(opened(&event(), &text), expected, "{text}");
    }
}

#[test]
fn errors_of_hostile_envelopes_do_not_quote_them() {
    let error = opened(&JSON_TEXT, r#"{"retain": "secret"}"#).unwrap_err();
    assert_eq!(error.to_string(), "the envelope is not what was expected, at line 1, column 19");
}

#[test]
fn envelopes_that_are_deep_do_no_harm() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let deep = format!(r#"{{"payload": "", "x": {}}}"#, nested(100_000));
    assert!(opened(&JSON_TEXT, &deep).is_ok(), "an unknown field is passed over, however deep it is");
    let deep = format!(r#"{{"payload": {}}}"#, nested(100_000));
    assert_eq!(opened(&JSON_TEXT, &deep).unwrap().payload.len(), 200_000);
    let deep = format!(r#"{{"topic": {}}}"#, nested(100_000));
    assert!(opened(&JSON_TEXT, &deep).is_err());
    assert!(opened(&event(), &deep).is_err());
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "",
        "21.5",
        "-0",
        "1e400",
        "null",
        "\"hi\"",
        "{\"a\": [1, \"\\u00e9\"]}",
        "[",
        "[] []",
        "{\"a\":1,\"a\":2}",
    ];
    prop_oneof![
        proptest::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        "\\PC{0,10}".prop_map(String::into_bytes),
        "[ \n]{0,2}[{\\[\"]{1,2}[a:1,]{0,3}[}\\]\"]{1,2}[ \n]{0,2}".prop_map(String::into_bytes),
    ]
}

fn any_text() -> impl Strategy<Value = Box<str>> {
    "[^\\x00]{0,8}".prop_map(Into::into)
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let pairs = proptest::collection::vec((any_text(), any_text()), 0..4);
    let correlation = option::of(proptest::collection::vec(any::<u8>(), 0..6).prop_map(Into::into));
    let texts = (option::of(any_text()), option::of(any_text()));
    (texts, correlation, option::of(any::<bool>()), pairs).prop_map(
        |((content_type, reply_to), correlation, payload_is_text, user)| Properties {
            content_type,
            reply_to,
            correlation,
            payload_is_text,
            user,
        },
    )
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let names =
        (option::of(any_text()), option::of(any_text()), option::of(any_text()), option::of(any_text()));
    let times = (option::of(any::<u64>()), option::of(any::<u64>()));
    let topic = option::of("[^\\x00]{1,8}".prop_map(Into::into));
    let first = (topic, any_payload(), 0_u8..3, any::<bool>());
    (first, any_properties(), times, names).prop_map(|(first, properties, times, names)| Parts {
        topic: first.0,
        payload: first.1.into(),
        qos: QoS::from_number(first.2),
        retain: first.3,
        properties,
        expires_in_millis: times.0,
        timestamp_millis: times.1,
        node: names.0,
        client_id: names.1,
        user: names.2,
        id: names.3,
    })
}

/// The payload as it comes back where JSON becomes a part of an envelope.
fn without_spaces(payload: &[u8]) -> &[u8] {
    content::json(payload).map_or(payload, |json| json.get().as_bytes())
}

proptest! {
    #[test]
    fn what_was_put_into_an_object_comes_out_of_it(parts in any_parts()) {
        let text = JSON_TEXT.seal(&parts.facts()).unwrap();
        prop_assert_eq!(JSON_TEXT.open(&text), Ok(Some(parts.clone())));
        let text = JSON_JSON.seal(&parts.facts()).unwrap();
        let is_string = parts.payload.trim_ascii().starts_with(b"\"");
        let payload = if is_string { &parts.payload } else { without_spaces(&parts.payload) };
        let expected = Parts { payload: payload.to_vec().into(), ..parts.clone() };
        prop_assert_eq!(JSON_JSON.open(&text), Ok(Some(expected)));
    }

    #[test]
    fn what_was_put_into_an_event_comes_out_of_it(
        parts in any_parts(),
        id in "[a-z0-9/]{1,8}",
        node in "[a-z0-9.-]{1,8}",
        content_type in option::of("application/json|text/csv|a/b[+]json;q=1|[a-z]{0,4}"),
        timestamp_millis in option::of(0..253_402_300_800_000_u64),
    ) {
        let content_type: Option<Box<str>> = content_type.map(Into::into);
        let properties = Properties { content_type: content_type.clone(), ..parts.properties.clone() };
        let parts = Parts { id: Some(id.into()), node: Some(node.clone().into()), timestamp_millis, properties, ..parts };
        let Ok(bytes) = event().seal(&parts.facts()) else {
            let texts = [&parts.topic, &parts.client_id, &parts.user];
            let has_control = texts.into_iter().flatten().any(|text| text.contains(char::is_control));
            prop_assert!(has_control);
            return Ok(());
        };
        let back = event().open(&bytes).unwrap().unwrap();
        let is_json = content_type.as_deref().is_none_or(|text| text.contains("/json") || text.contains("+json"));
        let payload = if is_json { without_spaces(&parts.payload) } else { &parts.payload };
        prop_assert_eq!(&back.payload[..], payload);
        let assumed = match content::json(&parts.payload) {
            Some(_) => Some("application/json"),
            None => (!payload.is_empty() && str::from_utf8(payload).is_ok()).then_some("text/plain"),
        };
        prop_assert_eq!(back.properties.content_type.as_deref(), content_type.as_deref().or(assumed));
        let source: (Box<str>, Box<str>) = ("source".into(), format!("/{node}").into());
        prop_assert_eq!(&back.properties.user[0], &source);
        let same = Parts { payload: parts.payload.clone(), properties: parts.properties.clone(), ..back };
        prop_assert_eq!(same, Parts { node: None, expires_in_millis: None, ..parts });
    }

    #[test]
    fn any_bytes_are_opened_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (JSON_TEXT.open(&bytes), event().open(&bytes));
    }

    #[test]
    fn damaged_envelopes_are_opened_without_harm(
        parts in any_parts(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let parts = Parts { id: Some("i".into()), node: Some("n".into()), ..parts };
        for envelope in [JSON_TEXT, JSON_JSON, event()] {
            let Ok(sealed) = envelope.seal(&parts.facts()) else { continue };
            let mut bytes = sealed.into_owned();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = envelope.open(&bytes);
            bytes.truncate(at);
            prop_assert!(envelope.open(&bytes).is_err(), "half an envelope is none");
        }
    }
}
