//! docs/reference/templates.md: every row of its tables is rendered, and every variable has a row.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use tidegate_bridge::{Facts, Form, Template, Vocabulary, Word};
use tidegate_message::{Properties, QoS};

const PAGE: &str = include_str!("../../../docs/reference/templates.md");

/// The rows of the first table behind a line that begins so: cells without their quotes.
fn rows(behind: &str) -> Vec<Vec<String>> {
    let page = format!("\n{PAGE}");
    let (_, section) = page.split_once(&format!("\n{behind}")).unwrap_or_else(|| panic!("no line {behind}"));
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows: Vec<Vec<String>> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table behind {behind}");
    rows
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap();
    let unquoted = |cell: &str| match cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) {
        // More than one quoted word is a sentence.
        Some(code) if !code.contains('`') => code.to_owned(),
        _ => cell.trim().to_owned(),
    };
    inner.replace("| |", "|  |").split(" | ").map(|cell| unquoted(cell).replace("\\|", "|")).collect()
}

fn properties(site: &[&str]) -> Properties {
    Properties {
        content_type: Some("application/json".into()),
        user: site.iter().map(|site| ("site".into(), (*site).into())).collect(),
        ..Properties::default()
    }
}

fn forwarded(properties: &Properties) -> Facts<'_> {
    let (_, payload) = PAGE.split_once("```json\n").unwrap();
    Facts {
        topic: "plant/line.2/pump-7/state",
        payload: payload.split_once("\n```").unwrap().0.as_bytes(),
        properties: Some(properties),
        qos: QoS::AtLeastOnce,
        retain: true,
        client_id: Some("pump-7"),
        timestamp_millis: Some(1_795_311_000_123),
        node: Some("edge-1"),
        id: Some("edge-1/1f/central/42"),
        ..Facts::default()
    }
}

fn received(properties: &Properties) -> Facts<'_> {
    Facts {
        payload: br#"{"speed": 3}"#,
        properties: Some(properties),
        timestamp_millis: Some(1_795_311_000_000),
        node: Some("edge-1"),
        ..Facts::default()
    }
}

fn place<const N: usize>(pairs: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    pairs.map(|(name, value)| (name, value.to_owned()))
}

fn from_mqtt(properties: &Properties) -> Facts<'_> {
    Facts { topic: "plant/line.2/pump-7/stop", qos: QoS::AtLeastOnce, ..received(properties) }
}

/// The result, or what is said of it.
fn outcome(template: &str, vocabulary: &Vocabulary, form: Form, facts: &Facts<'_>) -> String {
    let template = match Template::parse(template, vocabulary, form) {
        Ok(template) => template,
        Err(error) => return error.to_string(),
    };
    let mut out = String::new();
    match template.render(facts, &mut out) {
        Ok(()) => out,
        Err(error) => error.to_string(),
    }
}

fn check_examples(behind: &str, vocabulary: &Vocabulary, form: Form, facts: &Facts<'_>) {
    for row in rows(behind) {
        let (template, expected) = (&row[0], row.last().unwrap());
        assert_eq!(outcome(template, vocabulary, form, facts), *expected, "{behind}: {template}");
    }
}

fn check_words(behind: &str, vocabulary: &Vocabulary) {
    let name = |row: &Vec<String>| {
        let template = row[0].strip_prefix('{').unwrap().to_owned();
        template.split(['}', '.', '[', '|']).next().unwrap().to_owned()
    };
    let written: BTreeSet<String> = rows(behind).iter().map(name).collect();
    let known: BTreeSet<String> =
        vocabulary.words().iter().map(|word: &Word| word.name().to_owned()).collect();
    assert_eq!(written, known, "{behind}");
}

#[test]
fn every_example_is_what_a_template_makes_of_its_message() {
    let (two, one) = (properties(&["north", "south"]), properties(&["north"]));
    let queue = place([("routing_key", "line/2.pump-7.stop"), ("exchange", "plant"), ("queue", "commands")]);
    let from_rabbitmq = Facts { user: Some("scada"), id: Some("c-17"), place: &queue, ..received(&one) };
    let record = place([("key", "pump-7"), ("partition", "3"), ("offset", "99")]);
    let from_kafka = Facts { topic: "plant.commands", place: &record, ..received(&one) };
    let (forward, rabbitmq) = (Vocabulary::FORWARD, Vocabulary::RECEIVE_RABBITMQ);
    check_examples("## Forwarded messages", &forward, Form::Text, &forwarded(&two));
    check_examples("## Messages from RabbitMQ", &rabbitmq, Form::Text, &from_rabbitmq);
    check_examples("## Records from Kafka", &Vocabulary::RECEIVE_KAFKA, Form::Text, &from_kafka);
    check_examples("## Messages from an MQTT", &Vocabulary::RECEIVE_MQTT, Form::Text, &from_mqtt(&one));
    check_examples("Forwarded messages, in a topic", &forward, Form::Topic, &forwarded(&two));
    check_examples("Forwarded messages, in a routing key", &forward, Form::RoutingKey, &forwarded(&two));
    check_examples("Messages from RabbitMQ, in a topic", &rabbitmq, Form::Topic, &from_rabbitmq);
    check_examples("## Mistakes", &forward, Form::Topic, &forwarded(&two));
}

#[test]
fn every_variable_has_a_row() {
    check_words("## Forwarded messages", &Vocabulary::FORWARD);
    check_words("## Messages from RabbitMQ", &Vocabulary::RECEIVE_RABBITMQ);
    check_words("## Records from Kafka", &Vocabulary::RECEIVE_KAFKA);
    check_words("## Messages from an MQTT", &Vocabulary::RECEIVE_MQTT);
}
