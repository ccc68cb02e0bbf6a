//! What the binary tells this crate about its protocols.
//!
//! A protocol's options are its own: this crate keeps the table as it is, asks the protocol to check it, and finds the place in
//! the file for every complaint. It never learns what an option means, so a new protocol changes nothing here.

use crate::schema::Bridge;

/// The protocols that listeners may name, and the kinds of bridges. Filled by the binary, in the order in which they should be listed to people.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// One entry per protocol.
    pub protocols: Vec<ProtocolEntry>,
    /// One entry per kind of bridge.
    pub bridges: Vec<BridgeEntry>,
}

/// One protocol, as far as the configuration has to know it.
#[derive(Debug, Clone)]
pub struct ProtocolEntry {
    /// The name used in `protocols = […]` and for the sub-table of a listener. Lower case.
    pub name: &'static str,
    /// Whether the protocol can be spoken over WebSocket.
    pub websocket: bool,
    /// The option names the protocol understands at the top of its sub-table; anything else is an unknown key.
    pub option_names: &'static [&'static str],
    /// Checks the values of a sub-table. Called once per listener that has one.
    pub check: fn(&toml::Table) -> Result<(), Vec<OptionError>>,
}

/// One kind of bridge, as far as the configuration has to know it.
#[derive(Debug, Clone)]
pub struct BridgeEntry {
    /// The word in `kind = …`.
    pub kind: &'static str,
    /// The keys of `[[bridge]]`, `[[bridge.forward]]` and `[[bridge.receive]]` that only some kinds know, and this one does.
    pub keys: &'static [&'static str],
    /// Checks what only the kind itself can judge: addresses, templates, what has to be there.
    pub check: fn(&Bridge, node: &str) -> Vec<BridgeError>,
}

/// A complaint of a kind of bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeError {
    /// The key, relative to the `[[bridge]]`: `url[0]`, `forward[1].topic`.
    pub key: String,
    /// What is wrong and what is allowed, as a sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

/// A complaint of a protocol about one of its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The option, dotted if it is nested (`"will.delay"`), relative to the protocol's sub-table.
    pub key: String,
    /// What is wrong and what is allowed, as a sentence without a full stop.
    pub message: String,
}

impl Registry {
    /// The entry of a kind of bridge.
    pub fn bridge(&self, kind: &str) -> Option<&BridgeEntry> {
        self.bridges.iter().find(|entry| entry.kind == kind)
    }

    /// The entry of a protocol by its name.
    pub fn protocol(&self, name: &str) -> Option<&ProtocolEntry> {
        self.protocols.iter().find(|entry| entry.name == name)
    }

    /// All protocol names, in registration order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.protocols.iter().map(|entry| entry.name)
    }
}
