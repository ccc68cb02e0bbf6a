//! Who a client is: what it shows, and what the gateway makes of it.
//!
//! Every protocol asks once, before it claims a session or opens a consumer. What counts is what was proven: a name that nobody
//! checked is no identity. How a proof is checked is not known here.

use std::sync::Arc;

/// Who a client is, as far as it has been proven. Rights are given to this, and queues remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The proven name. Nothing for an anonymous client, whatever it calls itself.
    pub user: Option<Box<str>>,
    /// What the client calls itself in its protocol (MQTT's client identifier); never proven.
    pub client_id: Option<Box<str>>,
    /// The listener that the client came through.
    pub listener: Arc<str>,
    /// What the client was let in by.
    pub proof: Proof,
}

/// What a client was let in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: the listener welcomes anonymous clients.
    Nothing,
    /// A verified TLS certificate. Where the listener takes no name from it, the client has no user.
    Certificate,
    /// It is a part of the gateway's own process, a bridge for one. No access rule applies to it.
    Process,
    /// Credentials of the user, in the state that this stamp names.
    Credentials(CredentialStamp),
}

/// Names one state of a user's credentials: another password has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialStamp(pub u64);

/// Asks who a client is. Has no `Debug`: it carries secrets.
#[derive(Clone, Copy)]
pub struct Authenticate<'a> {
    /// What the client calls itself, where its protocol has a name for that; becomes part of the identity.
    pub client_id: Option<&'a str>,
    /// What it shows.
    pub evidence: Evidence<'a>,
}

/// What a client shows, beside its certificate.
#[derive(Clone, Copy)]
pub enum Evidence<'a> {
    /// A user name and a password, or less. Empty is as good as absent only where both are.
    Password {
        /// The name.
        user: Option<&'a str>,
        /// The password.
        password: Option<&'a [u8]>,
    },
    /// The first step of a method with several (MQTT 5.0 section 4.12); also of a client that is known already and proves it anew.
    Begin {
        /// The method's name.
        method: &'a str,
        /// What the client says first.
        data: &'a [u8],
    },
    /// The next step, after [`Authenticated::Challenge`].
    Continue {
        /// What the client says.
        data: &'a [u8],
    },
}

/// The answer to [`Authenticate`].
#[derive(Debug)]
pub enum Authentication {
    /// It is known now, or there is one step more.
    Now(Authenticated),
    /// The answer comes through `Connection::handle_reply`; until then the machine is fed nothing.
    Later,
    /// It is not let in.
    Refused(Denial),
}

/// What became of a step that was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticated {
    /// The client is known.
    Accepted {
        /// As whom.
        identity: Arc<Identity>,
        /// The method's last words to the client; empty for a password.
        data: Vec<u8>,
    },
    /// The method has this to say and wants an answer.
    Challenge(Vec<u8>),
}

/// Why a client is not let in. Protocols map it to their codes in one place; what is wrong is never told more closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The user is unknown or the password wrong.
    #[error("the user name or the password is not right")]
    BadCredentials,
    /// Nothing was shown where something is asked for.
    #[error("the listener does not accept anonymous clients")]
    AnonymousNotAllowed,
    /// The method is not offered.
    #[error("the authentication method is not offered")]
    UnknownMethod,
    /// What the client said is no step of its method.
    #[error("the authentication data does not follow the method")]
    MalformedExchange,
    /// A client that is known proved to be somebody else.
    #[error("the client has proved to be another user than before")]
    AnotherUser,
    /// As many clients wait to be checked as may.
    #[error("too many clients are waiting to be checked")]
    Busy,
}

impl Denial {
    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Denial::BadCredentials => "bad_credentials",
            Denial::AnonymousNotAllowed => "anonymous_not_allowed",
            Denial::UnknownMethod => "unknown_method",
            Denial::MalformedExchange => "malformed_exchange",
            Denial::AnotherUser => "another_user",
            Denial::Busy => "busy",
        }
    }
}

/// A user whose credentials were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The user.
    pub user: Box<str>,
    /// The state of the credentials.
    pub stamp: CredentialStamp,
}

/// One client's way through a method of several steps.
pub trait Exchange {
    /// Handles what the client says. After anything but [`Step::Challenge`] it is over.
    fn handle(&mut self, data: &[u8]) -> Step;
}

/// What follows what a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client is told this and has to answer.
    Challenge(Vec<u8>),
    /// The client is known; this is the last that it is told.
    Verified(Verified, Vec<u8>),
    /// It is not let in.
    Denied(Denial),
}
