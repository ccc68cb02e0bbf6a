//! Between CONNECT and CONNACK: a client that is being checked (MQTT 5.0 section 4.12).
//!
//! ```text
//! CONNECT ──► Candidate ──┬─ password, certificate, nothing ───────────────► attach ──► CONNACK
//!                         └─ method ──► AUTH 0x18 ──► AUTH 0x18 ──► … ─────► attach ──► CONNACK with the method's last words
//! ```
//!
//! What the CONNECT asked for is kept meanwhile, and nothing of it is in force: no session, no will, no keep alive. The
//! connect deadline covers all of it. How a proof is checked is the broker's.

use crate::codec::{Auth, Connect, DecodeError, Packet, ReasonCode, Version, decode};
use crate::connect::Opening;
use crate::reason::{fault, undecodable};
use crate::{CONSUMER, PROTOCOL_NAME};
use tidegate_protocol::{
    Attach, Attachment, Authenticate, Authenticated, Authentication, Close, CloseReason, Context, Evidence,
    SessionLimits, Settlement, Will,
};

/// A client whose CONNECT was read, and of which nobody knows yet who it is.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) opening: Opening,
    pub(crate) clean_start: bool,
    pub(crate) will: Option<Will>,
    pub(crate) turn: Turn,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The broker's: a reply is to come, and packets wait for it.
    Broker,
    /// The client's: its next AUTH is to come.
    Client,
}

/// What became of a step.
pub(crate) enum Stage {
    /// The answer is on its way, or the client's next step is.
    Awaiting(Candidate),
    /// The client is known, and its session is asked for.
    Attaching(Opening, Attachment),
}

/// What a CONNECT shows of its client.
pub(crate) fn evidence<'a>(connect: &Connect<'a>) -> Evidence<'a> {
    match connect.properties.authentication_method() {
        Some(method) => {
            Evidence::Begin { method, data: connect.properties.authentication_data().unwrap_or_default() }
        }
        None => Evidence::Password {
            user: connect.user_name,
            password: connect.password.map(|password| password.0),
        },
    }
}

impl Candidate {
    /// Asks who the client is.
    pub(crate) fn ask(self, evidence: Evidence<'_>, context: &mut Context<'_>) -> Result<Stage, Close> {
        let client_id = Some(&*self.opening.client_id);
        match context.broker.authenticate(Authenticate { client_id, evidence }) {
            Authentication::Now(authenticated) => self.proceed(authenticated, context),
            Authentication::Later => Ok(Stage::Awaiting(Candidate { turn: Turn::Broker, ..self })),
            Authentication::Refused(denial) => Err(crate::reason::of_denial(denial)),
        }
    }

    /// Goes on after a step that was right.
    pub(crate) fn proceed(
        mut self,
        authenticated: Authenticated,
        context: &mut Context<'_>,
    ) -> Result<Stage, Close> {
        match authenticated {
            Authenticated::Challenge(data) => {
                // [MQTT-4.12.0-2] [MQTT-4.12.0-3]
                self.opening.wire.auth(
                    ReasonCode::ContinueAuthentication,
                    self.opening.method.as_deref(),
                    &data,
                    context.output,
                )?;
                Ok(Stage::Awaiting(Candidate { turn: Turn::Client, ..self }))
            }
            Authenticated::Accepted { data, .. } => {
                self.opening.last_words = data;
                let attachment = self.attach(context);
                Ok(Stage::Attaching(self.opening, attachment))
            }
        }
    }

    fn attach(&mut self, context: &mut Context<'_>) -> Attachment {
        context.broker.attach(Attach {
            consumer: CONSUMER,
            protocol: PROTOCOL_NAME,
            client_id: &self.opening.client_id,
            clean_start: self.clean_start,
            expiry: self.opening.expiry,
            credit: u32::from(self.opening.credit),
            settlement: Settlement::AboveAtMostOnce,
            will: self.will.take(),
            limits: SessionLimits::Usual,
            wants_publisher: false,
        })
    }

    /// Handles the client's next step at the front of `input`; nothing where it is not complete.
    pub(crate) fn handle_bytes(
        self,
        input: &[u8],
        packet_bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Result<(Stage, usize), Close> {
        if self.turn == Turn::Broker {
            return Ok((Stage::Awaiting(self), 0));
        }
        let decoded = decode(input, Version::V5, packet_bytes_max).map_err(undecodable)?;
        let Some((packet, length)) = decoded else { return Ok((Stage::Awaiting(self), 0)) };
        match packet {
            Packet::Auth(auth) => {
                check_method(&auth, self.opening.method.as_deref())?;
                // [MQTT-4.12.0-3]
                if auth.reason != ReasonCode::ContinueAuthentication {
                    return Err(fault(ReasonCode::ProtocolError, "AUTH must continue the authentication"));
                }
                let data = auth.properties.authentication_data().unwrap_or_default();
                Ok((self.ask(Evidence::Continue { data }, context)?, length))
            }
            Packet::Disconnect(_) => Err(CloseReason::Disconnected.into()),
            // [MQTT-3.1.2-30]
            other => {
                let detail = format!("{} before the authentication has ended", other.packet_type());
                Err(fault(ReasonCode::ProtocolError, detail))
            }
        }
    }
}

/// Every AUTH of a client names the method of its CONNECT ([MQTT-4.12.0-5]).
pub(crate) fn check_method(auth: &Auth<'_>, method: Option<&str>) -> Result<(), Close> {
    match auth.properties.authentication_method() {
        Some(named) if Some(named) == method => Ok(()),
        None => Err(undecodable(DecodeError::AuthenticationMethodMissing)),
        Some(_) => Err(fault(ReasonCode::ProtocolError, "AUTH names another authentication method")),
    }
}
