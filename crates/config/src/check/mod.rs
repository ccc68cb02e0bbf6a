//! What can only be judged when all settings are known. Every check runs, whatever the others found.
//!
//! A check looks at the typed configuration and names the path of what is wrong; values that were already reported are
//! stand-ins and are left out.

mod access;
mod addresses;
mod bridges;
mod certificates;
mod covered;
mod destinations;
mod limits;
mod listeners;
mod queues;
mod replay;
mod rules;
mod storage;
mod tls;
mod topics;

use std::time::SystemTime;

use crate::findings::Findings;
use crate::registry::Registry;
use crate::schema::Config;

/// Runs all checks. `now` is compared with the validity of certificates.
pub(crate) fn check(config: &Config, registry: &Registry, now: SystemTime, findings: &mut Findings<'_>) {
    listeners::check(config, registry, findings);
    addresses::check(config, findings);
    access::check(config, findings);
    rules::check(config, findings);
    replay::check(config, findings);
    topics::check(config, findings);
    tls::check(config, now, findings);
    queues::check(config, findings);
    destinations::check(config, findings);
    bridges::check(config, registry, findings);
    limits::check(config, findings);
    storage::check(config, findings);
}
