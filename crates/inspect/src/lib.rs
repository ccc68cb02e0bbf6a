//! What stands in a store, in words: for people who look inside, and for taking everything elsewhere.
//!
//! It works on whatever has [`Contents`], a store that a gateway runs on or the files of one that has stopped, and knows what the entries mean by their
//! records. It opens no file and no socket, and writes to a store only in [`import`] and [`purge`], which are for stores without a gateway.

mod contents;
mod ends;
mod entries;
mod export;
mod form;
mod import;
mod info;
mod names;
mod peek;
mod purge;
mod queues;
mod settling;

pub use contents::{Contents, Open};
pub use ends::check_ends;
pub use entries::Problem;
pub use export::{ExportError, Exported, export};
pub use form::Waiting;
pub use import::{ImportError, Imported, import};
pub use info::{Info, info};
pub use names::Names;
pub use peek::{PEEKED_MAX, Peeked, peek};
pub use purge::{PurgeError, purge};
pub use queues::{KeptQueue, QUEUES_MAX, QueueKind, Queues, queues};
