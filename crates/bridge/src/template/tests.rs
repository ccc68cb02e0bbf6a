use super::*;
use crate::facts::Facts;
use proptest::prelude::*;
use tidegate_message::{Properties, QoS, Topic, TopicError};

fn facts(properties: &Properties) -> Facts<'_> {
    Facts {
        topic: "plant/line.2/pump-7/state",
        payload: br#"{"device": "p7", "list": [1, {"n": 2.50}], "odd": "a/b", "empty": ""}"#,
        properties: Some(properties),
        qos: QoS::AtLeastOnce,
        retain: true,
        client_id: Some("pump-7"),
        user: None,
        timestamp_millis: Some(1_795_311_000_123),
        node: Some("edge-1"),
        id: Some("edge-1/1f/central/42"),
        ..Facts::default()
    }
}

fn properties() -> Properties {
    let user = [("site", "north"), ("site", "south"), ("a.b", "c d"), ("bad", "x/#")];
    Properties {
        content_type: Some("application/json".into()),
        user: user.map(|(name, value)| (name.into(), value.into())).into(),
        ..Properties::default()
    }
}

fn forward(text: &str, form: Form) -> Result<String, RenderError> {
    render(text, &Vocabulary::FORWARD, form, &facts(&properties()))
}

fn render(text: &str, vocabulary: &Vocabulary, form: Form, facts: &Facts<'_>) -> Result<String, RenderError> {
    let template = Template::parse(text, vocabulary, form).unwrap();
    let mut out = String::from("before ");
    let result = template.render(facts, &mut out);
    let rendered = out.strip_prefix("before ").unwrap().to_owned();
    assert!(result.is_ok() || rendered.is_empty(), "an error leaves nothing behind");
    result.map(|()| rendered)
}

fn refused(text: &str, form: Form) -> TemplateError {
    Template::parse(text, &Vocabulary::FORWARD, form).unwrap_err()
}

#[test]
fn variables_stand_for_what_is_known() {
    let cases = [
        ("{topic}", "plant/line.2/pump-7/state"),
        ("{topic[0]}-{topic[-1]}", "plant-state"),
        ("{topic[1..]}", "line.2/pump-7/state"),
        ("{topic[..-1]}", "plant/line.2/pump-7"),
        ("{topic[1..3]}", "line.2/pump-7"),
        ("{topic[..]}", "plant/line.2/pump-7/state"),
        ("{topic.dotted}", "plant.line/2.pump-7.state"),
        ("{topic[1..3].dotted}", "line/2.pump-7"),
        ("{topic.slashed}", "plant/line.2/pump-7/state"),
        ("{client_id} {user|nobody}", "pump-7 nobody"),
        ("{property.site} {property.a.b}", "north c d"),
        ("{payload.device} {payload.list[0]} {payload.list[1].n}", "p7 1 2.50"),
        ("{timestamp} {timestamp.iso}", "1795311000123 2026-11-22T01:30:00.123Z"),
        ("{qos} {retain} {content_type}", "1 true application/json"),
        ("{node} {id}", "edge-1 edge-1/1f/central/42"),
        ("{{{qos}}} }}{{", "{1} }{"),
        ("ä{qos}ö", "ä1ö"),
    ];
    for (text, expected) in cases {
        assert_eq!(forward(text, Form::Text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_default_stands_for_whatever_cannot_be_put_in() {
    for variable in ["user", "topic[9]", "property.none", "payload.none", "payload.list"] {
        assert_eq!(forward(&format!("<{{{variable}|a|b/c}}>"), Form::Text).as_deref(), Ok("<a|b/c>"));
        assert_eq!(forward(&format!("<{{{variable}|}}>"), Form::Text).as_deref(), Ok("<>"));
    }
    assert_eq!(forward("{client_id|other}", Form::Text).as_deref(), Ok("pump-7"));
}

#[test]
fn what_is_missing_and_has_no_default_is_an_error_that_names_it() {
    let cases = [
        ("{user}", Absence::Missing),
        ("{topic[4]}", Absence::Missing),
        ("{topic[-5]}", Absence::Missing),
        ("{topic[4..]}", Absence::Missing),
        ("{topic[2..2]}", Absence::Missing),
        ("{topic[2..9]}", Absence::Missing),
        ("{property.none}", Absence::Missing),
        ("{payload.none}", Absence::Missing),
        ("{payload.list}", Absence::NotScalar),
    ];
    for (text, absence) in cases {
        let variable: Box<str> = text.trim_matches(['{', '}']).into();
        let error = RenderError::Absent { variable, absence };
        assert_eq!(forward(&format!("x/{text}"), Form::Text), Err(error));
    }
    let error = forward("{payload.list}", Form::Text).unwrap_err();
    assert_eq!(error.to_string(), "`{payload.list}` has no value: it is an object or an array");
    let binary = Facts { payload: b"\xff", ..Facts::default() };
    let error = render("{payload.a}", &Vocabulary::FORWARD, Form::Text, &binary).unwrap_err();
    assert_eq!(error.to_string(), "`{payload.a}` has no value: the payload is not JSON");
}

#[test]
fn in_a_topic_a_value_is_one_level_and_no_wildcard() {
    let character =
        |variable: &str, character| Err(RenderError::Character { variable: variable.into(), character });
    assert_eq!(forward("up/{client_id}/x", Form::Topic).as_deref(), Ok("up/pump-7/x"));
    assert_eq!(forward("up/{payload.odd}", Form::Topic), character("payload.odd", '/'));
    assert_eq!(forward("up/{property.bad}", Form::Topic), character("property.bad", '/'));
    assert_eq!(
        forward("up/{payload.empty}", Form::Topic),
        Err(RenderError::Empty { variable: "payload.empty".into() })
    );
    assert_eq!(forward("up/{payload.odd}", Form::Text).as_deref(), Ok("up/a/b"));
    // A default is the operator's, who may write levels.
    assert_eq!(forward("up/{user|no/body}", Form::Topic).as_deref(), Ok("up/no/body"));
}

#[test]
fn what_comes_from_an_upstream_cannot_choose_other_topics() {
    let receive = |text: &str, routing_key| {
        let place = [("routing_key", String::from(routing_key)), ("queue", "$queue".to_owned())];
        let facts = Facts { place: &place, ..Facts::default() };
        render(text, &Vocabulary::RECEIVE_RABBITMQ, Form::Topic, &facts)
    };
    let character =
        |variable: &str, character| Err(RenderError::Character { variable: variable.into(), character });
    assert_eq!(receive("commands/{routing_key}", "line.7/2.stop").as_deref(), Ok("commands/line/7.2/stop"));
    assert_eq!(receive("commands/{routing_key[1]}", "line.7/2.stop").as_deref(), Ok("commands/7.2"));
    assert_eq!(receive("commands/{routing_key}", "a.#"), character("routing_key", '#'));
    assert_eq!(receive("commands/{routing_key}", "a.+"), character("routing_key", '+'));
    assert_eq!(receive("commands/{routing_key}", "a.\0"), character("routing_key", '\0'));
    assert_eq!(receive("commands/{routing_key.dotted}", "a/b"), character("routing_key.dotted", '/'));
    assert_eq!(
        receive("{routing_key}", "$SYS.x"),
        Err(RenderError::Reserved { variable: "routing_key".into() })
    );
    assert_eq!(receive("{queue}/x", "a"), Err(RenderError::Reserved { variable: "queue".into() }));
    assert_eq!(receive("in/{queue}", "a").as_deref(), Ok("in/$queue"));
    let missing = RenderError::Absent { variable: "routing_key".into(), absence: Absence::Missing };
    assert_eq!(receive("commands/{routing_key}", ""), Err(missing));
    assert_eq!(receive("commands/{routing_key|all}", "").as_deref(), Ok("commands/all"));
}

#[test]
fn records_and_their_places_are_known_by_their_own_words() {
    let place =
        [("key", "k1"), ("partition", "3"), ("offset", "-1")].map(|(name, value)| (name, value.to_owned()));
    let (topic, properties) = ("plant.state", properties());
    let facts = Facts { topic, properties: Some(&properties), place: &place, ..Facts::default() };
    let text = "{topic}/{key}/{partition}/{offset}/{header.site}";
    let kafka = |facts: &Facts<'_>, text| render(text, &Vocabulary::RECEIVE_KAFKA, Form::Topic, facts);
    assert_eq!(kafka(&facts, text).as_deref(), Ok("plant.state/k1/3/-1/north"));
    let nowhere = Facts { place: &[], ..facts };
    let error = RenderError::Absent { variable: "key".into(), absence: Absence::Missing };
    assert_eq!(kafka(&nowhere, "{key}"), Err(error));
}

#[test]
fn a_routing_key_is_made_of_levels_with_dots() {
    assert_eq!(forward("{topic}", Form::RoutingKey).as_deref(), Ok("plant.line/2.pump-7.state"));
    assert_eq!(forward("{topic[1]}.{client_id}", Form::RoutingKey).as_deref(), Ok("line/2.pump-7"));
    assert_eq!(forward("{topic.slashed}", Form::RoutingKey).as_deref(), Ok("plant/line.2/pump-7/state"));
    assert_eq!(forward("{payload.list[1].n}", Form::RoutingKey).as_deref(), Ok("2.50"));
}

#[test]
fn results_are_no_longer_than_their_form_allows() {
    let long = "x".repeat(200);
    let facts = Facts { topic: &long, ..Facts::default() };
    for form in [Form::RoutingKey, Form::ShortText] {
        let error = RenderError::TooLong { bytes_max: 255 };
        assert_eq!(render("{topic}{topic}", &Vocabulary::FORWARD, form, &facts), Err(error));
        assert!(render("{topic}", &Vocabulary::FORWARD, form, &facts).is_ok());
    }
    let text = "{topic}".repeat(64);
    let huge = "x".repeat(2_000);
    let facts = Facts { topic: &huge, ..Facts::default() };
    for form in [Form::Text, Form::Topic] {
        let error = RenderError::TooLong { bytes_max: 65_535 };
        assert_eq!(render(&text, &Vocabulary::FORWARD, form, &facts), Err(error));
    }
}

#[test]
fn a_constant_needs_no_message_and_no_memory() {
    let template = Template::parse("a{{b}}", &Vocabulary::FORWARD, Form::Text).unwrap();
    assert_eq!(template.constant(), Some("a{b}"));
    let mut scratch = String::new();
    assert_eq!(template.rendered(&Facts::default(), &mut scratch), Ok("a{b}"));
    assert_eq!(scratch.capacity(), 0);
    let template = Template::parse("{qos}", &Vocabulary::FORWARD, Form::Text).unwrap();
    assert_eq!(template.constant(), None);
    let mut scratch = String::from("of the last message");
    assert_eq!(template.rendered(&Facts::default(), &mut scratch), Ok("0"));
}

#[test]
fn what_a_template_asks_for_is_known_before_a_message_comes() {
    let template = Template::parse("{payload.a}/{qos}", &Vocabulary::FORWARD, Form::Text).unwrap();
    assert!(template.asks_for(Word::Payload) && template.asks_for(Word::Qos));
    assert!(!template.asks_for(Word::Topic));
    assert_eq!(template.as_str(), "{payload.a}/{qos}");
}

#[test]
fn a_topic_is_made_of_a_template() {
    let mut scratch = String::new();
    let topic = |text: &str, scratch: &mut String| {
        let template = Template::parse(text, &Vocabulary::FORWARD, Form::Topic).unwrap();
        template.render_topic(&facts(&properties()), scratch)
    };
    assert_eq!(topic("up/{topic}", &mut scratch).unwrap().as_str(), "up/plant/line.2/pump-7/state");
    assert_eq!(topic("{user|}", &mut scratch), Err(RenderError::Topic(TopicError::Empty)));
}

#[test]
fn mistakes_are_told_with_their_place_and_what_was_meant() {
    let cases = [
        ("a/{topik}", 4, "there is no variable `topik`; did you mean `topic`?"),
        ("{clientid}", 2, "there is no variable `clientid`; did you mean `client_id`?"),
        ("{Topic}", 2, "there is no variable `Topic`; did you mean `topic`?"),
        ("{xyzzy}", 2, "there is no variable `xyzzy`"),
        ("{}", 2, "there is no variable ``"),
        ("{|x}", 2, "there is no variable ``"),
        ("{ topic}", 2, "there is no variable ` topic`; did you mean `topic`?"),
        (
            "ü{routing_key}",
            3,
            "`routing_key` is not known of messages that are forwarded; did you mean `topic`?",
        ),
        ("{header.x}", 2, "`header` is not known of messages that are forwarded; did you mean `property`?"),
        ("{offset}", 2, "`offset` is not known of messages that are forwarded"),
        ("{qos[1]}", 5, "`qos` is written without anything behind it"),
        ("{property}", 10, "`property` is written with a name behind it: `.site`"),
        ("{property.}", 10, "`property` is written with a name behind it: `.site`"),
        ("{payload}", 9, "`payload` is written with a path behind it: `.device.id`, `.list[0]`"),
        ("{payload.a..b}", 9, "`payload` is written with a path behind it: `.device.id`, `.list[0]`"),
        ("{payload.a[-1]}", 9, "`payload` is written with a path behind it: `.device.id`, `.list[0]`"),
        ("{timestamp.utc}", 11, "`timestamp` is written alone or with `.iso`"),
        (
            "{topic[x]}",
            7,
            "`topic` is written alone, with levels (`[0]`, `[-1]`, `[1..]`, `[..2]`), or with `.dotted` or `.slashed`",
        ),
        ("a{topic", 2, "`{` has no `}`; a brace itself is written `{{`"),
        ("a{topic/{user}", 2, "`{` has no `}`; a brace itself is written `{{`"),
        ("a}b", 2, "`}` has no `{`; a brace itself is written `}}`"),
    ];
    for (text, at, message) in cases {
        let error = refused(text, Form::Text);
        assert_eq!((error.at, error.kind.to_string().as_str()), (at, message), "{text}");
    }
    assert_eq!(
        refused("a}b", Form::Text).to_string(),
        "at character 2: `}` has no `{`; a brace itself is written `}}`"
    );
}

#[test]
fn levels_that_no_topic_has_are_refused() {
    let brackets =
        ["[]", "[1", "[+1]", "[-0]", "[--1]", "[1.5]", "[1...2]", "[123456]", "[0][1]", "[0]x", ".x", "[ 1]"];
    for bracket in brackets {
        let error = refused(&format!("{{topic{bracket}}}"), Form::Text);
        assert!(matches!(error.kind, TemplateErrorKind::Detail { name: "topic", .. }), "{bracket}");
    }
}

#[test]
fn a_topic_is_checked_as_far_as_it_is_known() {
    assert_eq!(refused("a/#", Form::Topic), TemplateError { at: 3, kind: TemplateErrorKind::Forbidden('#') });
    assert_eq!(refused("{topic}/+", Form::Topic).kind, TemplateErrorKind::Forbidden('+'));
    assert_eq!(
        refused("{user|+}", Form::Topic),
        TemplateError { at: 7, kind: TemplateErrorKind::Forbidden('+') }
    );
    assert_eq!(refused("", Form::Topic).kind, TemplateErrorKind::Topic(TopicError::Empty));
    assert_eq!(
        refused("${topic}", Form::Topic),
        TemplateError { at: 2, kind: TemplateErrorKind::ReservedLevel }
    );
    assert_eq!(refused("$SYS-{topic[0]}/x", Form::Topic).kind, TemplateErrorKind::ReservedLevel);
    assert!(Template::parse("$queue/{topic[0]}", &Vocabulary::FORWARD, Form::Topic).is_ok());
    assert!(Template::parse("${topic}", &Vocabulary::FORWARD, Form::Text).is_ok());
}

#[test]
fn templates_are_bounded() {
    assert_eq!(refused(&"x".repeat(TEMPLATE_BYTES_MAX + 1), Form::Text).kind, TemplateErrorKind::TooLong);
    assert_eq!(refused(&"{qos}".repeat(65), Form::Text).kind, TemplateErrorKind::TooManyVariables);
    let long = "x".repeat(256);
    assert_eq!(refused(&long, Form::ShortText).kind, TemplateErrorKind::ResultTooLong { bytes_max: 255 });
    let deep = format!("{{payload{}}}", ".a".repeat(65));
    assert!(matches!(refused(&deep, Form::Text).kind, TemplateErrorKind::Detail { name: "payload", .. }));
}

/// Something like a template, often one.
fn any_template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{topic}".to_owned()),
        Just("{topic[1..]}".to_owned()),
        Just("{client_id}".to_owned()),
        Just("{property.p|x}".to_owned()),
        Just("{payload.a}".to_owned()),
        "[a-c/$.{}\\[\\]|]{0,4}",
        ".{0,3}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm_and_errors_point_into_it(text in any_template()) {
        for form in [Form::Text, Form::ShortText, Form::Topic, Form::RoutingKey] {
            if let Err(error) = Template::parse(&text, &Vocabulary::FORWARD, form) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.at));
            }
        }
    }

    /// Whatever comes in, what a template for a topic makes of it is a topic.
    #[test]
    fn what_is_rendered_as_a_topic_is_one(
        text in any_template(),
        topic in "[a-c/$+#.]{0,6}|.{0,6}",
        client_id in "[a-c/$+#]{0,3}|.{0,3}",
        value in "[a-c/$+#\\x00]{0,3}",
    ) {
        let properties = Properties { user: vec![("p".into(), value.into())], ..Properties::default() };
        let facts = Facts {
            topic: &topic,
            payload: b"{\"a\": \"$/#\"}",
            properties: Some(&properties),
            client_id: Some(&client_id),
            ..Facts::default()
        };
        let Ok(template) = Template::parse(&text, &Vocabulary::FORWARD, Form::Topic) else { return Ok(()) };
        let mut out = String::new();
        if template.render(&facts, &mut out).is_ok() {
            prop_assert!(Topic::parse(out.as_bytes()).is_ok(), "{:?}", out);
            prop_assert!(!out.starts_with('$') || text.starts_with('$') || text.contains('|'));
        }
    }

    /// A topic goes into a routing key and comes back from it as it was.
    #[test]
    fn a_routing_key_tells_which_topic_it_was(topic in "[a-c./]{1,12}") {
        let facts = Facts { topic: &topic, ..Facts::default() };
        let key = render("{topic}", &Vocabulary::FORWARD, Form::RoutingKey, &facts).unwrap();
        let facts = Facts { place: &[("routing_key", key)], ..Facts::default() };
        let back = render("{routing_key}", &Vocabulary::RECEIVE_RABBITMQ, Form::Topic, &facts).unwrap();
        prop_assert_eq!(back, topic);
    }

    #[test]
    fn text_without_braces_stands_for_itself(text in "[^{}]{0,40}") {
        let (doubled, expected) = (format!("{text}{{{{}}}}"), format!("{text}{{}}"));
        let template = Template::parse(&doubled, &Vocabulary::FORWARD, Form::Text).unwrap();
        prop_assert_eq!(template.constant(), Some(expected.as_str()));
    }
}
