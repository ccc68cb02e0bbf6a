//! What the rules allow, at each way in and each way out, and what happens when they change.

use crate::{HOUR, MINUTE, QOS0, QOS1};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{
    AccessRule, AccessRules, Client, Limits, Permission, QueuePolicies, Reconfiguration, RuleAction,
    TopicPolicies, Verdict, Who,
};
use tidegate_message::{Names, Topic, TopicPattern};
use tidegate_protocol::{Attachment, CloseReason, Refusal, RetainedDelivery, Will};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, session};
use tidegate_testkit::random::Random;

const DENIED: Refusal = Refusal::NotAuthorized;

/// Rules as `allow subscribe a/#`.
pub(crate) fn rules(lines: &[&str]) -> AccessRules {
    let rule = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        AccessRule {
            permission: if words[0] == "allow" { Permission::Allow } else { Permission::Deny },
            action: match words[1] {
                "publish" => RuleAction::Publish,
                "subscribe" => RuleAction::Subscribe,
                _ => RuleAction::All,
            },
            topics: words[2..].iter().map(|text| TopicPattern::parse(text).unwrap()).collect(),
            who: Who::default(),
        }
    };
    AccessRules::new(lines.iter().map(rule).collect())
}

/// Puts rules in force; no worker has looked at what it has.
fn put_untold(world: &World, access: Option<Arc<AccessRules>>) {
    world.node().reconfigure(Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
    });
}

/// Puts rules in force and lets every worker look at what it has.
pub(crate) fn put(world: &mut World, access: Option<AccessRules>) {
    let access = access.map(Arc::new);
    put_untold(world, access);
    world.run();
    world.advance(Duration::ZERO);
}

fn world_with(lines: &[&str]) -> World {
    let mut world = World::new(2);
    put(&mut world, Some(rules(lines)));
    world
}

/// A user whose client id and session are called the same.
pub(crate) fn attached_as(world: &mut World, worker: usize, user: &str, client_id: &str) -> Toy {
    let toy = world.toy_as(worker, user, client_id);
    assert!(matches!(toy.attach(world, session(client_id)), Attachment::Now(_)));
    toy
}

fn try_subscribe(world: &mut World, toy: &Toy, text: &str) -> Result<(), Refusal> {
    toy.subscribe_with(world, text, |_| {}).map(drop)
}

fn topics(toy: &Toy) -> Vec<String> {
    let mut topics: Vec<String> = toy.got().into_iter().map(|got| got.topic).collect();
    topics.sort();
    topics
}

/// How often each action was refused: publish, will, subscribe, receive.
fn denied(world: &World) -> [u64; 4] {
    let mut sum = [0; 4];
    for worker in world.node().metrics() {
        let denied = &worker.denied;
        for (sum, counter) in
            sum.iter_mut().zip([&denied.publish, &denied.will, &denied.subscribe, &denied.receive])
        {
            *sum += counter.get();
        }
    }
    sum
}

fn will(topic: &str) -> Will {
    let (topic, payload) = (Topic::parse(topic.as_bytes()).unwrap(), Bytes::from_static(b"gone"));
    Will { topic, payload, qos: QOS1, retain: false, properties: None, expiry: None, delay: Duration::ZERO }
}

/// [MQTT-3.1.1/3.3.5-2]
#[test]
fn a_publish_that_is_not_allowed_goes_nowhere() {
    let mut world = world_with(&["allow publish out/%u", "allow subscribe #"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    let watcher = attached_as(&mut world, 1, "watcher", "w");
    watcher.subscribe(&mut world, "#");
    for topic in ["out/bob", "out", "in"] {
        let refused = ann.publish_with(&mut world, topic, "x", QOS1, |publish| publish.retain = true);
        assert_eq!(refused, Err(DENIED), "{topic}");
    }
    assert!(ann.publish(&mut world, "out/ann", "x", QOS0).is_ok());
    world.run();
    assert_eq!(topics(&watcher), ["out/ann"]);
    assert_eq!((denied(&world), world.node().gauges().retained_messages), ([3, 0, 0, 0], 0));
}

/// A kept route is no right that outlives its rules.
#[test]
fn other_rules_hold_for_the_next_message_on_a_known_topic() {
    let mut world = world_with(&["allow all #"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    assert!(ann.publish(&mut world, "a", "1", QOS1).is_ok());
    put(&mut world, Some(rules(&["deny publish a", "allow all #"])));
    assert_eq!(ann.publish(&mut world, "a", "2", QOS1), Err(DENIED));
    put(&mut world, None);
    assert!(ann.publish(&mut world, "a", "3", QOS1).is_ok());
}

/// MQTT 5.0 section 4.7.2: clients do not talk to each other through the server's own topics.
#[test]
fn nobody_publishes_to_reserved_topics() {
    for access in [None, Some(rules(&["allow all # $SYS/#"]))] {
        let mut world = World::new(1);
        put(&mut world, access);
        let ann = attached_as(&mut world, 0, "ann", "a");
        ann.subscribe(&mut world, "$SYS/#");
        for topic in ["$SYS/uptime", "$share/g/a", "$x"] {
            assert_eq!(ann.publish(&mut world, topic, "x", QOS1), Err(Refusal::ReservedTopic), "{topic}");
        }
        assert_eq!(ann.got(), []);
    }
}

/// [MQTT-3.8.4-6]
#[test]
fn a_subscription_needs_the_right_to_all_of_it() {
    let mut world =
        world_with(&["allow subscribe plant/%u/#", "deny subscribe all/secret", "allow subscribe all/+"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    for text in ["#", "plant/#", "plant/+/x", "plant/bob", "all/secret", "all/#", "$SYS/#"] {
        assert_eq!(try_subscribe(&mut world, &ann, text), Err(DENIED), "{text}");
    }
    for text in ["plant/ann", "plant/ann/#", "all/+", "all/x"] {
        assert_eq!(try_subscribe(&mut world, &ann, text), Ok(()), "{text}");
    }
    assert_eq!((denied(&world), world.node().gauges().subscriptions), ([0, 0, 7, 0], 4));
}

#[test]
fn a_subscription_with_a_hole_gets_everything_but_that() {
    let mut world = world_with(&["deny subscribe a/secret/# a/%c", "allow all #"]);
    let publisher = attached_as(&mut world, 0, "p", "p");
    let receivers = [attached_as(&mut world, 0, "ann", "c1"), attached_as(&mut world, 1, "bob", "c2")];
    for receiver in &receivers {
        receiver.subscribe(&mut world, "a/#");
    }
    for topic in ["a", "a/secret", "a/secret/x", "a/c1", "a/c2", "a/x/c1"] {
        publisher.publish(&mut world, topic, "x", QOS1).unwrap();
    }
    world.run();
    assert_eq!(topics(&receivers[0]), ["a", "a/c2", "a/x/c1"]);
    assert_eq!(topics(&receivers[1]), ["a", "a/c1", "a/x/c1"]);
}

#[test]
fn retained_messages_keep_to_the_rules() {
    let mut world = world_with(&["allow publish #", "deny subscribe a/secret", "allow subscribe a/#"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    for topic in ["a/1", "a/secret", "a/2"] {
        ann.publish_with(&mut world, topic, "x", QOS1, |publish| publish.retain = true).unwrap();
    }
    let retained = |world: &mut World, toy: &Toy, text: &str| {
        toy.subscribe_with(world, text, |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
        world.run();
        topics(toy)
    };
    assert_eq!(retained(&mut world, &ann, "a/+"), ["a/1", "a/2"]);
    // What waits for credit when the rules change is not sent either.
    let bob = world.toy_as(1, "bob", "b");
    bob.attach(&mut world, session("b").credit(1));
    assert_eq!(retained(&mut world, &bob, "a/#").len(), 1);
    put(&mut world, Some(rules(&["deny subscribe a/1 a/2", "allow all #"])));
    bob.accept(&mut world, 1);
    world.run();
    assert_eq!((topics(&bob), denied(&world)), (vec![], [0, 0, 0, 1]));
}

#[test]
fn what_waited_for_a_client_keeps_to_the_rules_of_its_return() {
    let mut world = world_with(&["allow all #"]);
    let publisher = attached_as(&mut world, 0, "p", "p");
    let ann = attached_as(&mut world, 1, "ann", "a");
    ann.subscribe(&mut world, "t/#");
    world.run();
    ann.vanish(&mut world);
    for topic in ["t/1", "t/secret", "t/2"] {
        publisher.publish(&mut world, topic, "x", QOS1).unwrap();
    }
    world.run();
    put(&mut world, Some(rules(&["deny subscribe t/secret", "allow all #"])));
    let ann = attached_as(&mut world, 0, "ann", "a");
    world.run();
    assert_eq!(topics(&ann), ["t/1", "t/2"]);
    assert_eq!((denied(&world)[3], world.dropped("not_authorized")), (1, 1));
}

/// A delivery that is repeated is a delivery: what a connection had not acknowledged does not come again without the right to it.
#[test]
fn unacknowledged_messages_do_not_come_again_without_the_right() {
    let mut world = world_with(&["allow all #"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    ann.subscribe(&mut world, "t/#");
    for topic in ["t/secret", "t/1"] {
        ann.publish(&mut world, topic, "x", QOS1).unwrap();
    }
    world.run();
    assert_eq!(topics(&ann), ["t/1", "t/secret"]);
    ann.vanish(&mut world);
    put(&mut world, Some(rules(&["deny subscribe t/secret", "allow all #"])));
    let ann = attached_as(&mut world, 0, "ann", "a");
    world.run();
    let got = ann.got();
    assert!(
        got.len() == 1 && got[0].topic == "t/1" && got[0].redelivered && got[0].tag == Some(2),
        "{got:?}"
    );
}

#[test]
fn wills_keep_to_the_rules_when_they_are_left_and_when_they_are_published() {
    let mut world = world_with(&["allow publish will/%u", "allow subscribe #"]);
    let watcher = attached_as(&mut world, 1, "watcher", "w");
    watcher.subscribe(&mut world, "#");
    watcher.subscribe(&mut world, "will/+");
    let ann = world.toy_as(0, "ann", "a");
    let refused = ann.attach(&mut world, session("a").will(will("will/bob")));
    assert!(matches!(refused, Attachment::Refused(Refusal::NotAuthorized)));
    assert_eq!((denied(&world), world.node().gauges().sessions), ([0, 1, 0, 0], 1));
    for (lines, expected) in
        [(&["allow publish will/%u", "allow subscribe #"][..], 1), (&["allow subscribe #"], 0)]
    {
        put(&mut world, Some(rules(&["allow publish will/%u", "allow subscribe #"])));
        let ann = world.toy_as(0, "ann", "a");
        ann.attach(&mut world, session("a").will(will("will/ann")));
        put(&mut world, Some(rules(lines)));
        ann.vanish(&mut world);
        world.run();
        assert_eq!(watcher.got().len(), expected, "{lines:?}");
    }
    assert_eq!((denied(&world)[1], world.dropped("not_authorized")), (2, 1));
}

/// Bridges of other brokers announce themselves by a will below `$SYS`; they get in, and it is never published.
#[test]
fn a_will_for_a_reserved_topic_is_let_in_and_not_published() {
    let mut world = World::new(1);
    let watcher = world.attached(0, session("w"));
    watcher.subscribe(&mut world, "$SYS/#");
    let bridge = world.attached(0, session("bridge").will(will("$SYS/broker/connection/b/state")));
    bridge.vanish(&mut world);
    world.run();
    assert_eq!((watcher.got().len(), denied(&world)), (0, [0, 1, 0, 0]));
}

#[test]
fn a_connection_whose_subscription_is_not_allowed_any_more_is_closed() {
    let mut world = world_with(&["allow all #"]);
    let publisher = attached_as(&mut world, 0, "p", "p");
    let lost = attached_as(&mut world, 0, "ann", "lost");
    let narrowed = attached_as(&mut world, 1, "bob", "narrowed");
    let away = attached_as(&mut world, 1, "cid", "away");
    for (toy, filters) in [(&lost, ["a/#", "b"]), (&narrowed, ["a/x", "b"]), (&away, ["a/#", "b"])] {
        for text in filters {
            toy.subscribe(&mut world, text);
        }
    }
    world.run();
    away.vanish(&mut world);
    put(&mut world, Some(rules(&["allow publish #", "deny subscribe a/y", "allow subscribe a/x b"])));
    assert_eq!(lost.link.ended(), Some(CloseReason::NotAuthorized));
    assert!(!narrowed.link.is_ended() && !publisher.link.is_ended());
    assert_eq!((world.node().gauges().subscriptions, denied(&world)), (4, [0, 0, 2, 0]));
    put(&mut world, None);
    let (lost, away) = (attached_as(&mut world, 1, "ann", "lost"), attached_as(&mut world, 0, "cid", "away"));
    for topic in ["a/x", "b"] {
        publisher.publish(&mut world, topic, "x", QOS1).unwrap();
    }
    world.run();
    assert_eq!(
        (topics(&lost), topics(&narrowed), topics(&away)),
        (vec!["b".to_owned()], vec!["a/x".to_owned(), "b".to_owned()], vec!["b".to_owned()])
    );
}

/// While nobody has looked at a subscription yet the rules hold for it all the same.
#[test]
fn other_rules_hold_before_anybody_is_told() {
    let mut world = world_with(&["allow all #"]);
    let [ann, bob] = [attached_as(&mut world, 0, "ann", "a"), attached_as(&mut world, 1, "bob", "b")];
    for toy in [&ann, &bob] {
        toy.subscribe(&mut world, "t/#");
    }
    ann.publish(&mut world, "t/secret", "1", QOS1).unwrap();
    world.run();
    assert_eq!((ann.got_payloads(), bob.got_payloads()), (vec!["1".to_owned()], vec!["1".to_owned()]));
    let access = Some(Arc::new(rules(&["deny subscribe t/secret", "allow all #"])));
    put_untold(&world, access);
    ann.publish(&mut world, "t/secret", "2", QOS1).unwrap();
    world.run();
    assert_eq!((ann.got_payloads(), bob.got_payloads()), (vec![], Vec::<String>::new()));
}

/// A session that anybody may claim is judged by whoever has claimed it last.
#[test]
fn a_session_is_judged_by_its_present_owner() {
    let rule = |anonymous, topics: &str| AccessRule {
        permission: Permission::Allow,
        action: RuleAction::All,
        topics: vec![TopicPattern::parse(topics).unwrap()],
        who: Who { anonymous, ..Who::default() },
    };
    let mut world = World::new(2);
    put(&mut world, Some(AccessRules::new(vec![rule(true, "#"), rule(false, "a")])));
    let publisher = world.attached(0, session("p"));
    let nobody = world.attached(0, session("shared"));
    for text in ["a", "b"] {
        nobody.subscribe(&mut world, text);
    }
    nobody.vanish(&mut world);
    for topic in ["a", "b"] {
        publisher.publish(&mut world, topic, "waited", QOS1).unwrap();
    }
    let ann = attached_as(&mut world, 1, "ann", "shared");
    for topic in ["a", "b"] {
        publisher.publish(&mut world, topic, "live", QOS1).unwrap();
    }
    world.run();
    assert_eq!(topics(&ann), ["a", "a"]);
}

/// Which member of a group receives must not depend on the topic: a shared subscription is allowed as a whole or not at all.
#[test]
fn a_shared_subscription_has_no_holes() {
    let mut world = world_with(&["deny subscribe a/secret", "allow all #"]);
    let ann = attached_as(&mut world, 0, "ann", "a");
    let joined = |world: &mut World, text: &str| {
        ann.subscribe_with(world, text, |subscribe| subscribe.share = Some("group")).map(drop)
    };
    assert_eq!(joined(&mut world, "a/secret"), Err(DENIED));
    assert_eq!(joined(&mut world, "a/#"), Err(DENIED));
    assert_eq!(joined(&mut world, "b/#"), Ok(()));
    ann.publish(&mut world, "b/x", "1", QOS1).unwrap();
    world.run();
    assert_eq!(topics(&ann), ["b/x"]);
}

/// A member that other rules take away leaves its group at once; the others go on, and an offline member is none any more.
#[test]
fn members_of_a_group_leave_it_with_their_right() {
    let mut world = world_with(&["allow all #"]);
    let publisher = attached_as(&mut world, 0, "p", "p");
    let members = [("ann", 0), ("bob", 1), ("cid", 1)]
        .map(|(user, worker)| (attached_as(&mut world, worker, user, user), user));
    for (member, _) in &members {
        member.join(&mut world, "group", "plant/#");
    }
    world.run();
    let [(ann, _), (bob, _), (cid, _)] = &members;
    cid.vanish(&mut world);
    let only_bob = AccessRule {
        permission: Permission::Allow,
        action: RuleAction::Subscribe,
        topics: vec![TopicPattern::parse("plant/#").unwrap()],
        who: Who { users: vec!["bob".into()], ..Who::default() },
    };
    let publish = AccessRule { action: RuleAction::Publish, who: Who::default(), ..only_bob.clone() };
    let access = Some(Arc::new(AccessRules::new(vec![only_bob, publish])));
    put_untold(&world, access);
    // Nobody has been told yet.
    for number in ["1", "2", "3", "4"] {
        publisher.publish(&mut world, "plant/x", number, QOS1).unwrap();
    }
    world.run();
    world.advance(Duration::ZERO);
    assert_eq!(ann.link.ended(), Some(CloseReason::NotAuthorized));
    assert_eq!((ann.got().len(), bob.got_payloads()), (0, ["1", "2", "3", "4"].map(str::to_owned).to_vec()));
    assert_eq!((world.node().gauges().subscriptions, denied(&world)), (1, [0, 0, 2, 0]));
}

#[test]
fn every_rule_change_is_kept_to_whatever_was_subscribed_before() {
    let seed = 20_261_121;
    let mut random = Random::new(seed);
    let mut received = 0;
    for round in 0..40 {
        let mut world = World::new(2);
        let names = [("ann", "c1"), ("bob", "c2"), ("ann", "a/b"), ("eve", "#")];
        let mut toys: Vec<Toy> =
            (0..names.len()).map(|at| attached_as(&mut world, at % 2, names[at].0, names[at].1)).collect();
        for step in 0..4 {
            let access = any_rules(&mut random);
            put(&mut world, Some(access.clone()));
            for (at, toy) in toys.iter_mut().enumerate() {
                if toy.link.is_ended() {
                    *toy = attached_as(&mut world, at % 2, names[at].0, names[at].1);
                }
            }
            world.run();
            toys.iter().for_each(|toy| drop(toy.got()));
            for _ in 0..4 {
                let (at, text) = (random.below(toys.len()), *random.pick(&FILTERS));
                let expected = access.subscription(client(names[at]), &filter(text)) != Verdict::Refused;
                let done = try_subscribe(&mut world, &toys[at], text).is_ok();
                assert_eq!(done, expected, "{text} {:?} seed {seed} round {round} step {step}", names[at]);
            }
            for name in TOPICS {
                let at = random.below(toys.len());
                let topic = Topic::parse(name.as_bytes()).unwrap();
                let done = toys[at].publish(&mut world, name, "x", QOS0).is_ok();
                assert_eq!(
                    done,
                    access.may_publish(client(names[at]), &topic),
                    "{name} seed {seed} round {round}"
                );
            }
            world.run();
            for (at, toy) in toys.iter().enumerate() {
                for name in topics(toy) {
                    let topic = Topic::parse(name.as_bytes()).unwrap();
                    let may = access.may_receive(client(names[at]), &topic);
                    received += 1;
                    assert!(may, "{name} {:?} seed {seed} round {round} step {step}", names[at]);
                }
            }
        }
        world.end_everything(HOUR + MINUTE);
    }
    assert!(received > 500, "only {received} messages were received");
}

const FILTERS: [&str; 8] = ["#", "a/#", "a/+", "+/b", "a", "a/b", "c1/#", "+/+/c2"];
const TOPICS: [&str; 8] = ["a", "b", "a/b", "a/c1", "c1/b", "b/a/c2", "a/b/c2", "z"];

fn client((user, client_id): (&'static str, &'static str)) -> Client<'static> {
    Client { names: Names { user: Some(user), client_id: Some(client_id) }, listener: "" }
}

fn any_rules(random: &mut Random) -> AccessRules {
    let levels = ["a", "b", "+", "%c", "%u"];
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..random.below(5) {
        let (permission, action) =
            (*random.pick(&["allow", "deny"]), *random.pick(&["publish", "subscribe", "all"]));
        let text: Vec<&str> = (0..=random.below(3)).map(|_| *random.pick(&levels)).collect();
        lines.push(format!("{permission} {action} {}{}", text.join("/"), random.pick(&["", "/#"])));
    }
    lines.push(random.pick(&["allow all #", "allow publish #", "deny all #"]).to_string());
    rules(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}
