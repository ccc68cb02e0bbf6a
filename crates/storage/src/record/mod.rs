//! What entries are, as bytes: the broker's things on their way to the disk and back.
//!
//! Each record begins with the version of its layout. A reader takes every version that was ever written, and answers any other bytes with
//! [`Damaged`](crate::Damaged): what comes from a disk is as little to be believed as what comes from a socket.

mod delivery;
mod description;
mod identity;
mod message;
mod saved;
mod session;
mod subscription;
mod text;
mod will;

pub use delivery::DeliveryNote;
pub use description::Description;
pub use message::MessageRecord;
pub use saved::{SavedPart, SavedRecord};
pub use session::{SessionNote, SessionPhase, SessionRecord};
pub use subscription::SubscriptionRecord;
pub use text::{Reader, Writer};
pub use will::WillRecord;
