//! How the broker's things become bytes, and bytes things again.
//!
//! Each record begins with the version of its layout. A reader takes every version that was ever written, and answers any other bytes with
//! [`Damaged`](crate::Damaged): what comes from a disk is as little to be believed as what comes from a socket.

mod delivery;
mod description;
mod given;
mod identity;
mod message;
mod queue;
mod saved;
mod session;
mod subscription;
mod text;
mod will;

pub use delivery::DeliveryNote;
pub use description::Description;
pub use given::GivenNote;
pub use message::{MessageParts, MessageRecord};
pub use queue::{QueueNote, QueueRecord};
pub use saved::{SavedPart, SavedRecord};
pub use session::{SessionNote, SessionPhase, SessionRecord};
pub use subscription::SubscriptionRecord;
pub use text::{Reader, Writer};
pub use will::WillRecord;
