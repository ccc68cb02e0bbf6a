//! The configuration of the gateway: file, environment and flags become one checked, typed [`Config`].
//!
//! [`load`] is the way in. It either returns a configuration that may be started with, or a [`Report`] of everything that is
//! wrong, each finding with its place and a suggestion. It opens no port, writes nothing, and installs nothing.
//!
//! What protocols exist, and what their options mean, is told by the caller in a [`Registry`]: this crate depends on no
//! protocol. [`reference_page`] is the documentation of every setting, made from the same declarations.
//!
//! ```
//! use std::time::SystemTime;
//! use tidegate_config::{Override, ProtocolEntry, Registry, Sources, load};
//!
//! let entry = |name| ProtocolEntry { name, websocket: true, option_names: &[], check: |_| Ok(()) };
//! let registry = Registry { protocols: vec![entry("mqtt"), entry("stomp")], bridges: Vec::new() };
//! let sources = Sources {
//!     file: None,
//!     embedded: tidegate_config::EMBEDDED,
//!     environment: vec![("TIDEGATE_LISTENER__MQTT__BIND".into(), "127.0.0.1:0".into())],
//!     overrides: vec![Override::set("log.level=debug")?, Override::new("--node", "node", "edge-1")],
//!     registry: &registry,
//!     now: SystemTime::now(),
//! };
//! let loaded = load(&sources)?;
//! assert_eq!(loaded.config.node, "edge-1");
//! assert_eq!(loaded.config.listeners[0].bind.port(), 0);
//!
//! let wrong = Sources { overrides: vec![Override::set("log.levle=debug")?], ..sources };
//! let report = load(&wrong).unwrap_err();
//! assert!(report.to_string().contains("did you mean `log.level`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod defaults;
mod diagnostic;
mod document;
mod file;
mod findings;
mod forms;
mod layer;
mod load;
mod node;
mod overlay;
mod reference;
mod registry;
mod schema;
mod secrets;
mod setting;
#[cfg(test)]
mod shipped;
mod suggest;
mod value;

pub use diagnostic::{Diagnostic, Excerpt, Place, Report, Severity};
pub use load::{EMBEDDED, Loaded, Sources, load};
pub use overlay::{Override, OverrideError};
pub use reference::reference_page;
pub use registry::{BridgeEntry, BridgeError, OptionError, ProtocolEntry, Registry};
pub use schema::{
    Access, AccessRule, Acknowledge, Argument, Bridge, BridgeLogin, BridgeSasl, BridgeTls, ClientAuth,
    ClientIdentity, Compression, Config, Declarations, DeclaredBinding, DeclaredExchange, DeclaredQueue,
    DiskFull, Forward, ForwardKeep, ForwardOrder, Http, Limits, Listener, Log, LogFormat, LogLevel,
    NamedQueue, NamedQueueOverflow, PayloadForm, Permission, Persistence, QueueOverflow, Receive,
    ReceiveStart, Replay, RuleAction, SaslMechanism, ServerName, Store, Tls, TopicPolicy, Transport,
    WebSocket,
};
pub use tidegate_message::{ByteSize, TimeSpan, UnitError};
