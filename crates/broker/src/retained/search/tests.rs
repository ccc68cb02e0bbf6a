use super::*;
use crate::Limits;
use crate::retained::Author;
use bytes::Bytes;
use proptest::prelude::*;
use tidegate_message::{Origin, QoS};

const AUTHOR: Author<'_> = Author { worker: 0, keeper: None };

fn message(topic: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}

fn retained(topics: &[String]) -> RetainedMessages {
    let mut retained = RetainedMessages::new(&Limits::default());
    topics.iter().for_each(|topic| drop(retained.store(&message(topic), 1, AUTHOR, Instant::now())));
    retained
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

/// Everything that is found, `count` at a time, with how many steps it took.
fn find_all(retained: &RetainedMessages, search: &mut Search, count: usize) -> (Vec<String>, usize) {
    let (mut found, mut steps) = (Vec::new(), 0);
    while !search.is_over() {
        let more = retained.find(search, count, Instant::now());
        assert!(more.len() <= count);
        found.extend(more.iter().map(|message| message.topic.to_string()));
        steps += 1;
    }
    (found, steps)
}

/// [MQTT-4.7.2-1]
#[test]
fn wildcards_select_as_in_the_subscription_tree() {
    let retained = retained(&["a", "a!", "a/b", "a/b/c", "b", "$SYS/x"].map(str::to_owned));
    let cases: [(&str, &[&str]); 6] = [
        ("a/#", &["a", "a/b", "a/b/c"]),
        ("+", &["a", "a!", "b"]),
        ("#", &["a", "a!", "a/b", "a/b/c", "b"]),
        ("$SYS/#", &["$SYS/x"]),
        ("#/#", &["a", "a!", "a/b", "a/b/c", "b"]),
        ("+/b", &["a/b"]),
    ];
    for (text, expected) in cases {
        assert_eq!(find_all(&retained, &mut retained.search(&filter(text), 2), 1).0, expected, "{text}");
    }
}

/// One topic among many is found without looking at the others.
#[test]
fn a_search_passes_over_what_its_filter_excludes() {
    let topics: Vec<String> =
        (0..20_000).map(|number| format!("{}/{number}/temperature", number % 100)).collect();
    let retained = retained(&topics);
    let cases = [("42/10042/temperature", 1), ("42/10042/#", 1), ("+/10042/+", 1), ("42/+/pressure/#", 0)];
    for (text, expected) in cases {
        let (found, steps) = find_all(&retained, &mut retained.search(&filter(text), 2), 64);
        assert!(found.len() == expected && steps <= 2, "{text}: {found:?} in {steps} steps");
    }
}

/// What a subscription gets live it does not get as state, and what is gone it does not get at all.
#[test]
fn a_search_goes_on_where_it_stopped_whatever_has_changed() {
    let mut retained = retained(&["a/1", "a/2", "a/3", "a/4"].map(str::to_owned));
    let mut search = retained.search(&filter("a/+"), 2);
    assert_eq!(retained.find(&mut search, 2, Instant::now())[1].topic.as_str(), "a/2");
    retained.remove(&Topic::parse(b"a/2").unwrap());
    retained.remove(&Topic::parse(b"a/3").unwrap());
    retained.store(&message("a/25"), 2, AUTHOR, Instant::now()).unwrap();
    assert_eq!(find_all(&retained, &mut search, 9).0, ["a/4"]);
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]",
        Just("+".to_owned()),
        Just("#".to_owned()),
        Just(String::new()),
        Just("a!".to_owned())
    ]
}

proptest! {
    /// The search and the one-by-one matcher are two implementations of the same rule, in steps of any size.
    #[test]
    fn agrees_with_matching_one_by_one(
        topics in prop::collection::btree_set("[$!/ab]{1,7}", 1..60),
        levels in prop::collection::vec(level(), 1..6),
        count in 1..5_usize,
    ) {
        let text = levels.join("/");
        prop_assume!(!text.is_empty());
        let topics: Vec<String> = topics.into_iter().collect();
        let filter = filter(&text);
        let retained = retained(&topics);
        let expected = topics.iter().filter(|topic| filter.matches(&Topic::parse(topic.as_bytes()).unwrap()));
        let (found, _) = find_all(&retained, &mut retained.search(&filter, 2), count);
        prop_assert_eq!(found, expected.cloned().collect::<Vec<_>>());
    }
}
