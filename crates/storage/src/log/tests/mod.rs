//! Tests of the log as a whole, on a disk and a clock that do what a test says.

pub(super) mod clock;
mod crash_disk;
mod crashes;
mod damage;
mod errors;
mod format;
mod making_room;
mod opening;
mod reading;
mod reclaiming;
mod world;
