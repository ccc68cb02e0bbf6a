//! A connected client that proves anew who it is (MQTT 5.0 section 4.12.1).
//!
//! ```text
//!         AUTH 0x19 ──► broker ──┬─ challenge ──► AUTH 0x18 ──► Client's turn ──► AUTH 0x18 ──► broker ──► …
//! Idle ───────────────►          ├─ accepted ───► AUTH 0x00 ──► Idle
//!                                └─ denied ─────► DISCONNECT
//! ```
//!
//! Meanwhile everything else goes on with the earlier proof. Only who began with a method may do this, and only with the same.

use crate::authenticating::check_method;
use crate::codec::{Auth, PacketType, ReasonCode};
use crate::reason::{fault, of_denial};
use crate::wire::Wire;
use tidegate_protocol::{Authenticate, Authenticated, Authentication, Close, Context, Denial, Evidence};

/// The method that a client was let in by, and how far it is with proving itself anew.
#[derive(Debug)]
pub(crate) struct Reauthentication {
    method: Box<str>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing is under way.
    Idle,
    /// The client was asked for its next AUTH.
    Client,
    /// The broker owes an answer, and packets wait for it.
    Broker,
}

impl Reauthentication {
    /// For a client that was let in by this method.
    pub(crate) fn by(method: Box<str>) -> Box<Reauthentication> {
        Box::new(Reauthentication { method, step: Step::Idle })
    }

    /// Whether packets wait for the broker's answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.step == Step::Broker
    }

    /// AUTH of the client.
    pub(crate) fn handle_auth(
        &mut self,
        auth: &Auth<'_>,
        client_id: &str,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        // [MQTT-4.12.1-1]
        check_method(auth, Some(&self.method))?;
        let data = auth.properties.authentication_data().unwrap_or_default();
        let evidence = match (auth.reason, self.step) {
            (ReasonCode::ReAuthenticate, Step::Idle) => Evidence::Begin { method: &self.method, data },
            // [MQTT-4.12.0-3]
            (ReasonCode::ContinueAuthentication, Step::Client) => Evidence::Continue { data },
            _ => return Err(fault(ReasonCode::ProtocolError, "AUTH out of its order")),
        };
        match context.broker.authenticate(Authenticate { client_id: Some(client_id), evidence }) {
            Authentication::Now(authenticated) => self.proceed(authenticated, wire, context),
            Authentication::Later => {
                self.step = Step::Broker;
                Ok(())
            }
            Authentication::Refused(denial) => Err(denied(denial)),
        }
    }

    /// The broker's late answer.
    pub(crate) fn handle_answer(
        &mut self,
        answer: Result<Authenticated, Denial>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        self.proceed(answer.map_err(denied)?, wire, context)
    }

    fn proceed(
        &mut self,
        authenticated: Authenticated,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let (reason, data, step) = match authenticated {
            // [MQTT-4.12.0-2]
            Authenticated::Challenge(data) => (ReasonCode::ContinueAuthentication, data, Step::Client),
            Authenticated::Accepted { data, .. } => (ReasonCode::Success, data, Step::Idle),
        };
        self.step = step;
        wire.auth(reason, Some(&self.method), &data, context.output)
    }
}

/// [MQTT-4.12.1-2]: the end, by the denial's own code where a DISCONNECT has it.
fn denied(denial: Denial) -> Close {
    let code = crate::reason::last_word(of_denial(denial).reason);
    match code.filter(|code| code.is_allowed_in(PacketType::Disconnect)) {
        Some(_) => of_denial(denial),
        None => fault(ReasonCode::NotAuthorized, denial.to_string()),
    }
}
