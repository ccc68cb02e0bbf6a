//! What all runs have in common: seeds, rounds and steps, and the workers' turns, which come when chance says so.

use std::time::Duration;
use tidegate_testkit::pair::World;
use tidegate_testkit::random::Random;

/// One life of a whole node. Chance decides what each step is, and in the end nothing may be missing and nothing left.
pub(crate) trait Life {
    fn step(&mut self);
    fn finish(self);
}

/// Runs the rounds of one test; each has its own seed, which is printed before it begins.
pub(crate) fn for_each_seed(test: u64, rounds: u64, run: impl Fn(u64)) {
    let rounds = from_environment("TIDEGATE_ROUNDS").unwrap_or(rounds);
    let first = test * 1_000_000;
    let seeds = from_environment("TIDEGATE_SEED").map_or(first..first + rounds, |seed| seed..seed + 1);
    for seed in seeds {
        println!("TIDEGATE_SEED={seed}");
        run(seed);
    }
}

/// The same for lives of so many steps.
pub(crate) fn live<L: Life>(test: u64, rounds: u64, steps: usize, begin: impl Fn(u64) -> L) {
    for_each_seed(test, rounds, |seed| {
        let mut life = begin(seed);
        (0..steps).for_each(|_| life.step());
        life.finish();
    });
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// One of the workers reads its mail.
pub(crate) fn read_mail(world: &mut World, random: &mut Random) {
    world.handle_mail(random.below(world.workers()));
}

/// One of the workers ends its turn.
pub(crate) fn end_turn(world: &mut World, random: &mut Random) {
    world.flush_turn(random.below(world.workers()));
}

/// The timers of one worker run out before others have read their mail.
pub(crate) fn let_timers_run_out(world: &mut World, random: &mut Random, time: Duration) {
    world.now += time;
    let (worker, now) = (random.below(world.workers()), world.now);
    world.shard(worker).handle_timers(now);
}
