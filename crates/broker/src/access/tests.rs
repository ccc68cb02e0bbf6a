use super::*;
use proptest::prelude::*;

fn rule(permission: Permission, action: RuleAction, topics: &[&str]) -> AccessRule {
    let topics = topics.iter().map(|text| TopicPattern::parse(text).unwrap()).collect();
    AccessRule { permission, action, topics, who: Who::default() }
}

fn allow(action: RuleAction, topics: &[&str]) -> AccessRule {
    rule(Permission::Allow, action, topics)
}

fn deny(action: RuleAction, topics: &[&str]) -> AccessRule {
    rule(Permission::Deny, action, topics)
}

fn named<'a>(user: Option<&'a str>, client_id: Option<&'a str>) -> Client<'a> {
    Client { names: Names { user, client_id }, listener: "devices" }
}

fn topic(text: &str) -> Topic {
    Topic::parse(text.as_bytes()).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

const ANN: Client<'_> =
    Client { names: Names { user: Some("ann"), client_id: Some("c1") }, listener: "devices" };

#[test]
fn the_first_rule_that_fits_decides_and_without_one_the_answer_is_no() {
    let rules = AccessRules::new(vec![
        allow(RuleAction::Publish, &["plant/open"]),
        deny(RuleAction::All, &["plant/+"]),
        allow(RuleAction::All, &["plant/#"]),
    ]);
    for (name, publish, receive) in [
        ("plant/open", true, false),
        ("plant/other", false, false),
        ("plant/a/b", true, true),
        ("plant", true, true),
        ("else", false, false),
    ] {
        let may = (rules.may_publish(ANN, &topic(name)), rules.may_receive(ANN, &topic(name)));
        assert_eq!(may, (publish, receive), "{name}");
    }
    assert!(!AccessRules::default().may_publish(ANN, &topic("a")));
    assert_eq!(AccessRules::default().subscription(ANN, &filter("a")), Verdict::Refused);
}

#[test]
fn a_subscription_needs_a_rule_for_all_of_it() {
    let rules = AccessRules::new(vec![
        deny(RuleAction::Subscribe, &["plant/secret/#"]),
        allow(RuleAction::Subscribe, &["plant/#"]),
        allow(RuleAction::Publish, &["#"]),
    ]);
    for (text, expected) in [
        ("plant/a", Verdict::Whole),
        ("plant/public/#", Verdict::Whole),
        ("plant/#", Verdict::ByTopic),
        ("plant/+/x", Verdict::ByTopic),
        ("plant/secret", Verdict::Refused),
        ("plant/secret/+", Verdict::Refused),
        ("#", Verdict::Refused),
        ("+/a", Verdict::Refused),
        ("$SYS/#", Verdict::Refused),
    ] {
        assert_eq!(rules.subscription(ANN, &filter(text)), expected, "{text}");
    }
}

#[test]
fn rules_are_about_users_clients_and_listeners() {
    let who = |users: &[&str], anonymous, client_ids: &[&str], listeners: &[&str]| {
        let boxed = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        Who { users: boxed(users), anonymous, client_ids: boxed(client_ids), listeners: boxed(listeners) }
    };
    for (who, client, expected) in [
        (who(&[], false, &[], &[]), named(None, None), true),
        (who(&["ann"], false, &[], &[]), ANN, true),
        (who(&["ann"], false, &[], &[]), named(Some("bob"), None), false),
        (who(&["ann"], false, &[], &[]), named(None, Some("ann")), false),
        (who(&[], true, &[], &[]), named(None, None), true),
        (who(&[], true, &[], &[]), ANN, false),
        (who(&["ann"], true, &[], &[]), named(None, None), true),
        (who(&["ann"], true, &[], &[]), ANN, true),
        (who(&[], false, &["c1"], &[]), ANN, true),
        (who(&[], false, &["c1"], &[]), named(Some("ann"), None), false),
        (who(&[], false, &["c1"], &["devices"]), ANN, true),
        (who(&["ann"], false, &["c1"], &["browsers"]), ANN, false),
    ] {
        let rules = AccessRules::new(vec![AccessRule { who: who.clone(), ..allow(RuleAction::All, &["#"]) }]);
        assert_eq!(rules.may_publish(client, &topic("a")), expected, "{who:?} {client:?}");
    }
}

/// A deny rule that has no usable name to deny is not skipped: it denies what it denies to anybody.
#[test]
fn a_hostile_name_does_not_step_over_a_deny_rule() {
    let rules =
        AccessRules::new(vec![deny(RuleAction::All, &["vault/%c/#"]), allow(RuleAction::All, &["#"])]);
    let clean = named(None, Some("c1"));
    assert!(
        !rules.may_receive(clean, &topic("vault/c1/x")) && rules.may_receive(clean, &topic("vault/c2/x"))
    );
    for name in [None, Some(""), Some("c1/x"), Some("+"), Some("#")] {
        let hostile = named(None, name);
        assert!(!rules.may_receive(hostile, &topic("vault/c1/x")), "{name:?}");
        assert!(!rules.may_publish(hostile, &topic("vault/c2")), "{name:?}");
        assert_eq!(rules.subscription(hostile, &filter("vault/+/x")), Verdict::Refused, "{name:?}");
        assert_eq!(rules.subscription(hostile, &filter("#")), Verdict::ByTopic, "{name:?}");
    }
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let level = || prop::sample::select(&["a", "b", "+", "%u", "x%c"][..]);
    let front = prop::collection::vec(level(), 1..=3).prop_map(|levels| levels.join("/"));
    let text = prop_oneof![
        1 => Just("#".to_owned()),
        6 => (front, any::<bool>()).prop_map(|(front, many)| if many { front + "/#" } else { front }),
    ];
    let action = prop::sample::select(&[RuleAction::Publish, RuleAction::Subscribe, RuleAction::All][..]);
    (any::<bool>(), action, prop::collection::vec(text, 1..=2), any::<bool>()).prop_map(
        |(allowed, action, topics, anonymous)| {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let permission = if allowed { Permission::Allow } else { Permission::Deny };
            let who = Who { anonymous, users: vec!["a".into(), "b".into()], ..Who::default() };
            AccessRule {
                who: if anonymous { who } else { Who::default() },
                ..rule(permission, action, &topics)
            }
        },
    )
}

fn all_topics() -> Vec<Topic> {
    let mut all = vec![String::new()];
    let mut topics = Vec::new();
    for _ in 0..4 {
        let longer = |text: &String| {
            ["a", "b", "xb", "z"]
                .map(|name| if text.is_empty() { name.into() } else { format!("{text}/{name}") })
        };
        all = all.iter().flat_map(longer).collect();
        topics.extend(all.iter().map(|text| topic(text)));
    }
    topics
}

/// The decision topic by topic, written as plainly as possible: names are put in as text.
fn decides(rules: &[AccessRule], action: RuleAction, (user, client_id): (&str, &str), topic: &Topic) -> bool {
    let by_hand = |text: &str| filter(&text.replace("%u", user).replace("%c", client_id)).matches(topic);
    for rule in rules {
        let is_about = rule.action == RuleAction::All || rule.action == action;
        if is_about && rule.topics.iter().any(|pattern| by_hand(pattern.as_str())) {
            return rule.permission == Permission::Allow;
        }
    }
    false
}

fn any_rules() -> impl Strategy<Value = Vec<AccessRule>> {
    prop::collection::vec(any_rule(), 0..=4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each decision about a topic is the plain one.
    #[test]
    fn topics_are_decided_as_by_hand(rules in any_rules()) {
        let client = named(Some("a"), Some("b"));
        let access = AccessRules::new(rules.clone());
        for topic in all_topics() {
            let expected = decides(&rules, RuleAction::Publish, ("a", "b"), &topic);
            prop_assert_eq!(access.may_publish(client, &topic), expected, "{}", topic);
            let expected = decides(&rules, RuleAction::Subscribe, ("a", "b"), &topic);
            prop_assert_eq!(access.may_receive(client, &topic), expected, "{}", topic);
        }
    }

    /// A subscription that is let in as a whole selects nothing that may not be received; one that is refused because a rule
    /// denies all of it selects nothing that a later rule would let through.
    #[test]
    fn verdicts_hold_for_every_topic(
        rules in any_rules(),
        text in prop::collection::vec(prop::sample::select(&["a", "b", "+", "#"][..]), 1..=3),
        (user, client_id) in (
            prop::sample::select(vec![None, Some("a"), Some("a/b"), Some("+")]),
            prop::sample::select(vec![None, Some("b"), Some("#"), Some("")]),
        ),
    ) {
        let (client, filter) = (named(user, client_id), filter(&text.join("/")));
        let access = AccessRules::new(rules);
        let verdict = access.subscription(client, &filter);
        for topic in all_topics().iter().filter(|topic| filter.matches(topic)) {
            let may = access.may_receive(client, topic);
            prop_assert!(verdict != Verdict::Whole || may, "{} on {}", filter, topic);
            prop_assert!(!filter.is_exact() || verdict == Verdict::Refused || may, "{}", topic);
            prop_assert!(!filter.is_exact() || verdict == Verdict::Whole || !may, "{}", topic);
        }
    }

    /// No name, however chosen, is worth more than another that a pattern takes.
    #[test]
    fn hostile_names_gain_nothing(rules in any_rules(), client_id in prop::sample::select(vec![None, Some("#"), Some("a/b"), Some("")])) {
        let access = AccessRules::new(rules);
        for topic in all_topics() {
            let hostile = named(Some("a"), client_id);
            for usable in ["a", "b", "z"] {
                let other = named(Some("a"), Some(usable));
                prop_assert!(!access.may_publish(hostile, &topic) || access.may_publish(other, &topic), "{}", topic);
                prop_assert!(!access.may_receive(hostile, &topic) || access.may_receive(other, &topic), "{}", topic);
            }
        }
    }
}
