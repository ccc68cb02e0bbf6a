//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the server's side.
//!
//! ```text
//! client-first   n,,n=user,r=nonce          ──►
//!                                           ◄──  server-first   r=nonce+ours,s=salt,i=iterations
//! client-final   c=biws,r=nonce+ours,p=…    ──►
//!                                           ◄──  server-final   v=…
//! ```
//!
//! Without channel binding: that is the other mechanism, SCRAM-SHA-256-PLUS. A user that does not exist goes the same way
//! to its end.

mod message;
mod verifier;

use crate::secret::{Hash, are_equal, hmac_sha256, random, sha256};
use crate::users::Users;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use message::{ClientFinal, ClientFirst};
use std::fmt::Write;
use std::sync::Arc;
use tidegate_protocol::{CredentialStamp, Denial, Exchange, Step, Verified};
pub use verifier::VerifierError;
pub(crate) use verifier::{ITERATIONS, Verifier};

/// The name of the mechanism.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// One client's way through the mechanism.
pub struct ScramExchange(State);

enum State {
    Begun(Arc<Users>),
    Challenged(Box<Challenged>),
    Over,
}

/// What is known between the two messages of the client.
struct Challenged {
    user: Box<str>,
    verifier: Verifier,
    /// Nothing for a user that does not exist.
    stamp: Option<CredentialStamp>,
    /// `c=` of the answer: the client's first header, to which it must keep.
    channel: String,
    nonce: String,
    /// The signed text so far.
    signed: String,
}

impl ScramExchange {
    /// Before the first message of a client.
    pub fn new(users: Arc<Users>) -> ScramExchange {
        ScramExchange(State::Begun(users))
    }

    /// With our half of the nonce.
    fn challenge(users: &Users, data: &[u8], ours: &str) -> Result<(Challenged, Vec<u8>), Denial> {
        let first = ClientFirst::parse(data).ok_or(Denial::MalformedExchange)?;
        let (verifier, stamp) = match users.scram(&first.user) {
            Some((verifier, stamp)) => (verifier, Some(stamp)),
            None => (Verifier::of_nobody(&first.user, users.key()), None),
        };
        let nonce = format!("{}{ours}", first.nonce);
        let answer = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let signed = format!("{},{answer}", first.bare);
        let channel = BASE64.encode(first.header.as_bytes());
        let user = first.user.into();
        Ok((Challenged { user, verifier, stamp, channel, nonce, signed }, answer.into_bytes()))
    }
}

impl Challenged {
    fn check(mut self, data: &[u8]) -> Result<(Verified, Vec<u8>), Denial> {
        let last = ClientFinal::parse(data).ok_or(Denial::MalformedExchange)?;
        if last.channel != self.channel || last.nonce != self.nonce {
            return Err(Denial::MalformedExchange);
        }
        // Writing to a String cannot fail.
        let _ = write!(self.signed, ",{}", last.without_proof);
        let signature = hmac_sha256(&self.verifier.stored_key, self.signed.as_bytes());
        let mut client_key = Hash::default();
        for ((key, proof), signature) in client_key.iter_mut().zip(&last.proof).zip(&signature) {
            *key = proof ^ signature;
        }
        let is_right = are_equal(&sha256(&client_key), &self.verifier.stored_key);
        let stamp = self.stamp.filter(|_| is_right).ok_or(Denial::BadCredentials)?;
        let signature = hmac_sha256(&self.verifier.server_key, self.signed.as_bytes());
        let answer = format!("v={}", BASE64.encode(&signature)).into_bytes();
        Ok((Verified { user: self.user, stamp }, answer))
    }
}

impl Exchange for ScramExchange {
    fn handle(&mut self, data: &[u8]) -> Step {
        let result = match std::mem::replace(&mut self.0, State::Over) {
            State::Begun(users) => {
                let Ok(ours) = random::<18>() else { return Step::Denied(Denial::Busy) };
                ScramExchange::challenge(&users, data, &BASE64URL_NOPAD.encode(&ours)).map(
                    |(challenged, answer)| {
                        self.0 = State::Challenged(Box::new(challenged));
                        Step::Challenge(answer)
                    },
                )
            }
            State::Challenged(challenged) => {
                challenged.check(data).map(|(verified, answer)| Step::Verified(verified, answer))
            }
            State::Over => Err(Denial::MalformedExchange),
        };
        result.unwrap_or_else(Step::Denied)
    }
}

#[cfg(test)]
mod tests;
