//! Bridges of the real binary to other people's servers: nothing that was acknowledged is lost on a link that breaks.
//!
//! One file per kind of upstream; what they share is here. Servers come from `tidegate_testkit::servers`, bad links from
//! `tidegate_testkit::proxy`.

mod backlogs;
mod faults;
mod forwarded;
mod kafka;
mod looking;
mod mqtt;
mod rabbitmq;

use crate::harness::{Program, received};

/// A gateway with these bridges, and a listener `mqtt` without users.
fn config(bridge: &str) -> String {
    format!(
        r#"
node = "edge-1"
data_dir = "data"
workers = 1

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

{bridge}
"#
    )
}

/// The payloads that a subscriber prints until `count` different ones have come, in their order.
fn different(receiver: &mut Program, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let line = received(receiver);
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    seen
}
