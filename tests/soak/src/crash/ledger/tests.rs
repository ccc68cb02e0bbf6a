//! The ledger notices each of the things that it is there for, and nothing else.

use super::*;

const ORDINARY: &str = "live/1";

struct Scene {
    ledger: Ledger,
    stream: StreamId,
    audience: AudienceId,
}

fn scene(qos: QoS, reach: Reach) -> Scene {
    let mut ledger = Ledger::new(Violations::new(|_| {}));
    let audience = ledger.audience("somebody".to_owned(), "live/#", qos, reach);
    ledger.subscribed(audience);
    let stream = ledger.stream(ORDINARY, qos);
    Scene { ledger, stream, audience }
}

impl Scene {
    fn publish(&mut self) -> Stamp {
        let stamp = self.ledger.publishing(self.stream);
        self.ledger.acknowledged(stamp);
        stamp
    }

    fn receive(&mut self, stamp: Stamp) {
        self.ledger.received(self.audience, ORDINARY, &stamp.payload(20));
    }

    fn verdict(&mut self) -> Vec<Kind> {
        self.ledger.judge_round();
        self.ledger.violations().counts().keys().copied().collect()
    }
}

#[test]
fn what_came_in_order_is_right() {
    let mut scene = scene(QoS::ExactlyOnce, Reach::Session);
    let stamps = [scene.publish(), scene.publish()];
    assert_eq!(scene.ledger.owed(), 2);
    stamps.into_iter().for_each(|stamp| scene.receive(stamp));
    assert_eq!(scene.ledger.owed(), 0);
    assert_eq!(scene.verdict(), []);
}

#[test]
fn what_was_acknowledged_and_never_came_is_lost() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Crowd);
    scene.publish();
    assert_eq!(scene.verdict(), [Kind::Lost]);
}

#[test]
fn what_was_not_acknowledged_or_began_before_the_subscription_is_owed_to_nobody() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
    scene.ledger.publishing(scene.stream);
    let early = scene.ledger.publishing(scene.stream);
    let late = scene.ledger.audience("late".to_owned(), "live/#", QoS::AtLeastOnce, Reach::Session);
    scene.ledger.subscribed(late);
    scene.ledger.acknowledged(early);
    assert_eq!(scene.ledger.owed(), 1);
    scene.receive(early);
    assert_eq!(scene.verdict(), []);
}

#[test]
fn a_message_with_qos_2_comes_once() {
    for (qos, verdict) in [(QoS::ExactlyOnce, &[Kind::Duplicate][..]), (QoS::AtLeastOnce, &[])] {
        let mut scene = scene(qos, Reach::Crowd);
        let stamp = scene.publish();
        scene.receive(stamp);
        scene.receive(stamp);
        assert_eq!(scene.verdict(), verdict);
    }
}

#[test]
fn what_comes_first_comes_in_order_and_what_comes_again_may_step_back() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
    let stamps = [scene.publish(), scene.publish(), scene.publish()];
    for at in [0, 2, 0, 2] {
        scene.receive(stamps[at]);
    }
    assert_eq!(scene.ledger.violations().counts().len(), 0);
    scene.receive(stamps[1]);
    assert_eq!(scene.verdict(), [Kind::OutOfOrder]);
}

/// A publisher repeats everything that was not acknowledged, from the first on. Who has subscribed between the first and the second time may
/// have had the last of them already.
#[test]
fn what_is_repeated_steps_back_for_those_who_have_subscribed_between() {
    for (is_late, is_repeated) in [(false, true), (true, false), (true, true)] {
        let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
        let late = scene.ledger.audience("late".to_owned(), "live/#", QoS::AtLeastOnce, Reach::Session);
        if !is_late {
            scene.ledger.subscribed(late);
        }
        let [first, second] = [(); 2].map(|()| scene.ledger.publishing(scene.stream));
        scene.ledger.subscribed(late);
        scene.ledger.received(late, ORDINARY, &second.payload(20));
        if is_repeated {
            [first, second].into_iter().for_each(|stamp| scene.ledger.publishing_again(stamp));
        }
        for stamp in [first, second] {
            scene.ledger.received(late, ORDINARY, &stamp.payload(20));
        }
        let expected: &[Kind] = if is_late && is_repeated { &[] } else { &[Kind::OutOfOrder] };
        assert_eq!(scene.verdict(), expected, "late: {is_late}, repeated: {is_repeated}");
    }
}

/// Settled, and kept with the later message that was acknowledged: only the kill before that may bring it back.
#[test]
fn what_was_settled_long_before_a_kill_stays_away() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
    let old = scene.publish();
    scene.receive(old);
    scene.ledger.settled(scene.audience, old);
    scene.ledger.killing();
    // Whatever is kept later: the settlement was lost with the life in which it was made.
    let next = scene.publish();
    scene.ledger.killing();
    scene.receive(old);
    assert_eq!(scene.ledger.violations().counts().len(), 0);
    scene.receive(next);
    scene.ledger.settled(scene.audience, old);
    let later = scene.publish();
    scene.receive(later);
    scene.ledger.killing();
    scene.receive(old);
    assert_eq!(scene.verdict(), [Kind::CameBack]);
}

#[test]
fn what_a_round_has_judged_stays_away() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Crowd);
    let stamp = scene.publish();
    scene.receive(stamp);
    scene.ledger.judge_round();
    scene.receive(stamp);
    assert_eq!(scene.verdict(), [Kind::CameBack]);
}

#[test]
fn foreign_bytes_and_foreign_topics_are_phantoms() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
    let stamp = scene.publish();
    scene.receive(stamp);
    assert_eq!(scene.ledger.received(scene.audience, "live/2", &stamp.payload(20)), None);
    assert_eq!(scene.ledger.received(scene.audience, ORDINARY, b"else"), None);
    let unsent = Stamp { sequence: 9, ..stamp };
    assert_eq!(scene.ledger.received(scene.audience, ORDINARY, &unsent.payload(20)), None);
    assert_eq!(scene.verdict(), [Kind::Phantom]);
}

#[test]
fn retained_is_what_was_acknowledged_or_later() {
    let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
    let judge = |scene: &mut Scene, first| {
        let before = scene.ledger.violations().counts().values().sum::<u64>();
        let bounds =
            Bounds { floor: scene.ledger.floor(scene.stream), sent: scene.ledger.sent(scene.stream) };
        scene.ledger.judge_retained(scene.stream, bounds, first);
        scene.ledger.violations().counts().values().sum::<u64>() == before
    };
    assert!(judge(&mut scene, None));
    scene.publish();
    let second = scene.publish();
    scene.ledger.publishing(scene.stream);
    assert!(judge(&mut scene, Some(second.sequence)) && judge(&mut scene, Some(3)));
    assert!(!judge(&mut scene, Some(1)) && !judge(&mut scene, None));
    // What was sent behind the subscription does not stand for what was retained before it.
    assert!(!judge(&mut scene, Some(4)));
    let clear = scene.ledger.clearing(scene.stream);
    assert!(judge(&mut scene, None) && judge(&mut scene, Some(5)));
    scene.ledger.acknowledged(clear);
    assert!(judge(&mut scene, None) && !judge(&mut scene, Some(3)));
}

#[test]
fn a_transaction_comes_whole_or_not_at_all() {
    let mut scene = scene(QoS::ExactlyOnce, Reach::Session);
    let whole = [(); 2].map(|()| scene.ledger.publishing(scene.stream));
    let none = [(); 2].map(|()| scene.ledger.publishing(scene.stream));
    whole.into_iter().for_each(|stamp| scene.receive(stamp));
    [whole, none].into_iter().for_each(|batch| scene.ledger.cut(batch.to_vec()));
    assert_eq!(scene.verdict(), []);
    let half = [(); 2].map(|()| scene.ledger.publishing(scene.stream));
    scene.receive(half[1]);
    scene.ledger.cut(half.to_vec());
    assert_eq!(scene.verdict(), [Kind::HalfTransaction]);
}

#[test]
fn a_will_is_owed_when_its_client_is_gone_and_forbidden_when_it_was_withdrawn() {
    let mut gone = scene(QoS::ExactlyOnce, Reach::Session);
    let will = gone.ledger.publishing(gone.stream);
    gone.ledger.left_behind(will);
    assert_eq!((gone.ledger.owed(), gone.verdict()), (1, vec![Kind::Lost]));
    for is_early in [false, true] {
        let mut withdrawn = scene(QoS::ExactlyOnce, Reach::Session);
        let will = withdrawn.ledger.publishing(withdrawn.stream);
        if is_early {
            withdrawn.receive(will);
        }
        withdrawn.ledger.withdrawn(will);
        if !is_early {
            withdrawn.receive(will);
        }
        assert_eq!(withdrawn.verdict(), [Kind::Withdrawn]);
    }
}

/// A kill right behind the end of a round can undo what was settled last; one that comes when the disk has it cannot.
#[test]
fn what_came_in_an_earlier_round_stays_away_when_the_disk_knows() {
    for (is_killed, is_on_disk) in [(false, false), (true, false), (true, true)] {
        let mut scene = scene(QoS::AtLeastOnce, Reach::Session);
        let stamp = scene.publish();
        scene.receive(stamp);
        assert_eq!(scene.verdict(), []);
        if is_on_disk {
            let later = scene.publish();
            scene.receive(later);
        }
        if is_killed {
            scene.ledger.killing();
        }
        scene.receive(stamp);
        let expected: &[Kind] = if is_killed && !is_on_disk { &[] } else { &[Kind::CameBack] };
        assert_eq!(scene.verdict(), expected, "killed: {is_killed}, on the disk: {is_on_disk}");
    }
}
