//! A random walk over sessions and their subscriptions on two workers, and a crash behind every step, against a model.

use crate::{HOUR, Kept};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidegate_protocol::{Attachment, WillAction};
use tidegate_storage::record::Description;
use tidegate_storage::{MemoryStorage, ReadMax, Storage, StreamId};
use tidegate_testkit::pair::toy::{Toy, session};
use tidegate_testkit::random::Random;

const CLIENTS: [&str; 4] = ["ann", "bob", "cid", "dan"];
const FILTERS: [&str; 4] = ["a", "a/#", "+/b", "$queue/q"];
const STEPS: usize = 60;
const SEEDS: u64 = 4;

/// What has to be there: each session that outlives its connection, with what it has subscribed, shared or not.
type Sessions = BTreeMap<&'static str, BTreeSet<(bool, &'static str)>>;

#[derive(Default)]
struct Model {
    kept: Sessions,
    /// Sessions that end with their connections.
    short: BTreeSet<&'static str>,
}

/// What stands in a store.
fn stored(storage: &MemoryStorage) -> BTreeMap<String, BTreeSet<(bool, String)>> {
    let max = ReadMax { entries: usize::MAX, bytes: usize::MAX };
    let (mut names, mut sessions) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<_>>::new());
    for entry in storage.read(StreamId::SESSIONS, 0, max).unwrap() {
        match Description::read(&entry.body).unwrap() {
            Description::Session(session) => {
                let name = session.client_id.to_string();
                assert!(sessions.insert(name.clone(), BTreeSet::new()).is_none(), "{name} twice");
                names.insert(session.queue, name);
            }
            Description::Subscription(record) => {
                let of = sessions.get_mut(&names[&record.queue]).unwrap();
                assert!(of.insert((record.share.is_some(), record.filter.as_str().to_owned())), "{record:?}");
            }
            Description::Saved(_) | Description::Will(_) => {}
        }
    }
    sessions
}

fn named(kept: &Sessions) -> BTreeMap<String, BTreeSet<(bool, String)>> {
    let filters = |filters: &BTreeSet<(bool, &str)>| {
        filters.iter().map(|(shared, filter)| (*shared, (*filter).to_owned())).collect()
    };
    kept.iter().map(|(name, of)| ((*name).to_owned(), filters(of))).collect()
}

/// Attaches a client, wherever its session is held.
fn attach(kept: &mut Kept, random: &mut Random, name: &'static str, model: &mut Model) -> Toy {
    let (clean, short) = (random.one_in(4), random.one_in(5));
    let mut attaching = session(name).expiry(if short { Duration::ZERO } else { HOUR });
    attaching.clean_start = clean;
    let toy = kept.world.toy(random.below(2));
    let attached = match toy.attach(&mut kept.world, attaching) {
        Attachment::Now(attached) => attached,
        Attachment::Later => {
            kept.world.run();
            toy.take_reply().unwrap().unwrap()
        }
        Attachment::Refused(refusal) => panic!("{refusal}"),
    };
    let was_short = model.short.remove(name);
    assert_eq!(attached.present, !clean && !was_short && model.kept.contains_key(name), "{name}");
    let before = model.kept.remove(name).filter(|_| attached.present);
    match short {
        true => drop(model.short.insert(name)),
        false => drop(model.kept.insert(name, before.unwrap_or_default())),
    }
    toy
}

fn subscribe(kept: &mut Kept, random: &mut Random, toy: &Toy, name: &'static str, model: &mut Model) {
    let filter = *random.pick(&FILTERS);
    let is_shared = random.one_in(3) && !filter.starts_with('$');
    let is_there = random.one_in(2);
    match (is_there, is_shared) {
        (true, true) => drop(toy.join(&mut kept.world, "group", filter)),
        (true, false) => drop(toy.subscribe(&mut kept.world, filter)),
        (false, true) => drop(toy.leave_group(&mut kept.world, "group", filter)),
        (false, false) => drop(toy.unsubscribe(&mut kept.world, filter)),
    }
    if let Some(of) = model.kept.get_mut(name) {
        match is_there {
            true => of.insert((is_shared, filter)),
            false => of.remove(&(is_shared, filter)),
        };
    }
}

fn walk(seed: u64) {
    let random = &mut Random::new(seed);
    let mut kept = Kept::on(MemoryStorage::manual());
    let (mut model, mut synced) = (Model::default(), Sessions::new());
    let mut toys: BTreeMap<&str, Toy> = BTreeMap::new();
    for step in 0..STEPS {
        let name = *random.pick(&CLIENTS);
        match (toys.get(name).cloned(), random.below(4)) {
            (None, _) | (Some(_), 0) => {
                toys.insert(name, attach(&mut kept, random, name, &mut model));
            }
            (Some(toy), 1) => {
                toys.remove(name);
                match random.one_in(2) {
                    true => toy.vanish(&mut kept.world),
                    false => toy.leave(&mut kept.world, WillAction::Discard),
                }
                model.short.remove(name);
            }
            (Some(toy), _) => subscribe(&mut kept, random, &toy, name, &mut model),
        }
        kept.world.run();
        if random.one_in(2) {
            kept.storage.sync_all();
            synced = model.kept.clone();
        }
        let mut crashed = Kept::on(kept.storage.crash());
        crashed.advance(Duration::ZERO);
        let subscriptions: usize = synced.values().map(BTreeSet::len).sum();
        assert_eq!(stored(&crashed.storage), named(&synced), "seed {seed}, step {step}");
        let counted = (crashed.sessions(), crashed.subscriptions());
        assert_eq!(counted, (synced.len(), subscriptions), "seed {seed}, step {step}");
        if random.one_in(15) {
            (kept, model) = (crashed, Model { kept: synced.clone(), ..Model::default() });
            toys.clear();
            kept.storage.sync_all();
        }
    }
}

#[test]
fn what_was_synced_is_there_after_a_crash_at_any_moment_and_nothing_else() {
    let seed = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let first = seed.unwrap_or(0);
    let seeds = if seed.is_some() { 1 } else { SEEDS };
    (first..first + seeds).for_each(|seed| {
        println!("seed {seed}");
        walk(seed);
    });
}
