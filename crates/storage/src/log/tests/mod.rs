//! Tests of the log as a whole, on a disk and a clock that do what a test says.

pub(super) mod clock;
mod opening;
