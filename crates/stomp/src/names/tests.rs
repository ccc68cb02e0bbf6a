//! Both forms, with and without a virtual host: what each destination means, what is refused, and that printing undoes reading.

use super::*;
use proptest::prelude::*;
use tidegate_testkit::script::{REPLY_PREFIX, RecordingBroker};

const DOTS: TopicSeparator = TopicSeparator::Dot;
const SLASHES: TopicSeparator = TopicSeparator::Slash;

fn names(separator: TopicSeparator, root: &str) -> Names {
    Names::new(Version::V1_2, separator, (!root.is_empty()).then(|| root.into()))
}

fn target_of<'d>(names: &mut Names, destination: &'d str) -> Result<Target<'d>, Fault> {
    names.target_of(destination, &mut RecordingBroker::default())
}

fn source_of(names: &mut Names, destination: &str) -> Result<Source, Fault> {
    names.source_of(destination, &mut RecordingBroker::default())
}

fn target(names: &mut Names, destination: &str) -> Result<String, Fault> {
    target_of(names, destination).map(|target| target.topic.into_owned())
}

fn printed(names: &Names, topic: &str) -> Option<String> {
    let mut buffer = Vec::new();
    names.push_destination(&mut buffer, names.print(topic)?);
    Some(String::from_utf8(buffer).unwrap())
}

fn filter_of(names: &mut Names, destination: &str) -> String {
    let source = source_of(names, destination).unwrap();
    let share = source.share.map(|group| format!(" by {group}")).unwrap_or_default();
    format!("{:?} {}{share}", source.place, source.filter)
}

#[test]
fn each_kind_of_destination_has_its_canonical_text() {
    let cases = [
        (SLASHES, "", "/topic/a/b", Place::Topic, "a/b"),
        (SLASHES, "", "/topic//a.b/", Place::Topic, "/a.b/"),
        (SLASHES, "", "/topic/$SYS/x", Place::Topic, "$SYS/x"),
        (SLASHES, "", "/queue/a/b.c", Place::Queue, "$queue/a/b.c"),
        (SLASHES, "", "/reply-queue/t/x", Place::Reply, "$reply/t/x"),
        (DOTS, "", "/topic/a.b/c*d", Place::Topic, "a/b.c+d"),
        (DOTS, "", "/topic/a.+.é", Place::Topic, "a/*/é"),
        (DOTS, "", "/queue/a.b", Place::Queue, "$queue/a.b"),
        (DOTS, "", "/reply-queue/t/x.y", Place::Reply, "$reply/t/x.y"),
        (SLASHES, "plant/1", "/topic/a/b", Place::Topic, "plant/1/a/b"),
        (DOTS, "plant/1", "/topic/a.b", Place::Topic, "plant/1/a/b"),
        (SLASHES, "plant/1", "/topic/$SYS/x", Place::Topic, "plant/1/$SYS/x"),
        (SLASHES, "plant/1", "/queue/a", Place::Queue, "$queue/plant/1/a"),
        (SLASHES, "plant/1", "/reply-queue/t/x", Place::Reply, "$reply/t/x"),
    ];
    for (separator, root, destination, place, topic) in cases {
        let mut names = names(separator, root);
        let found = target_of(&mut names, destination);
        if topic.contains('+') {
            assert_eq!(found, Err(Fault::WildcardDestination), "{destination}");
            continue;
        }
        assert_eq!(found, Ok(Target { place, topic: topic.into() }), "{destination}");
        assert_eq!(printed(&names, topic).as_deref(), Some(destination), "{topic}");
    }
}

#[test]
fn subscriptions_have_wildcards_and_groups() {
    let cases = [
        (SLASHES, "", "/topic/a/+/#", "Topic a/+/#"),
        (SLASHES, "", "/topic/#/b", "Topic #/b"),
        (SLASHES, "", "/topic/$share/g/a/+", "Topic a/+ by g"),
        (SLASHES, "", "/queue/a/b", "Queue $queue/a/b"),
        (DOTS, "", "/topic/a.*.#", "Topic a/+/#"),
        (DOTS, "", "/topic/$share.g.a.*", "Topic a/+ by g"),
        (DOTS, "", "/queue/a.*", "Queue $queue/a.*"),
        (SLASHES, "plant/1", "/topic/#", "Topic plant/1/#"),
        (DOTS, "plant/1", "/topic/$share.g.#", "Topic plant/1/# by g"),
        (SLASHES, "plant/1", "/queue/a", "Queue $queue/plant/1/a"),
    ];
    for (separator, root, destination, expected) in cases {
        assert_eq!(filter_of(&mut names(separator, root), destination), expected, "{destination}");
    }
}

/// One thing has one name; whoever uses another one is told the right one.
#[test]
fn what_is_no_destination_is_refused() {
    let hint =
        |names: &mut Names, destination| match (target_of(names, destination), source_of(names, destination))
        {
            (Err(Fault::WrongDestination(send)), Err(Fault::WrongDestination(subscribe))) => {
                (send, subscribe)
            }
            other => panic!("{destination}: {other:?}"),
        };
    for (separator, root) in [(SLASHES, ""), (DOTS, ""), (SLASHES, "plant/1"), (DOTS, "plant/1")] {
        let mut names = names(separator, root);
        for destination in ["/queues/a", "/topic", "topic/a", "a/b", "/Topic/a", "/exchange/a", ""] {
            assert_eq!(
                target_of(&mut names, destination),
                Err(Fault::UnsupportedDestination),
                "{destination:?}"
            );
            assert_eq!(
                source_of(&mut names, destination),
                Err(Fault::UnsupportedDestination),
                "{destination:?}"
            );
        }
        for (destination, send, subscribe) in [
            ("/topic/$queue/a", "/queue/ and its name", "/queue/ and its name"),
            ("/topic/$queue", "/queue/ and its name", "/queue/ and its name"),
            ("/topic/$reply/t/a", "was in `reply-to`", "was in `reply-to`"),
            ("/topic/", "a topic is missing", "a topic is missing"),
            ("/queue/", "name is missing", "name is missing"),
            ("/temp-queue/", "a name is missing", "a name is missing"),
            ("/reply-queue/t", "/reply-queue/<token>/<name>", "of another connection"),
            ("/reply-queue//a", "/reply-queue/<token>/<name>", "of another connection"),
            (
                "/topic/$share",
                "a shared subscription is /topic/$share",
                "a shared subscription is /topic/$share",
            ),
        ] {
            let (sent, subscribed) = hint(&mut names, destination);
            assert!(
                sent.contains(send) && subscribed.contains(subscribe),
                "{destination}: {sent}, {subscribed}"
            );
        }
    }
    let mut slashes = names(SLASHES, "");
    for destination in ["/topic/$share/g/a", "/topic/$share//a", "/topic/$share/g/"] {
        let refused = Err(Fault::WrongDestination("nothing can be sent to a shared subscription"));
        assert_eq!(target_of(&mut slashes, destination), refused, "{destination}");
    }
    for destination in ["/topic/$share//a", "/topic/$share/g", "/topic/$share/g/", "/topic/$share/g+/a"] {
        assert_eq!(source_of(&mut slashes, destination), Err(slashes.malformed_share()), "{destination}");
    }
    for word in ["$queue", "$share", "$reply"] {
        let nested = source_of(&mut slashes, &format!("/topic/$share/g/{word}/a"));
        assert!(
            matches!(nested, Err(Fault::WrongDestination(hint)) if hint.contains("only topics can be shared"))
        );
    }
}

#[test]
fn wildcards_stand_in_subscriptions_to_topics_only() {
    let (mut slashes, mut dots) = (names(SLASHES, ""), names(DOTS, ""));
    for destination in ["/topic/a/+", "/topic/#", "/queue/a/#", "/temp-queue/+", "/reply-queue/t/+"] {
        assert_eq!(target_of(&mut slashes, destination), Err(Fault::WildcardDestination), "{destination}");
    }
    assert_eq!(target_of(&mut dots, "/topic/a.*"), Err(Fault::WildcardDestination));
    for destination in ["/queue/+", "/queue/a/#", "/temp-queue/#"] {
        assert_eq!(source_of(&mut dots, destination), Err(Fault::WildcardDestination), "{destination}");
    }
    assert!(matches!(source_of(&mut slashes, "/topic/a#"), Err(Fault::InvalidFilter(_))));
    assert!(matches!(source_of(&mut slashes, "/queue/a#"), Err(Fault::InvalidFilter(_))));
}

/// A dot form in a slash form's place, or the other way round, must not become a subscription to which nothing is ever published.
#[test]
fn mixed_forms_of_shared_subscriptions_are_told() {
    let mut dots = names(DOTS, "");
    assert_eq!(source_of(&mut dots, "/topic/$share/g/a.b"), Err(dots.malformed_share()));
    assert_eq!(filter_of(&mut names(SLASHES, ""), "/topic/$share.g.a"), "Topic $share.g.a");
}

/// The own address is called what it is for its owner, and shown to everybody else as one to which an answer can be sent.
#[test]
fn an_own_address_has_a_name_for_the_owner_and_one_for_others() {
    let printed_for_others = |names: &Names, topic: &str| {
        let mut buffer = Vec::new();
        names.push_destination(&mut buffer, names.print_reply_to(topic).unwrap());
        String::from_utf8(buffer).unwrap()
    };
    for (separator, root) in [(SLASHES, ""), (DOTS, "plant/1")] {
        let mut broker = RecordingBroker::default();
        let mut names = names(separator, root);
        let topic = format!("{REPLY_PREFIX}a.b/c");
        assert_eq!(printed(&names, &topic).as_deref(), Some("/reply-queue/own/a.b/c"), "not asked for yet");
        for _ in 0..2 {
            let target = names.target_of("/temp-queue/a.b/c", &mut broker).unwrap();
            assert_eq!((target.place, &*target.topic), (Place::Reply, &*topic));
            let source = names.source_of("/temp-queue/a.b/c", &mut broker).unwrap();
            assert_eq!((source.place, source.filter.as_str()), (Place::Reply, &*topic));
        }
        assert_eq!(broker.take_requests().len(), 1, "the prefix is asked for once");
        assert_eq!(printed(&names, &topic).as_deref(), Some("/temp-queue/a.b/c"));
        assert_eq!(printed_for_others(&names, &topic), "/reply-queue/own/a.b/c");
        assert_eq!(target(&mut names, "/reply-queue/own/a.b/c"), Ok(topic));
        assert_eq!(printed(&names, "$reply/other/a").as_deref(), Some("/reply-queue/other/a"));
    }
}

#[test]
fn what_has_no_destination_is_not_printed() {
    let slashes = names(SLASHES, "");
    for topic in ["$queue/", "$queue", "$reply/t", "$reply/t/", "$share/g/a"] {
        assert_eq!(printed(&slashes, topic), None, "{topic}");
    }
    for separator in [SLASHES, DOTS] {
        let host = names(separator, "plant/1");
        for topic in [
            "a",
            "plant/1",
            "plant/1/",
            "plant/10/a",
            "$SYS/x",
            "$queue/a",
            "$queue/plant/1/",
            "plant/1/$queue/a",
        ] {
            assert_eq!(printed(&host, topic), None, "{topic}");
        }
    }
}

/// Any topic, the odd ones more often than not.
fn any_topic() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c./*$]{1,12}",
        "(\\$queue|\\$reply|\\$share|\\$SYS|plant|plant/1)[./][a-c./*]{0,6}",
        "[^\\x00+#]{1,20}"
    ]
}

fn any_names() -> impl Strategy<Value = Names> {
    let separator = prop_oneof![Just(SLASHES), Just(DOTS)];
    (separator, prop_oneof![Just(""), Just("plant"), Just("plant/1")])
        .prop_map(|(form, root)| names(form, root))
}

fn unescaped(text: &str) -> String {
    text.replace("\\c", ":").replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// parse(print(topic)) == topic
    #[test]
    fn a_printed_topic_is_parsed_back(mut names in any_names(), topic in any_topic()) {
        prop_assume!(!topic.contains('\\'));
        if let Some(destination) = printed(&names, &topic) {
            prop_assert_eq!(target(&mut names, &unescaped(&destination)), Ok(topic));
        } else {
            let is_hidden = names.root.is_some() || topic.starts_with('$');
            prop_assert!(is_hidden, "{topic:?} is an ordinary topic and has no destination");
        }
    }

    /// print(parse(destination)) == destination
    #[test]
    fn a_parsed_destination_is_printed_back(
        mut names in any_names(),
        prefix in "/(topic|queue|temp-queue|reply-queue)/",
        text in any_topic(),
    ) {
        prop_assume!(!text.contains('\\'));
        let destination = format!("{prefix}{text}");
        if let Ok(topic) = target(&mut names, &destination) {
            prop_assert_eq!(printed(&names, &topic).map(|text| unescaped(&text)), Some(destination));
        }
    }

    /// A subscription to exactly what a message was sent to selects it, and one level's wildcard selects it as well.
    #[test]
    fn a_filter_is_written_like_its_topics(mut names in any_names(), levels in prop::collection::vec("[a-c]{1,3}", 1..5)) {
        let separator = names.separator;
        let join = |levels: &[String]| match separator {
            TopicSeparator::Slash => levels.join("/"),
            TopicSeparator::Dot => levels.join("."),
        };
        let topic = target(&mut names, &format!("/topic/{}", join(&levels))).unwrap();
        let topic = tidegate_message::Topic::parse(topic.as_bytes()).unwrap();
        let one = if separator == TopicSeparator::Slash { "+" } else { "*" };
        for at in 0..levels.len() {
            let mut pattern = levels.clone();
            pattern[at] = one.to_owned();
            let source = source_of(&mut names, &format!("/topic/{}", join(&pattern))).unwrap();
            prop_assert!(source.filter.matches(&topic), "{} {topic}", source.filter);
        }
        let source = source_of(&mut names, &format!("/topic/{}", join(&levels))).unwrap();
        prop_assert!(source.filter.matches(&topic) && source.filter.is_exact());
    }
}
