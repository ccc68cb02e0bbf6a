//! Who a client is: the rules at the door, answers that take long, methods of several steps, and credentials that change.

use crate::MINUTE;
use std::sync::Arc;
use std::sync::Mutex;
use tidegate_broker::{Authenticator, Certificate, Entrance, Ticket};
use tidegate_protocol::{
    Attachment, Authenticate, Authenticated, Authentication, CloseReason, Consume, CredentialStamp, Denial,
    Evidence, Exchange, Proof, Refusal, Settlement, Step, Verified, WillAction,
};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};

/// Knows "ann" by the password "right", and takes its time with "slow".
#[derive(Debug, Default)]
struct Book {
    tickets: Mutex<Vec<Ticket>>,
    stamp: u64,
}

impl Book {
    fn verified(&self, user: &str) -> Verified {
        Verified { user: user.into(), stamp: CredentialStamp(self.stamp) }
    }
}

impl Authenticator for Book {
    fn verify_password(
        &self,
        user: &str,
        password: &[u8],
        ticket: &dyn Fn() -> Ticket,
    ) -> Option<Result<Verified, Denial>> {
        match (user, password) {
            ("slow", _) => {
                self.tickets.lock().unwrap().push(ticket());
                None
            }
            ("ann", b"right") => Some(Ok(self.verified(user))),
            _ => Some(Err(Denial::BadCredentials)),
        }
    }

    fn begin(&self, method: &str) -> Option<Box<dyn Exchange>> {
        (method == "ECHO").then(|| -> Box<dyn Exchange> { Box::new(Echo(self.stamp)) })
    }

    fn is_current(&self, user: &str, stamp: CredentialStamp) -> bool {
        user != "removed" && stamp == CredentialStamp(self.stamp)
    }
}

/// Says back what it hears, until it hears "I am", and then who that is.
struct Echo(u64);

impl Exchange for Echo {
    fn handle(&mut self, data: &[u8]) -> Step {
        match data.strip_prefix(b"I am ") {
            Some(b"nobody") => Step::Denied(Denial::BadCredentials),
            Some(user) => {
                let user = String::from_utf8(user.to_vec()).unwrap().into();
                Step::Verified(Verified { user, stamp: CredentialStamp(self.0) }, b"bye".to_vec())
            }
            None => Step::Challenge(data.to_vec()),
        }
    }
}

fn world() -> (World, Arc<Book>) {
    let (mut world, book) = (World::new(2), Arc::new(Book::default()));
    world.set_authenticator(book.clone());
    (world, book)
}

fn refused_login(world: &World, reason: &str) -> u64 {
    let of_worker = |metrics: &Arc<tidegate_broker::WorkerMetrics>| {
        metrics.protocols[0].logins_refused().get(reason).copied().unwrap_or_default()
    };
    world.node().metrics().iter().map(of_worker).sum()
}

/// Whom the rules take a client for.
fn user_of(answer: Authentication) -> Result<Option<String>, Denial> {
    match answer {
        Authentication::Now(Authenticated::Accepted { identity, .. }) => {
            Ok(identity.user.as_deref().map(str::to_owned))
        }
        Authentication::Refused(denial) => Err(denial),
        other => panic!("no answer yet: {other:?}"),
    }
}

/// [MQTT-3.1.4-2]: certificate, password, neither; on listeners of all kinds, with and without somebody who can check.
#[test]
fn the_rules_at_the_door() {
    let named = || Certificate::Named("device".into());
    let (bad, anonymous) = (Err(Denial::BadCredentials), Err(Denial::AnonymousNotAllowed));
    let user = |name: &str| Ok(Some(name.to_owned()));
    for (can_check, allow_anonymous, certificate, credentials, expected) in [
        (true, false, Certificate::None, (Some("ann"), Some("right")), user("ann")),
        (true, false, Certificate::None, (Some("ann"), Some("wrong")), bad.clone()),
        (true, false, Certificate::None, (Some("ann"), None), bad.clone()),
        (true, false, Certificate::None, (None, Some("right")), bad.clone()),
        (true, false, Certificate::None, (None, None), anonymous.clone()),
        (true, false, Certificate::None, (Some(""), Some("")), anonymous.clone()),
        // Whoever gives credentials must give the right ones, also where nobody has to.
        (true, true, Certificate::None, (Some("ann"), Some("wrong")), bad.clone()),
        (true, true, Certificate::None, (Some("ann"), Some("right")), user("ann")),
        (true, true, Certificate::None, (None, None), Ok(None)),
        // A name that nobody checks is nobody's.
        (false, true, Certificate::None, (Some("ann"), Some("any")), Ok(None)),
        (false, false, Certificate::None, (Some("ann"), Some("any")), anonymous.clone()),
        // A certificate opens; a name in it goes before any other.
        (true, false, Certificate::Verified, (None, None), Ok(None)),
        (true, false, Certificate::Verified, (Some("ann"), Some("wrong")), bad.clone()),
        (true, false, Certificate::Verified, (Some("ann"), Some("right")), user("ann")),
        (true, false, named(), (Some("ann"), Some("wrong")), user("device")),
        (false, false, named(), (None, None), user("device")),
    ] {
        let mut world = if can_check { world().0 } else { World::new(1) };
        let case = format!("{can_check} {allow_anonymous} {certificate:?} {credentials:?}");
        let toy = world.stranger(0, Entrance { allow_anonymous, certificate, ..Entrance::default() });
        let (name, password) = credentials;
        assert_eq!(user_of(toy.show_password(&mut world, Some("x"), name, password)), expected, "{case}");
        let refusals = expected.as_ref().err().map_or(0, |denial| refused_login(&world, denial.label()));
        assert_eq!(refusals, u64::from(expected.is_err()), "{case}");
    }
}

/// A machine that forgets to ask lets nobody in.
#[test]
fn nothing_is_given_to_a_stranger() {
    let mut world = World::new(1);
    let entrance = Entrance { allow_anonymous: true, ..Entrance::default() };
    let toy = world.stranger(0, entrance);
    toy.set_detached();
    let answer = toy.attach(&mut world, session("x"));
    assert!(matches!(answer, Attachment::Refused(Refusal::NotAuthorized)), "{answer:?}");
    let consume = Consume { consumer: SESSION, credit: 1, settlement: Settlement::Automatic };
    assert_eq!(toy.ask(&mut world, move |broker| broker.consume(consume)), Err(Refusal::NotAuthorized));
}

/// A client of a listener without anonymous clients, which asks to be checked by a password that takes long.
fn slow(world: &mut World, worker: usize) -> Toy {
    let toy = world.stranger(worker, Entrance::default());
    let answer = toy.show_password(world, Some("x"), Some("slow"), Some("any"));
    assert!(matches!(answer, Authentication::Later) && !toy.can_ask(world));
    toy
}

#[test]
fn an_answer_that_takes_long_comes_by_ticket() {
    let (mut world, book) = world();
    let toy = slow(&mut world, 1);
    let ticket = book.tickets.lock().unwrap().pop().unwrap();
    std::thread::scope(|scope| scope.spawn(|| ticket.answer(Ok(book.verified("slow")))).join().unwrap());
    world.run();
    let Some(Ok(Authenticated::Accepted { identity, .. })) = toy.take_checked() else { panic!() };
    assert_eq!((identity.user.as_deref(), identity.client_id.as_deref()), (Some("slow"), Some("x")));
    assert_eq!(identity.proof, Proof::Credentials(CredentialStamp(0)));
    assert!(matches!(toy.attach(&mut world, session("x")), Attachment::Now(_)));
}

/// Whoever drops a ticket unanswered had no room: the client is told, and does not wait for ever.
#[test]
fn a_dropped_ticket_says_busy() {
    let (mut world, book) = world();
    let toy = slow(&mut world, 0);
    book.tickets.lock().unwrap().clear();
    world.run();
    assert_eq!(toy.take_checked(), Some(Err(Denial::Busy)));
    assert_eq!(refused_login(&world, "busy"), 1);
    toy.set_detached();
    assert!(matches!(toy.attach(&mut world, session("x")), Attachment::Refused(Refusal::NotAuthorized)));
}

#[test]
fn an_answer_for_a_connection_that_is_gone_is_nobodys() {
    let (mut world, book) = world();
    let toy = slow(&mut world, 0);
    toy.set_detached();
    toy.vanish(&mut world);
    let next = slow(&mut world, 0);
    let ticket = book.tickets.lock().unwrap().remove(0);
    ticket.answer(Ok(book.verified("slow")));
    world.run();
    assert!(toy.link.is_ended() && toy.take_checked().is_none());
    assert!(next.take_checked().is_none() && !next.can_ask(&mut world), "its own answer is still to come");
}

/// What was right under the old credentials is worth nothing when others count.
#[test]
fn an_answer_that_comes_after_a_change_is_checked_again() {
    let (mut world, book) = world();
    let toy = slow(&mut world, 0);
    let ticket = book.tickets.lock().unwrap().pop().unwrap();
    world.set_authenticator(Arc::new(Book { stamp: 1, ..Book::default() }));
    ticket.answer(Ok(book.verified("slow")));
    world.run();
    assert_eq!(toy.take_checked(), Some(Err(Denial::BadCredentials)));
}

fn show(toy: &Toy, world: &mut World, evidence: Evidence<'static>) -> Authentication {
    toy.ask(world, move |broker| broker.authenticate(Authenticate { client_id: Some("x"), evidence }))
}

fn begin(data: &'static [u8]) -> Evidence<'static> {
    Evidence::Begin { method: "ECHO", data }
}

/// [MQTT-4.12.0-2]: step by step, each through the same request.
#[test]
fn a_method_has_several_steps() {
    let (mut world, _) = world();
    let toy = world.stranger(0, Entrance::default());
    let answer = show(&toy, &mut world, begin(b"hello"));
    let Authentication::Now(Authenticated::Challenge(data)) = answer else { panic!("{answer:?}") };
    assert_eq!(data, b"hello");
    let answer = show(&toy, &mut world, Evidence::Continue { data: b"I am ann" });
    let Authentication::Now(Authenticated::Accepted { identity, data }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((identity.user.as_deref(), &*data), (Some("ann"), &b"bye"[..]));
    assert_eq!(identity.client_id.as_deref(), Some("x"));
}

/// A method that was begun under credentials that do not count any more proves nothing.
#[test]
fn a_method_that_ends_after_a_change_is_checked_again() {
    let (mut world, _) = world();
    let toy = world.stranger(0, Entrance::default());
    show(&toy, &mut world, begin(b"hello"));
    world.set_authenticator(Arc::new(Book { stamp: 1, ..Book::default() }));
    let answer = show(&toy, &mut world, Evidence::Continue { data: b"I am ann" });
    assert!(matches!(answer, Authentication::Refused(Denial::BadCredentials)), "{answer:?}");
    assert_eq!(refused_login(&world, "bad_credentials"), 1);
}

#[test]
fn steps_out_of_order_are_refused() {
    let (mut world, _) = world();
    let steps: [&[Evidence<'static>]; 4] = [
        &[Evidence::Continue { data: b"I am ann" }],
        &[begin(b"hello"), begin(b"again")],
        &[begin(b"hello"), Evidence::Password { user: Some("ann"), password: Some(b"right") }],
        &[begin(b"I am ann"), Evidence::Continue { data: b"I am bob" }],
    ];
    for steps in steps {
        let toy = world.stranger(0, Entrance::default());
        let last = steps.iter().map(|step| show(&toy, &mut world, *step)).last().unwrap();
        assert!(matches!(last, Authentication::Refused(Denial::MalformedExchange)), "{last:?}");
    }
    let toy = world.stranger(0, Entrance::default());
    let unknown = show(&toy, &mut world, Evidence::Begin { method: "PLAIN", data: b"" });
    assert!(matches!(unknown, Authentication::Refused(Denial::UnknownMethod)));
    let denied = show(&toy, &mut world, begin(b"I am ann"));
    assert!(matches!(denied, Authentication::Refused(Denial::MalformedExchange)), "denied once is denied");
}

/// [MQTT-4.12.1-1] [MQTT-4.12.1-2]: a client proves anew who it is, and cannot become somebody else.
#[test]
fn a_known_client_may_prove_itself_anew_and_stays_the_same() {
    let (mut world, _) = world();
    for (user, expected) in [
        ("I am ann", None),
        ("I am bob", Some(Denial::AnotherUser)),
        ("I am nobody", Some(Denial::BadCredentials)),
    ] {
        let toy = world.stranger(0, Entrance::default());
        show(&toy, &mut world, begin(b"I am ann"));
        assert!(matches!(toy.attach(&mut world, session("x").clean()), Attachment::Now(_)));
        let answer = show(&toy, &mut world, begin(b"hello"));
        assert!(matches!(answer, Authentication::Now(Authenticated::Challenge(_))));
        toy.subscribe(&mut world, "still/works");
        let answer = show(&toy, &mut world, Evidence::Continue { data: user.as_bytes() });
        assert_eq!(user_of(answer).err(), expected);
        toy.leave(&mut world, WillAction::Discard);
    }
}

/// Whoever was let in by credentials that do not count any more goes, at once, on every worker; nobody else does.
#[test]
fn a_change_of_credentials_closes_those_who_are_gone() {
    let (mut world, _) = world();
    let anonymous = Entrance { allow_anonymous: true, ..Entrance::default() };
    let known: Vec<Toy> = (0..2)
        .map(|worker| {
            let toy = world.stranger(worker, Entrance::default());
            user_of(toy.show_password(&mut world, None, Some("ann"), Some("right"))).unwrap();
            toy.attach(&mut world, session(&format!("ann-{worker}")));
            toy
        })
        .collect();
    let stays = world.stranger(0, anonymous);
    user_of(stays.show_password(&mut world, None, None, None)).unwrap();
    let named = world.toy_as(1, "device", "device");
    world.set_authenticator(Arc::new(Book::default()));
    assert!(known.iter().all(|toy| !toy.link.is_ended()), "the same credentials change nothing");
    world.set_authenticator(Arc::new(Book { stamp: 1, ..Book::default() }));
    for toy in &known {
        assert_eq!(toy.link.ended(), Some(CloseReason::NotAuthorized));
    }
    assert!(!stays.link.is_ended() && !named.link.is_ended());
}

/// A listener that is changed keeps those whom it would let in again as the same, and no others.
#[test]
fn a_change_of_the_listener_closes_those_whom_it_would_not_let_in_any_more() {
    let named = |name: &str| Certificate::Named(name.into());
    let of = |certificate, allow_anonymous| Entrance { allow_anonymous, certificate, ..Entrance::default() };
    let password = (Some("ann"), Some("right"));
    for (came, credentials, comes, stays) in [
        (of(Certificate::None, true), (None, None), of(Certificate::None, true), true),
        (of(Certificate::None, true), (None, None), of(Certificate::None, false), false),
        (of(Certificate::None, true), password, of(Certificate::None, false), true),
        (of(Certificate::Verified, false), (None, None), of(Certificate::Verified, false), true),
        (of(Certificate::Verified, false), (None, None), of(Certificate::None, false), false),
        (of(Certificate::Verified, false), (None, None), of(Certificate::None, true), true),
        (of(Certificate::Verified, false), (None, None), of(named("device"), false), false),
        (of(Certificate::Verified, false), password, of(named("device"), false), true),
        (of(named("device"), false), (None, None), of(named("device"), false), true),
        (of(named("device"), false), (None, None), of(named("other"), true), false),
        (of(named("device"), false), (None, None), of(Certificate::Verified, true), false),
        (of(named("device"), false), (None, None), of(Certificate::None, true), false),
    ] {
        let (mut world, _) = world();
        let case = format!("{came:?} {credentials:?} {comes:?}");
        let toy = world.stranger(0, came);
        user_of(toy.show_password(&mut world, Some("x"), credentials.0, credentials.1)).unwrap();
        toy.attach(&mut world, session("x"));
        toy.link.come_through(comes);
        world.set_authenticator(Arc::new(Book::default()));
        let expected = (!stays).then_some(CloseReason::NotAuthorized);
        assert_eq!(toy.link.ended(), expected, "{case}");
    }
}

/// Who has connected before a change and logs in after it meets the rules of after it.
#[test]
fn a_client_that_logs_in_after_a_change_meets_the_new_rules() {
    let (mut world, _) = world();
    let toy = world.stranger(0, Entrance { allow_anonymous: true, ..Entrance::default() });
    toy.link.come_through(Entrance::default());
    world.set_authenticator(Arc::new(Book::default()));
    let answer = user_of(toy.show_password(&mut world, Some("x"), None, None));
    assert_eq!(answer, Err(Denial::AnonymousNotAllowed));
}

/// MQTT 5.0 section 5.4.2: whoever only knows a client's name gets neither its messages nor its place.
#[test]
fn a_session_belongs_to_its_user() {
    let mut world = World::new(2);
    let owner = world.toy_as(0, "ann", "device");
    owner.attach(&mut world, session("device"));
    for worker in [0, 1] {
        let thief = world.toy_as(worker, "bob", "device");
        thief.set_detached();
        let answer = thief.attach(&mut world, session("device").clean());
        assert!(matches!(answer, Attachment::Refused(Refusal::NotAuthorized)), "{answer:?}");
    }
    assert!(!owner.link.is_ended());
    let again = world.toy_as(1, "ann", "device");
    again.attach(&mut world, session("device"));
    world.run();
    assert_eq!(owner.link.ended(), Some(CloseReason::SessionTakenOver));
    assert!(again.take_reply().unwrap().unwrap().present);
    world.end_everything(MINUTE * 120);
}
