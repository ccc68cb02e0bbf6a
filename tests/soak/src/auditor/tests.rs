//! The auditor notices each kind of mistake, and accuses nobody of what is allowed.

use super::*;

/// An auditor, and what it is told in the tests below.
struct Case {
    auditor: Auditor,
    world: Rc<World>,
    topic: TopicId,
}

impl Case {
    fn new() -> Case {
        let world = Rc::new(World::new(16));
        let topic = world.filter(world.everything_live()).topics[5];
        Case { auditor: Auditor::new(world.clone(), Violations::new(|_| {})), world, topic }
    }

    fn session(&mut self, filter: FilterId, qos: QoS) -> SessionId {
        let id = self.auditor.session_begins("a session".to_owned());
        self.auditor.subscribing(id, filter, qos, true);
        self.auditor.subscribed(id, filter);
        id
    }

    fn live_session(&mut self, qos: QoS) -> SessionId {
        self.session(self.world.everything_live(), qos)
    }

    fn publish(&mut self, qos: QoS) -> Stamp {
        self.publish_to(self.topic, qos, false)
    }

    fn publish_to(&mut self, topic: TopicId, qos: QoS, retain: bool) -> Stamp {
        let stamp = self.auditor.next_stamp(1, topic);
        self.auditor.publishing(stamp, qos, retain);
        stamp
    }

    fn receive(&mut self, id: SessionId, stamp: Stamp, qos: QoS, dup: bool) {
        let identifiers = [Auditor::identifier(self.world.everything_live())];
        let delivered = Delivered {
            stamp,
            name: None,
            qos,
            checks_qos: true,
            dup,
            retain: false,
            identifiers: Some(&identifiers),
        };
        self.deliver(id, self.topic, delivered);
    }

    fn deliver(&mut self, id: SessionId, topic: TopicId, delivered: Delivered<'_>) {
        let name = self.world.topic(topic).to_owned();
        self.auditor.received(id, &name, delivered);
    }

    /// What was found, when the round is over.
    fn found(mut self) -> Vec<Kind> {
        self.auditor.finish_round();
        self.auditor.violations().counts().keys().copied().collect()
    }
}

const QOS: [QoS; 3] = QoS::ALL;

#[test]
fn what_arrives_once_and_in_order_is_fine() {
    let mut case = Case::new();
    let id = case.live_session(QOS[2]);
    for qos in [QOS[1], QOS[0], QOS[2]] {
        let stamp = case.publish(qos);
        case.receive(id, stamp, qos, false);
        case.auditor.acknowledged(stamp);
    }
    assert_eq!((case.auditor.owed(), case.auditor.tally().kept), (0, 0));
    assert!(case.found().is_empty());
}

#[test]
fn an_acknowledged_message_that_never_arrives_is_lost() {
    let mut case = Case::new();
    case.live_session(QOS[1]);
    let stamp = case.publish(QOS[1]);
    case.auditor.acknowledged(stamp);
    assert_eq!(case.auditor.owed(), 1);
    assert_eq!(case.found(), [Kind::Lost]);
}

#[test]
fn nothing_is_owed_at_level_0_or_without_an_acknowledgement_or_to_who_came_or_left_meanwhile() {
    let mut case = Case::new();
    case.live_session(QOS[0]);
    let leaver = case.live_session(QOS[1]);
    case.publish(QOS[2]);
    let stamp = case.publish(QOS[1]);
    case.live_session(QOS[1]);
    case.auditor.unsubscribing(leaver, case.world.everything_live());
    case.auditor.acknowledged(stamp);
    assert_eq!(case.auditor.owed(), 0);
    assert!(case.found().is_empty());
}

#[test]
fn what_was_owed_to_an_ended_session_is_waived() {
    let mut case = Case::new();
    let id = case.live_session(QOS[1]);
    let stamp = case.publish(QOS[1]);
    case.auditor.acknowledged(stamp);
    case.auditor.session_ends(id);
    assert_eq!((case.auditor.owed(), case.auditor.tally().waived), (0, 1));
    assert!(case.found().is_empty());
}

#[test]
fn a_gap_is_noticed_when_the_next_message_arrives() {
    let mut case = Case::new();
    let id = case.live_session(QOS[1]);
    let (first, second) = (case.publish(QOS[1]), case.publish(QOS[1]));
    case.auditor.acknowledged(first);
    case.receive(id, second, QOS[1], false);
    assert_eq!(case.auditor.violations().counts().get(&Kind::Skipped), Some(&1));
}

#[test]
fn a_gap_is_noticed_when_the_acknowledgement_comes_later() {
    let mut case = Case::new();
    let id = case.live_session(QOS[1]);
    let (first, second) = (case.publish(QOS[1]), case.publish(QOS[1]));
    case.receive(id, second, QOS[1], false);
    case.auditor.acknowledged(first);
    assert_eq!(case.found(), [Kind::Skipped]);
}

#[test]
fn an_older_message_after_a_newer_one_is_out_of_order() {
    let mut case = Case::new();
    let id = case.live_session(QOS[0]);
    let (first, second) = (case.publish(QOS[0]), case.publish(QOS[0]));
    case.receive(id, second, QOS[0], false);
    case.receive(id, first, QOS[0], false);
    assert_eq!(case.found(), [Kind::OutOfOrder]);
}

#[test]
fn a_message_that_was_sent_again_may_come_first_by_its_second_copy() {
    for (qos, is_allowed) in [(1, true), (2, false)] {
        let mut case = Case::new();
        let (first, second) = (case.publish(QOS[qos]), case.publish(QOS[qos]));
        let id = case.live_session(QOS[1]);
        case.receive(id, second, QOS[1], false);
        case.auditor.publishing_again(first);
        case.receive(id, first, QOS[1], false);
        assert_eq!(case.found().is_empty(), is_allowed, "QoS {qos}");
    }
}

#[test]
fn a_second_delivery_needs_a_mark_at_level_1_and_is_wrong_at_the_others() {
    for (qos, dup, is_allowed) in [(1, true, true), (1, false, false), (2, true, false), (0, false, false)] {
        let mut case = Case::new();
        let id = case.live_session(QOS[qos]);
        let stamp = case.publish(QOS[qos]);
        case.receive(id, stamp, QOS[qos], false);
        case.receive(id, stamp, QOS[qos], dup);
        assert_eq!(case.found().is_empty(), is_allowed, "QoS {qos}, dup {dup}");
    }
}

#[test]
fn a_publication_that_is_sent_again_counts_twice_at_level_1_and_once_at_level_2() {
    for (qos, is_allowed) in [(1, true), (2, false)] {
        let mut case = Case::new();
        let id = case.live_session(QOS[1]);
        let stamp = case.publish(QOS[qos]);
        case.receive(id, stamp, QOS[1], false);
        case.auditor.publishing_again(stamp);
        case.receive(id, stamp, QOS[1], false);
        assert_eq!(case.found().is_empty(), is_allowed, "QoS {qos}");
    }
}

#[test]
fn what_nobody_published_or_on_another_topic_is_a_phantom() {
    let mut case = Case::new();
    let id = case.live_session(QOS[1]);
    let elsewhere = case.publish_to(TopicId(0), QOS[1], false);
    case.receive(id, elsewhere, QOS[1], false);
    // A will whose connection ended well has a stamp, and is never published.
    let unpublished = case.auditor.next_stamp(1, case.topic);
    case.receive(id, unpublished, QOS[1], false);
    assert_eq!(case.auditor.violations().counts().get(&Kind::Phantom), Some(&2));
}

#[test]
fn who_never_subscribed_or_had_left_before_is_the_wrong_receiver() {
    let mut case = Case::new();
    let (stranger, leaver) = (case.session(case.world.every_will(), QOS[1]), case.live_session(QOS[1]));
    case.auditor.unsubscribing(leaver, case.world.everything_live());
    let in_between = case.publish(QOS[1]);
    case.receive(leaver, in_between, QOS[1], false);
    assert!(case.auditor.violations().counts().is_empty());
    case.auditor.unsubscribed(leaver, case.world.everything_live());
    let after = case.publish(QOS[1]);
    [stranger, leaver].into_iter().for_each(|id| case.receive(id, after, QOS[1], false));
    assert_eq!(case.auditor.violations().counts().get(&Kind::WrongReceiver), Some(&2));
}

#[test]
fn level_and_identifier_must_be_those_of_a_subscription() {
    let mut case = Case::new();
    let id = case.live_session(QOS[1]);
    let stamp = case.publish(QOS[2]);
    case.receive(id, stamp, QOS[2], false);
    let delivered = Delivered {
        stamp,
        name: None,
        qos: QOS[1],
        checks_qos: true,
        dup: false,
        retain: false,
        identifiers: Some(&[77_777]),
    };
    case.deliver(id, case.topic, delivered);
    let delivered = Delivered { identifiers: Some(&[]), ..delivered };
    case.deliver(id, case.topic, delivered);
    let counts = case.auditor.violations().counts().clone();
    assert_eq!((counts[&Kind::WrongQoS], counts[&Kind::WrongIdentifier]), (1, 2));
}

#[test]
fn retained_messages_are_expected_and_must_not_be_older_than_the_last_acknowledged() {
    let mut case = Case::new();
    let topic = case.world.state_topic(1).unwrap();
    let (old, new) = (case.publish_to(topic, QOS[1], true), case.publish_to(topic, QOS[1], true));
    [old, new].into_iter().for_each(|stamp| case.auditor.acknowledged(stamp));
    let filter = case.world.filters_of(topic)[0];
    let [lucky, unlucky, _forgotten] = [(); 3].map(|()| case.session(filter, QOS[0]));
    assert_eq!(case.auditor.owed(), 3);
    let retained = |stamp| Delivered {
        stamp,
        name: None,
        qos: QOS[0],
        checks_qos: true,
        dup: false,
        retain: true,
        identifiers: None,
    };
    case.deliver(lucky, topic, retained(new));
    assert!(case.auditor.violations().counts().is_empty());
    case.deliver(unlucky, topic, retained(old));
    case.auditor.session_ends(unlucky);
    assert_eq!(case.auditor.violations().counts().get(&Kind::StaleRetained), Some(&1));
    assert!(case.found().contains(&Kind::Lost));
}

/// [MQTT-4.8.2-5]
#[test]
fn what_a_group_is_owed_at_level_2_may_end_with_the_session_of_a_member() {
    for (qos, is_owed) in [(1, true), (2, false)] {
        let mut case = Case::new();
        let filter = case.world.pick_shared(&mut tidegate_testkit::random::Random::new(1));
        let topic = case.world.filter(filter).topics[0];
        let leaver = case.session(filter, QOS[2]);
        case.session(filter, QOS[2]);
        let stamps = [(); 2].map(|()| case.publish_to(topic, QOS[qos], false));
        case.auditor.acknowledged(stamps[0]);
        case.auditor.session_ends(leaver);
        case.auditor.acknowledged(stamps[1]);
        // The gateway may not know yet, and choose the member that is gone.
        let meanwhile = case.publish_to(topic, QOS[qos], false);
        case.auditor.acknowledged(meanwhile);
        assert_eq!(case.auditor.owed(), if is_owed { 3 } else { 0 }, "QoS {qos}");
        case.auditor.session_end_is_known(leaver);
        let after = case.publish_to(topic, QOS[qos], false);
        case.auditor.acknowledged(after);
        assert_eq!(case.auditor.owed(), if is_owed { 4 } else { 1 }, "QoS {qos}");
    }
}

#[test]
fn a_group_is_owed_each_message_once() {
    let mut case = Case::new();
    let mut random = tidegate_testkit::random::Random::new(1);
    let filter = case.world.pick_shared(&mut random);
    let topic = case.world.filter(filter).topics[0];
    let (one, other) = (case.session(filter, QOS[1]), case.session(filter, QOS[1]));
    let (first, second) = (case.publish_to(topic, QOS[1], false), case.publish_to(topic, QOS[1], false));
    [first, second].into_iter().for_each(|stamp| case.auditor.acknowledged(stamp));
    assert_eq!(case.auditor.owed(), 2);
    let identifiers = [Auditor::identifier(filter)];
    let shared = |stamp| Delivered {
        stamp,
        name: None,
        qos: QOS[1],
        checks_qos: true,
        dup: false,
        retain: false,
        identifiers: Some(&identifiers),
    };
    case.deliver(one, topic, shared(first));
    assert_eq!(case.auditor.owed(), 1);
    // A member that loses its connection gives back what it has not acknowledged, and may be given it again.
    case.auditor.connection_ends(one);
    case.deliver(one, topic, shared(first));
    case.auditor.connection_ends(one);
    case.deliver(other, topic, shared(first));
    assert!(case.auditor.violations().counts().is_empty());
    case.deliver(one, topic, shared(first));
    assert_eq!(case.auditor.violations().counts().get(&Kind::Duplicate), Some(&1));
    assert!(case.found().contains(&Kind::Lost), "the second message reached nobody");
}
