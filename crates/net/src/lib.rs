//! Listeners, transports and the driver that owns every client socket.
//!
//! A [`Server`] binds its listeners and then runs one worker thread per core. A worker has a runtime of its own and one
//! [`tidegate_broker::Shard`]; a connection is dealt to a worker when it is accepted and lives there for ever. This is the one
//! driver for all protocols: it reads big, feeds everything that is complete to the connection's machine, and flushes
//! each output once at the end of the turn.
//!
//! ```text
//! accept ─► opening (TLS, WebSocket, which protocol?) ─► connection: read ─► decrypt ─► unframe ─► Shard::handle_bytes
//!                                                        wire:       write ◄─ encrypt ◄─ frame  ◄─ Shard::flush_turn
//! ```
//!
//! No protocol is known here by name, and nothing is routed.

mod acceptor;
mod connection;
mod doors;
mod gate;
mod listener;
mod local;
mod notices;
mod opening;
mod options;
mod reserve;
mod server;
pub mod tls;
mod turns;
pub mod websocket;
mod wire;
mod worker;

pub use doors::{BindError, ListenerChanges};
pub use options::{Layer, ListenerOptions, ListenerProtocol, ServerOptions, WebSocketOptions};
pub use server::{Changes, Inside, OpenError, Running, Server, StartError};
