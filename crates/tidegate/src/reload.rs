//! Another configuration for a gateway that runs (SIGHUP): read and checked as a whole, then put into effect as a whole.
//!
//! The same file, environment and flags are read again. Whatever is wrong with them (a mistake in the file, a certificate that does not
//! fit its key, an address that is taken) changes nothing. What can only change with a restart is named, and stays as it was for
//! the next reload too.

use crate::access::{self, Passwords};
use crate::bridges::Bridges;
use crate::cli::Configuration;
use crate::durable::Store;
use crate::gateway::{self, Refused};
use crate::logging::Level;
use crate::queues::queue_policies;
use crate::rings::ring_options;
use crate::rules::access_rules;
use crate::topics::topic_policies;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::Config;
use tidegate_net::{Changes, ListenerChanges, Running};
use tracing::{error, info, warn};

/// A gateway that runs, with what it runs by.
pub(crate) struct Live {
    pub(crate) configuration: Configuration,
    pub(crate) config: Config,
    pub(crate) passwords: Option<Arc<Passwords>>,
    pub(crate) running: Running,
    pub(crate) level: Level,
    /// The durable store, where there is one.
    pub(crate) store: Option<Store>,
    pub(crate) bridges: Bridges,
}

impl Live {
    /// Reads the configuration again, and tells in the log what became of it.
    pub(crate) fn reload(&mut self) {
        let loaded = match gateway::read(&self.configuration) {
            Ok(loaded) => loaded,
            Err(report) => {
                return error!("the configuration is not reloaded, nothing has changed:\n{report}");
            }
        };
        let mut config = loaded.config;
        let fixed = keep_fixed(&mut config, &self.config);
        let changed =
            self.bridges.prepare(&config).and_then(|bridges| Ok((self.reconfigure(&config)?, bridges)));
        let ((listeners, passwords), bridges) = match changed {
            Ok(changed) => changed,
            Err(refused) => {
                return error!("the configuration is not reloaded, nothing has changed: {refused}");
            }
        };
        let has_bridges = config.bridges != self.config.bridges || !bridges.is_empty();
        if let Err(refused) = self.bridges.apply(&config, bridges) {
            error!("not every bridge could be begun: {refused}");
        }
        self.level.set(config.log.level);
        if let Some(store) = &self.store {
            store.limit(&config.limits);
        }
        if config.sys_interval != self.config.sys_interval {
            self.running.node().set_system_interval(config.sys_interval.duration(), Instant::now());
        }
        loaded.warnings.iter().for_each(|warning| warn!(key = %warning.key, "{}", warning.message));
        for setting in fixed {
            warn!(setting, "needs a restart: the running gateway keeps the old value");
        }
        let difference = Difference {
            has_passwords: access::have_changed(self.passwords.as_ref(), passwords.as_ref()),
            has_bridges,
            ..Difference::between(&self.config, &config)
        };
        announce(&difference, &listeners);
        (self.config, self.passwords) = (config, passwords);
    }

    fn reconfigure(&mut self, config: &Config) -> Result<(ListenerChanges, Option<Arc<Passwords>>), Refused> {
        let passwords = access::passwords(config, self.passwords.as_ref())?;
        let changes = Changes {
            limits: gateway::limits(config),
            authenticator: access::authenticator(passwords.as_ref()),
            access: access_rules(&config.access)?,
            rings: ring_options(&config.rings)?,
            queues: queue_policies(config),
            topics: topic_policies(config)?,
            connections_max: config.limits.connections,
            listeners: gateway::listeners(config)?,
        };
        Ok((self.running.reconfigure(changes)?, passwords))
    }
}

/// Puts back what only a restart can change; returns the names of what would have changed.
fn keep_fixed(new: &mut Config, old: &Config) -> Vec<&'static str> {
    fn keep<T: Clone + PartialEq>(name: &'static str, new: &mut T, old: &T) -> Option<&'static str> {
        (new != old).then(|| {
            *new = old.clone();
            name
        })
    }
    let kept = [
        keep("node", &mut new.node, &old.node),
        keep("data_dir", &mut new.data_dir, &old.data_dir),
        keep("store", &mut new.store, &old.store),
        keep("workers", &mut new.workers, &old.workers),
        keep("shutdown_timeout", &mut new.shutdown_timeout, &old.shutdown_timeout),
        keep("http", &mut new.http, &old.http),
        keep("log.format", &mut new.log.format, &old.log.format),
    ];
    kept.into_iter().flatten().collect()
}

/// What is other than before, beside what the listeners' sockets tell. Passwords, also those of bridges, may be others in the same file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Listeners that stay open with other options.
    listeners: Vec<String>,
    has_limits: bool,
    has_passwords: bool,
    has_access: bool,
    has_rings: bool,
    has_topics: bool,
    has_queues: bool,
    has_bridges: bool,
    has_log_level: bool,
    has_sys_interval: bool,
}

impl Difference {
    fn between(old: &Config, new: &Config) -> Difference {
        let stays = |name: &str| old.listeners.iter().find(|listener| listener.name == name);
        let changed = new.listeners.iter().filter(|new| stays(&new.name).is_some_and(|old| old != *new));
        Difference {
            listeners: changed.map(|listener| listener.name.clone()).collect(),
            has_limits: old.limits != new.limits,
            has_passwords: false,
            has_access: old.access.rules != new.access.rules,
            has_rings: old.rings != new.rings,
            has_topics: old.topics != new.topics,
            has_queues: old.queues != new.queues,
            has_bridges: false,
            has_log_level: old.log.level != new.log.level,
            has_sys_interval: old.sys_interval != new.sys_interval,
        }
    }
}

fn announce(difference: &Difference, listeners: &ListenerChanges) {
    for (listener, address) in &listeners.opened {
        info!(%listener, %address, "listening");
    }
    for listener in &listeners.closed {
        info!(%listener, "closed; its clients are told");
    }
    // What was opened anew is other than before by that alone.
    let is_opened = |name: &&str| listeners.opened.iter().any(|(opened, _)| &**opened == *name);
    let changed = difference.listeners.iter().map(String::as_str).filter(|name| !is_opened(name)).collect();
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(",") };
    info!(
        listeners_opened = names(listeners.opened.iter().map(|(name, _)| &**name).collect()),
        listeners_closed = names(listeners.closed.iter().map(|name| &**name).collect()),
        listeners_changed = names(changed),
        tls_renewed = names(listeners.renewed.iter().map(|name| &**name).collect()),
        limits_changed = difference.has_limits,
        passwords_changed = difference.has_passwords,
        access_changed = difference.has_access,
        replay_changed = difference.has_rings,
        topics_changed = difference.has_topics,
        queues_changed = difference.has_queues,
        bridges_changed = difference.has_bridges,
        log_level_changed = difference.has_log_level,
        sys_interval_changed = difference.has_sys_interval,
        "configuration reloaded"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::{LogFormat, LogLevel, Override, Sources, load};

    /// The built-in configuration with these settings.
    fn config(settings: &[&str]) -> Config {
        let registry = crate::registry::for_configuration();
        let sources = Sources {
            file: None,
            embedded: tidegate_config::EMBEDDED,
            environment: Vec::new(),
            overrides: settings.iter().map(|setting| Override::set(setting).unwrap()).collect(),
            registry: &registry,
            now: std::time::SystemTime::now(),
        };
        load(&sources).unwrap().config
    }

    #[test]
    fn what_needs_a_restart_is_named_and_kept() {
        let old = config(&["node=a", "workers=1"]);
        let mut new = config(&[
            "node=b",
            "workers=2",
            "shutdown_timeout=1s",
            "log.format=json",
            "log.level=debug",
            "data_dir=data",
            "store.lazy_interval=2s",
        ]);
        let fixed = ["node", "data_dir", "store", "workers", "shutdown_timeout", "log.format"];
        assert_eq!(keep_fixed(&mut new, &old), fixed);
        assert_eq!((new.node.as_str(), new.workers, new.log.format), ("a", 1, LogFormat::Text));
        assert_eq!(new.log.level, LogLevel::Debug);
        assert!(keep_fixed(&mut new, &old).is_empty());
    }

    #[test]
    fn the_difference_names_listeners_that_stay() {
        let old = config(&[]);
        assert_eq!(Difference::between(&old, &old.clone()), Difference::default());
        let changes =
            ["listener.mqtt.max_connections=5", "limits.sessions=7", "log.level=debug", "sys_interval=1m"];
        let mut new = config(&changes);
        let listeners = vec!["mqtt".to_owned()];
        let expected = Difference {
            listeners,
            has_limits: true,
            has_passwords: false,
            has_access: false,
            has_rings: false,
            has_topics: false,
            has_queues: false,
            has_bridges: false,
            has_log_level: true,
            has_sys_interval: true,
        };
        assert_eq!(Difference::between(&old, &new), expected);
        new.listeners.retain(|listener| listener.name != "mqtt");
        assert_eq!(Difference::between(&old, &new).listeners, Vec::<String>::new());
    }
}
