//! Access rules in the file: what they become, and which mistakes are found in them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{LISTENER, errors_of, load_text};
use tidegate_config::{Permission, RuleAction};

fn rule(lines: &str) -> String {
    format!("[[access.rule]]\n{lines}\n")
}

/// One mistake; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(lines: &str, pieces: &[&str]) {
    let errors = errors_of(format!("{LISTENER}{}", rule(lines)));
    assert_eq!(errors.len(), 1, "{lines}\n{errors:#?}");
    for piece in pieces {
        assert!(errors[0].contains(piece), "`{piece}` is not in:\n{}", errors[0]);
    }
}

fn warnings_of(rules: &[&str]) -> Vec<String> {
    let text: String = rules.iter().map(|lines| rule(lines)).collect();
    let loaded = load_text(format!("{LISTENER}{text}")).unwrap();
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// Rules keep their order and their words.
#[test]
fn reads_rules_in_their_order() {
    let loaded = load_text(format!(
        "{LISTENER}{}{}",
        rule("permission='deny'\naction='publish'\ntopics=['a/%u/#']\nusers=['ann','bob']\nclients=['x']"),
        rule("permission='allow'\ntopics=['#', '$SYS/#']\nanonymous=true\nlisteners=['devices']"),
    ))
    .unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [first, second] = loaded.config.access.rules.as_slice() else { panic!("two rules") };
    assert_eq!((first.permission, first.action), (Permission::Deny, RuleAction::Publish));
    assert_eq!((first.users.len(), first.clients.len(), first.anonymous), (2, 1, false));
    assert_eq!((second.permission, second.action), (Permission::Allow, RuleAction::All));
    assert_eq!(
        (second.topics.as_slice(), second.anonymous),
        (&["#".to_owned(), "$SYS/#".to_owned()][..], true)
    );
}

/// A mistake in a rule is named at its line, with what would be right.
#[test]
fn mistakes_in_rules_are_placed() {
    assert_error("permission='alow'\ntopics=['a']", &["gate.toml:8:12", "did you mean `allow`?"]);
    assert_error("permission='allow'", &["`topics` is missing in `access.rule[0]`"]);
    assert_error("topics=['a']", &["`permission` is missing"]);
    assert_error("permission='allow'\ntopics=[]", &["`topics` is empty", "topics = [\"#\"]"]);
    assert_error(
        "permission='allow'\ntopics=['a', 'b/%d']",
        &["gate.toml:9:14", "`%d` stands for nothing", "`%u`"],
    );
    assert_error("permission='allow'\ntopics=['50%']", &["a `%` stands alone", "`%%`"]);
    assert_error("permission='allow'\ntopics=['a/#/b']", &["`#` must be the last level"]);
    assert_error("permission='allow'\ntopics=['dev+']", &["a wildcard must stand alone", "`a/+/b`"]);
    assert_error("permission='allow'\ntopics=['$share/g/a/b']", &["not about groups", "write `a/b`"]);
    assert_error("permission='allow'\ntopics=['$%u/a']", &["begins with `$`"]);
    assert_error(
        "permission='allow'\ntopics=['a']\nlisteners=['device']",
        &["no listener is named `device`", "did you mean `devices`?"],
    );
    assert_error(
        "permission='allow'\ntopics=['a']\nuser=['x']",
        &["unknown key `user`", "did you mean `users`?"],
    );
}

/// A rule that an earlier one leaves nothing to decide is a warning that says which.
#[test]
fn rules_that_never_decide_are_warned_of() {
    for (earlier, later, pieces) in [
        (
            "permission='allow'\ntopics=['a/#']",
            "permission='deny'\ntopics=['b', 'a/secret']",
            Some("`a/secret`"),
        ),
        ("permission='allow'\ntopics=['a/%u/#']", "permission='allow'\ntopics=['a/%u/x']", Some("(line 7)")),
        (
            "permission='deny'\ntopics=['#']",
            "permission='allow'\ntopics=['a']\nusers=['x']",
            Some("put the more special one first"),
        ),
        (
            "permission='allow'\ntopics=['#']\nusers=['x','y']",
            "permission='deny'\ntopics=['a']\nusers=['y']",
            Some("`a`"),
        ),
        // These decide for somebody.
        ("permission='allow'\ntopics=['a/%u/#']", "permission='deny'\ntopics=['a/%u/x']", None),
        ("permission='allow'\naction='publish'\ntopics=['#']", "permission='deny'\ntopics=['a']", None),
        ("permission='allow'\ntopics=['#']\nusers=['x']", "permission='deny'\ntopics=['a']", None),
        (
            "permission='allow'\ntopics=['#']\nusers=['x']",
            "permission='deny'\ntopics=['a']\nanonymous=true",
            None,
        ),
        ("permission='allow'\ntopics=['#']", "permission='allow'\ntopics=['$SYS/#']", None),
        ("permission='allow'\ntopics=['#']\nlisteners=['devices']", "permission='deny'\ntopics=['a']", None),
    ] {
        let warnings: Vec<String> = warnings_of(&[earlier, later])
            .into_iter()
            .filter(|warning| warning.contains("never asked about"))
            .collect();
        match pieces {
            Some(piece) => {
                assert!(warnings.len() == 1 && warnings[0].contains(piece), "{later}: {warnings:#?}")
            }
            None => assert!(warnings.is_empty(), "{later}: {warnings:#?}"),
        }
    }
}

/// Rules that are right for the grammar and wrong for the purpose.
#[test]
fn rules_that_cannot_be_meant_are_warned_of() {
    for (lines, piece) in [
        ("permission='deny'\ntopics=['a']", "no rule allows anything"),
        ("permission='allow'\naction='publish'\ntopics=['$SYS/#']", "begins with `$`"),
        ("permission='allow'\naction='publish'\ntopics=['$queue']", "begins with `$`"),
        ("permission='allow'\ntopics=['a/%u']\nanonymous=true", "anonymous clients have no user"),
        ("permission='allow'\ntopics=['a/%u-%c']", "two names in one level"),
    ] {
        let warnings = warnings_of(&[lines]);
        assert!(warnings.len() == 1 && warnings[0].contains(piece), "{lines}: {warnings:#?}");
    }
}

/// What STOMP clients call a topic or a queue is another topic in the file, and the rule would never be asked about it.
#[test]
fn destinations_of_stomp_are_warned_of() {
    let warnings = warnings_of(&["permission='allow'\ntopics=['/queue/orders', '/topic/%u/#', '/plant/#']"]);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (warning, pieces) in warnings.iter().zip([
        ["gate.toml:9:9", "`/queue/orders` is a STOMP destination", "write `$queue/orders`"],
        ["gate.toml:9:26", "`/topic/%u/#` is a STOMP destination", "write `%u/#`"],
    ]) {
        pieces.iter().for_each(|piece| assert!(warning.contains(piece), "`{piece}` is not in:\n{warning}"));
    }
}
