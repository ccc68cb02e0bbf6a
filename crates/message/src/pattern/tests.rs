use super::*;
use crate::FilterLevel;
use proptest::prelude::*;

const ALICE: Names<'_> = Names { user: Some("alice"), client_id: Some("sensor-1") };

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::parse(text.as_bytes()).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

fn allows(text: &str, name: &str, names: Names<'_>) -> bool {
    pattern(text).matches(&topic(name), names, Unnamed::Nothing)
}

#[test]
fn refuses_what_is_no_pattern() {
    for (text, expected) in [
        ("a/#/b", PatternError::Filter(FilterError::ManyNotLast)),
        ("a/%u+", PatternError::Filter(FilterError::WildcardInName)),
        ("", PatternError::Filter(FilterError::Text(crate::TopicError::Empty))),
        ("a/%d", PatternError::UnknownPlaceholder('d')),
        ("a/%U", PatternError::UnknownPlaceholder('U')),
        ("%/a", PatternError::LonelyPercent),
        ("a/100%", PatternError::LonelyPercent),
        ("$%u/a", PatternError::NameInReservedLevel),
        ("$SYS-%c", PatternError::NameInReservedLevel),
    ] {
        assert_eq!(TopicPattern::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn names_stand_as_a_level_or_in_one() {
    for (text, name, expected) in [
        ("plant/%u/#", "plant/alice", true),
        ("plant/%u/#", "plant/alice/x/y", true),
        ("plant/%u/#", "plant/bob", false),
        ("plant/%u/#", "plant/alice2/x", false),
        ("%c", "sensor-1", true),
        ("dev-%c/state", "dev-sensor-1/state", true),
        ("dev-%c/state", "dev-sensor-1x/state", false),
        ("%u.%c/+", "alice.sensor-1/x", true),
        ("a/%%u", "a/%u", true),
        ("a/%%u", "a/alice", false),
        ("$SYS/clients/%c", "$SYS/clients/sensor-1", true),
        ("a//b", "a//b", true),
    ] {
        assert_eq!(allows(text, name, ALICE), expected, "{text} {name}");
    }
}

/// A name that could change the pattern is not put in: it selects nothing where something is allowed, and where something is denied the
/// level stands for every name.
#[test]
fn a_hostile_name_never_widens_a_pattern() {
    for name in ["+", "#", "a/b", "a/#", "", "x+", "/"] {
        let names = Names { user: Some(name), client_id: Some(name) };
        for (text, topics) in [
            ("plant/%u/#", ["plant/alice/x", "plant/a/b", "plant//x", "plant"]),
            ("plant/x%c", ["plant/xa", "plant/x", "plant/xa/b", "plant/+"]),
        ] {
            for name in topics.into_iter().filter(|name| !name.contains('+')) {
                assert!(!allows(text, name, names), "{text} {name} {names:?}");
            }
            assert!(pattern(text).matches(&topic("plant/anybody"), names, Unnamed::AnyName));
            assert!(!pattern(text).covers(&filter("plant/+"), names, Unnamed::Nothing));
            assert!(pattern(text).covers(&filter("plant/+"), names, Unnamed::AnyName));
        }
    }
    assert!(!allows("plant/%u", "plant/x", Names::default()));
}

/// A user called `$SYS` does not own the server's topics.
#[test]
fn a_name_never_reaches_reserved_topics() {
    let names = Names { user: Some("$SYS"), client_id: Some("SYS") };
    assert!(!allows("%u/#", "$SYS/uptime", names));
    assert!(!pattern("%u/#").covers(&filter("$SYS/#"), names, Unnamed::AnyName));
    assert!(allows("clients/%u", "clients/$SYS", names));
    assert!(!allows("#", "$SYS/uptime", names) && !allows("+/uptime", "$SYS/uptime", names));
}

#[test]
fn a_pattern_covers_another_for_all_names() {
    for (outer, inner, expected) in [
        ("a/#", "a/%u/b", true),
        ("a/+/b", "a/x-%c/b", true),
        ("a/%u/#", "a/%u/b", true),
        ("a/%u", "a/%c", false),
        ("a/%u", "a/+", false),
        ("a/alice", "a/%u", false),
        ("#", "$SYS/#", false),
        ("+/#", "#", true),
        ("#", "+/#", true),
        ("+/+/#", "#", false),
    ] {
        assert_eq!(pattern(outer).covers_pattern(&pattern(inner)), expected, "{outer} {inner}");
    }
}

/// `#` before the end, as AMQP allows it, needs a level at the front where a reserved name follows.
#[test]
fn a_filter_with_many_in_front_is_covered_as_its_topics_are() {
    for (outer, inner, expected) in [
        ("+/+/#", "#/$s", true),
        ("+/+/#", "#/s", false),
        ("+/+/+/#", "#/$s", false),
        ("+/+/$s/#", "#/$s/$s", false),
        ("+/+/#", "#/#", false),
    ] {
        let is_covered = pattern(outer).covers(&filter(inner), Names::default(), Unnamed::Nothing);
        assert_eq!(is_covered, expected, "{outer} {inner}");
    }
}

#[test]
fn two_names_in_one_level_are_noticed() {
    assert!(pattern("a/%u-%c").mixes_names() && !pattern("%u/%c").mixes_names());
    assert!(pattern("%u").has_user() && !pattern("%u").has_client_id() && pattern("x%c").has_client_id());
}

fn levels(names: &'static [&'static str], count_max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(names), 1..=count_max).prop_map(|levels| levels.join("/"))
}

/// Patterns over a small alphabet; `#` only at the end.
fn any_pattern() -> impl Strategy<Value = String> {
    let end = prop::sample::select(&["", "/#"][..]);
    let front = levels(&["a", "b", "+", "$s", "%u", "%c"], 3);
    prop_oneof![1 => Just("#".to_owned()), 8 => (front, end).prop_map(|(front, end)| front + end)]
}

/// Every topic that can tell patterns of three levels apart: their names, and one that none of them has. `#` before the end may have to
/// reach over all levels of the other one.
fn topics_of_levels(count_max: usize) -> Vec<Topic> {
    let mut all = vec![String::new()];
    let mut topics = Vec::new();
    for _ in 0..count_max {
        let longer = |text: &String| {
            ["a", "b", "$s", "z"]
                .map(|name| if text.is_empty() { name.into() } else { format!("{text}/{name}") })
        };
        all = all.iter().flat_map(longer).collect();
        topics.extend(all.iter().map(|text| topic(text)));
    }
    topics
}

fn any_names() -> impl Strategy<Value = (Option<&'static str>, Option<&'static str>)> {
    let name = || {
        prop::sample::select(vec![None, Some("a"), Some("b"), Some("+"), Some("a/b"), Some("$s"), Some("")])
    };
    (name(), name())
}

fn hostile_name() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some(""), Some("+"), Some("#"), Some("a/b"), Some("a+")])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Covering and overlapping are what they are topic by topic.
    #[test]
    fn sets_compare_as_their_topics_do(
        text in any_pattern(),
        other in levels(&["a", "b", "+", "$s", "#"], 3),
        (user, client_id) in any_names(),
        any_name in any::<bool>(),
    ) {
        let (pattern, other) = (pattern(&text), filter(&other));
        let (names, unnamed) =
            (Names { user, client_id }, if any_name { Unnamed::AnyName } else { Unnamed::Nothing });
        let (mut covers, mut overlaps) = (true, false);
        for topic in topics_of_levels(6).iter().filter(|topic| other.matches(topic)) {
            let is_selected = pattern.matches(topic, names, unnamed);
            covers &= is_selected;
            overlaps |= is_selected;
        }
        prop_assert_eq!(pattern.covers(&other, names, unnamed), covers);
        let many_first = other.levels().position(|level| level == FilterLevel::Many);
        match many_first.is_none_or(|at| at + 1 == other.levels().count()) {
            true => prop_assert_eq!(pattern.overlaps(&other, names, unnamed), overlaps),
            false => prop_assert!(pattern.overlaps(&other, names, unnamed) || !overlaps),
        }
    }

    /// A pattern with usable names is the filter that one would write by hand.
    #[test]
    fn usable_names_are_put_in_as_text(text in any_pattern()) {
        let names = Names { user: Some("a"), client_id: Some("b") };
        let Ok(pattern) = TopicPattern::parse(&text) else { return Ok(()) };
        let by_hand = filter(&text.replace("%u", "a").replace("%c", "b"));
        for topic in topics_of_levels(4) {
            for unnamed in [Unnamed::Nothing, Unnamed::AnyName] {
                prop_assert_eq!(pattern.matches(&topic, names, unnamed), by_hand.matches(&topic), "{}", topic);
            }
        }
    }

    /// Whoever has an unusable name is allowed nothing that others are not, and denied what anybody is.
    #[test]
    fn unusable_names_are_allowed_less_and_denied_more(text in any_pattern(), hostile in hostile_name()) {
        let pattern = pattern(&text);
        for usable in ["a", "b", "z"] {
            let (hostile, other) = (Names { user: hostile, client_id: Some("a") }, Names { user: Some(usable), client_id: Some("a") });
            for topic in topics_of_levels(4) {
                let others = [Unnamed::Nothing, Unnamed::AnyName].map(|unnamed| pattern.matches(&topic, other, unnamed));
                prop_assert_eq!(others[0], others[1]);
                prop_assert!(others[0] || !pattern.matches(&topic, hostile, Unnamed::Nothing), "{}", topic);
                prop_assert!(!others[0] || pattern.matches(&topic, hostile, Unnamed::AnyName), "{}", topic);
            }
        }
    }
}
