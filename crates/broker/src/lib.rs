//! Routing, queues, sessions and retained messages, without sockets and without a runtime.
//!
//! A [`Node`] is what all workers share: subscriptions, retained messages, sessions, limits. Each worker owns a [`Shard`]: its
//! connections and its half of the work. A message goes from the machine of its publisher through the route of its topic straight
//! into the outputs of the receivers on the same worker; to other workers it goes by letter; where a receiver cannot take it
//! now it waits in the receiver's queue.
//!
//! Nothing here reads a clock, opens a socket, spawns a task or knows a protocol; `now` is passed in, and what a worker needs
//! from its driver is an [`Outlet`] per connection and a bell to be woken by.

mod access;
mod authenticator;
mod backlog;
mod budget;
mod entry;
mod filters;
mod group;
mod keeping;
mod limits;
mod mailbox;
mod metrics;
mod named_queue;
mod node;
mod numbering;
mod pace;
mod passage;
mod queue;
mod queue_policy;
mod queued;
mod reading;
mod recovery;
mod reply;
mod retained;
mod ring;
mod route;
mod route_cache;
mod router;
mod sessions;
mod shard;
mod system;
mod topic_policy;
mod tree;

pub use access::{AccessRule, AccessRules, Client, Permission, RuleAction, Verdict, Who};
pub use authenticator::{Authenticator, Certificate, Entrance, Ticket};
pub use backlog::Backlog;
pub use limits::{Limits, Overflow};
pub use mailbox::Bell;
pub use metrics::{
    ByQoS, Counter, Denials, Histogram, LATENCY_BUCKETS_MICROSECONDS, ProtocolMetrics, Resumes, WorkerMetrics,
};
pub use node::{Gauges, Node, NodeOptions, Reconfiguration, WORKERS_MAX};
pub use pace::Pace;
pub use queue_policy::{QueueOverflow, QueuePolicies, QueuePolicy};
pub use reading::StoreReader;
pub use recovery::{Recovered, RecoveryError};
pub use ring::RingOptions;
pub use shard::{Fed, Outlet, PublishLimits, Shard, SlotKey};
pub use system::SystemSource;
pub use topic_policy::{DiskFull, TopicPolicies, TopicPolicy};
