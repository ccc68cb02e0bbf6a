//! End-to-end tests: the real `tidegate` binary, talked to by other people's clients over real sockets.
//!
//! One test program with a module per capability, so that everything is linked once. The clients are installed by
//! `./scripts/test`; a test whose client is missing fails and says so. Whatever can be tested without a process of
//! its own (codecs, state machines, routing) is tested in its crate, not here.

#[cfg(test)]
mod access_rules;
#[cfg(test)]
mod bridges;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod configurations;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod edge_to_centre;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod full_disks;
#[cfg(test)]
mod gmqtt_clients;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod javascript_clients;
#[cfg(test)]
mod large_payloads;
#[cfg(test)]
mod last_values;
#[cfg(test)]
mod mosquitto_clients;
#[cfg(test)]
mod mqtt_packets;
#[cfg(test)]
mod named_queues;
#[cfg(test)]
mod one_port;
#[cfg(test)]
mod paho_clients;
#[cfg(test)]
mod protocols_together;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resuming;
#[cfg(test)]
mod rumqttc_clients;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod soaking;
#[cfg(test)]
mod stomp_clients;
#[cfg(test)]
mod store;
#[cfg(test)]
mod store_commands;
#[cfg(test)]
mod system_topics;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upstream_servers;
#[cfg(test)]
mod users;
#[cfg(test)]
mod version_matrix;
#[cfg(test)]
mod websocket;
