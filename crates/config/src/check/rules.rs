//! The access rules among each other and beside the listeners: names that nobody has, rules that never decide anything.
//!
//! A rule that is never asked breaks nothing, but its author meant something by it, so it is a warning.

use tidegate_message::TopicPattern;

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::schema::{AccessRule, Config, Permission, RuleAction};
use crate::suggest::did_you_mean;

/// Pairs of patterns that are compared: enough for a few hundred patterns, and nobody waits for a file with more.
const COMPARISONS_MAX: usize = 200_000;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let rules: Vec<Rule<'_>> = config.access.rules.iter().enumerate().map(Rule::new).collect();
    for rule in &rules {
        check_topics(rule, findings);
        check_listeners(rule, config, findings);
    }
    check_order(&rules, findings);
    let allows = |rule: &Rule<'_>| rule.written.permission == Permission::Allow;
    if !rules.is_empty() && !rules.iter().any(allows) && !findings.is_reported("access") {
        let message = "no rule allows anything: every message and every subscription is refused";
        let suggestion = "a last rule `permission = \"allow\"` with `topics = [\"#\"]` allows the rest";
        findings.warning("access.rule", message, Some(suggestion.to_owned()));
    }
}

/// A rule with its place, and its patterns in their order where they can be read.
struct Rule<'c> {
    path: String,
    written: &'c AccessRule,
    patterns: Vec<Option<TopicPattern>>,
}

impl<'c> Rule<'c> {
    fn new((index, written): (usize, &'c AccessRule)) -> Rule<'c> {
        let patterns = written.topics.iter().map(|text| TopicPattern::parse(text).ok()).collect();
        Rule { path: item("access.rule", index), written, patterns }
    }

    fn topic_path(&self, index: usize) -> String {
        item(&join(&self.path, "topics"), index)
    }
}

fn check_topics(rule: &Rule<'_>, findings: &mut Findings<'_>) {
    let topics = join(&rule.path, "topics");
    if rule.patterns.is_empty() && !findings.is_reported(&topics) {
        let suggestion = "write `topics = [\"#\"]` for all topics".to_owned();
        findings.error(
            &topics,
            Part::Value,
            "`topics` is empty: the rule would decide nothing",
            Some(suggestion),
        );
    }
    let written = rule.written;
    let is_allowing = written.permission == Permission::Allow;
    let only_anonymous = written.anonymous && written.users.is_empty();
    for (index, pattern) in rule.patterns.iter().enumerate() {
        let (path, Some(pattern)) = (rule.topic_path(index), pattern) else { continue };
        if is_allowing && written.action == RuleAction::Publish && pattern.is_closed_to_publishers() {
            let message = "no client may publish to a topic that begins with `$` but to a queue, whatever the rules say";
            findings.warning(&path, message, None);
        }
        if is_allowing && only_anonymous && pattern.has_user() {
            let message = "anonymous clients have no user, so a pattern with `%u` allows them nothing";
            findings.warning(&path, message, None);
        }
        if pattern.mixes_names() {
            let message =
                "two names in one level: where one ends and the other begins is the client's choice";
            let suggestion = "give each name a level of its own: `%u/%c`".to_owned();
            findings.warning(&path, message, Some(suggestion));
        }
    }
}

fn check_listeners(rule: &Rule<'_>, config: &Config, findings: &mut Findings<'_>) {
    let names = || config.listeners.iter().map(|listener| listener.name.as_str());
    // A listener whose own name is wrong may be the one that is meant.
    let is_unclear = names().any(str::is_empty);
    for (index, name) in rule.written.listeners.iter().enumerate() {
        if is_unclear || names().any(|known| known == name) {
            continue;
        }
        let known = || format!("the listeners are: {}", names().collect::<Vec<_>>().join(", "));
        let suggestion = did_you_mean(name, names()).unwrap_or_else(known);
        let path = item(&join(&rule.path, "listeners"), index);
        findings.error(
            &path,
            Part::Value,
            format!("no listener is named {}", quoted(name)),
            Some(suggestion),
        );
    }
}

fn check_order(rules: &[Rule<'_>], findings: &mut Findings<'_>) {
    let mut comparisons = 0;
    for (index, rule) in rules.iter().enumerate() {
        let earlier: Vec<&Rule<'_>> =
            rules.iter().take(index).filter(|earlier| precedes(earlier.written, rule.written)).collect();
        for (at, pattern) in rule.patterns.iter().enumerate() {
            comparisons += earlier.iter().map(|earlier| earlier.patterns.len()).sum::<usize>();
            if comparisons > COMPARISONS_MAX {
                return;
            }
            let Some(pattern) = pattern else { continue };
            let Some(decides) = earlier.iter().find(|earlier| decides_first(earlier, rule, pattern)) else {
                continue;
            };
            let note = findings.line_note(&decides.path);
            let message =
                format!("{} is never asked about: an earlier rule{note} decides", quoted(pattern.as_str()));
            let suggestion = "the first rule that fits decides: put the more special one first".to_owned();
            findings.warning(&rule.topic_path(at), message, Some(suggestion));
        }
    }
}

/// Whether the earlier rule is asked about every action and client that the later one is about.
fn precedes(earlier: &AccessRule, later: &AccessRule) -> bool {
    let holds = |all: &[String], some: &[String]| {
        all.is_empty() || (!some.is_empty() && some.iter().all(|name| all.contains(name)))
    };
    let (any_user, later_any_user) =
        [earlier, later].map(|rule| rule.users.is_empty() && !rule.anonymous).into();
    let users = any_user
        || (!later_any_user
            && (earlier.anonymous || !later.anonymous)
            && later.users.iter().all(|name| earlier.users.contains(name)));
    let action = earlier.action == RuleAction::All || earlier.action == later.action;
    action && users && holds(&earlier.clients, &later.clients) && holds(&earlier.listeners, &later.listeners)
}

/// Whether the earlier rule selects what a pattern of the later one selects, for every client. An allowing rule with a name in it
/// selects nothing for a client with an unusable name, to whom a denying rule behind it still speaks.
fn decides_first(earlier: &Rule<'_>, later: &Rule<'_>, pattern: &TopicPattern) -> bool {
    let is_sure = |other: &TopicPattern| {
        earlier.written.permission == Permission::Deny
            || later.written.permission == Permission::Allow
            || !(other.has_user() || other.has_client_id())
    };
    earlier.patterns.iter().flatten().any(|other| is_sure(other) && other.covers_pattern(pattern))
}
