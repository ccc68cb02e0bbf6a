//! The gateway binary; nothing is wired to it yet.

fn main() {}
