//! A listener as its connections see it, and what of it lasts when its options change.
//!
//! [`Listener`] is one set of options; a connection takes what it needs of it when it opens. [`Port`] is what all connections of a
//! listener share for as long as they live: how many they are, and what they have to meet to stay.

use crate::opening::worth_of;
use crate::options::{ListenerOptions, ListenerProtocol, Transport};
use crate::tls::CertificateName;
use crate::tls::TlsMaterial;
use crate::websocket::HandshakeOptions;
use parking_lot::Mutex;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_broker::{Certificate, Entrance, PublishLimits};
use tidegate_protocol::{Close, CloseReason};
use tokio_rustls::TlsAcceptor;

/// How many connections are open, for the limits.
pub(crate) type Open = Arc<AtomicUsize>;

/// One set of options of a listener.
pub(crate) struct Listener {
    pub(crate) port: Arc<Port>,
    pub(crate) protocols: Vec<ListenerProtocol>,
    /// The number under which connections are counted that never said which protocol they speak.
    pub(crate) unrecognised: usize,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) websocket: Option<WebSocketListener>,
    pub(crate) allow_anonymous: bool,
    pub(crate) client_identity: Option<CertificateName>,
    pub(crate) connect_timeout: Duration,
    pub(crate) publish_limits: PublishLimits,
    /// Connections that are accepted in a second.
    pub(crate) connection_rate: Option<u64>,
    pub(crate) connections_max: usize,
    /// The state of the port's terms that these options belong to; see [`Port::entrance`].
    pub(crate) terms_seen: u64,
    pub(crate) address: SocketAddr,
}

/// What is the same for every WebSocket handshake of a listener.
pub(crate) struct WebSocketListener {
    pub(crate) handshake: Arc<HandshakeOptions>,
    pub(crate) message_bytes_max: u64,
}

/// What lasts of a listener while its options change.
pub(crate) struct Port {
    pub(crate) name: Arc<str>,
    pub(crate) open: Open,
    standing: Mutex<Standing>,
}

/// Whether connections may stay at all.
enum Standing {
    Open {
        /// Counts the changes of the terms.
        changes: u64,
        terms: Terms,
    },
    Closed,
}

/// What clients are let in by.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    /// The listener's name.
    pub(crate) listener: Arc<str>,
    /// What client certificates are checked by; nothing where clients are not asked for one.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(crate) client_identity: Option<CertificateName>,
    pub(crate) allow_anonymous: bool,
}

impl Terms {
    pub(crate) fn of(options: &ListenerOptions) -> Terms {
        Terms {
            listener: options.name.clone(),
            verifier: options.tls.as_deref().and_then(TlsMaterial::verifier),
            client_identity: options.client_identity,
            allow_anonymous: options.allow_anonymous,
        }
    }

    /// How a client comes that showed `chain`, perhaps under other terms.
    fn entrance(&self, chain: &[CertificateDer<'_>]) -> Result<Entrance, Close> {
        let refused = |why: String| Err(Close::new(CloseReason::NotAuthorized, why));
        let certificate = match (&self.verifier, chain.split_first()) {
            (None, _) => Certificate::None,
            (Some(verifier), None) if verifier.client_auth_mandatory() => {
                return refused(
                    "the listener asks for a certificate, and the client has shown none".to_owned(),
                );
            }
            (Some(_), None) => Certificate::None,
            (Some(verifier), Some((first, others))) => {
                if let Err(error) = verifier.verify_client_cert(first, others, UnixTime::now()) {
                    return refused(format!("the client's certificate is no longer accepted: {error}"));
                }
                worth_of(Some(first), self.client_identity)
            }
        };
        let listener = self.listener.clone();
        Ok(Entrance { listener, allow_anonymous: self.allow_anonymous, certificate })
    }
}

impl Port {
    pub(crate) fn new(name: Arc<str>, terms: Terms) -> Port {
        Port { name, open: Open::default(), standing: Mutex::new(Standing::Open { changes: 0, terms }) }
    }

    /// Nobody of the port may stay.
    pub(crate) fn close(&self) {
        *self.standing.lock() = Standing::Closed;
    }

    /// Clients are let in by something else from now on; those that are connected are asked again.
    pub(crate) fn change_terms(&self, new: Terms) {
        if let Standing::Open { changes, terms } = &mut *self.standing.lock() {
            *changes += 1;
            *terms = new;
        }
    }

    fn terms_seen(&self) -> u64 {
        match &*self.standing.lock() {
            Standing::Open { changes, .. } => *changes,
            Standing::Closed => 0,
        }
    }

    /// How a connection comes that showed `chain` and was last looked at under the terms `seen`, which is brought up to date. Nothing: the
    /// terms are those. An error: it may not stay.
    pub(crate) fn entrance(
        &self,
        seen: &mut u64,
        chain: impl FnOnce() -> Vec<CertificateDer<'static>>,
    ) -> Result<Option<Entrance>, Close> {
        let terms = match &*self.standing.lock() {
            Standing::Closed => return Err(CloseReason::ListenerClosed.into()),
            Standing::Open { changes, .. } if changes == seen => return Ok(None),
            Standing::Open { changes, terms } => {
                *seen = *changes;
                terms.clone()
            }
        };
        terms.entrance(&chain()).map(Some)
    }
}

impl Listener {
    pub(crate) fn new(
        options: &ListenerOptions,
        port: Arc<Port>,
        address: SocketAddr,
        unrecognised: usize,
    ) -> Listener {
        Listener {
            protocols: options.protocols.clone(),
            unrecognised,
            tls: options.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config().clone())),
            websocket: websocket(options),
            allow_anonymous: options.allow_anonymous,
            client_identity: options.client_identity,
            connect_timeout: options.connect_timeout,
            publish_limits: options.publish_limits,
            connection_rate: options.connection_rate,
            connections_max: options.connections_max,
            terms_seen: port.terms_seen(),
            address,
            port,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.port.name
    }

    pub(crate) fn has_room(&self) -> bool {
        self.port.open.load(Ordering::Relaxed) < self.connections_max
    }
}

fn websocket(options: &ListenerOptions) -> Option<WebSocketListener> {
    let Transport::WebSocket(websocket) = &options.transport else { return None };
    let names = |protocol: &ListenerProtocol| protocol.protocol.websocket_subprotocols();
    let subprotocols: Vec<String> =
        options.protocols.iter().flat_map(names).map(|name| (*name).to_owned()).collect();
    // Only where nothing else could be meant.
    let default_subprotocol = match options.protocols.as_slice() {
        [only] => names(only).first().map(|name| (*name).to_owned()),
        _ => None,
    };
    let (path, origins) = (websocket.path.clone(), websocket.origins.clone());
    let handshake = HandshakeOptions { path, origins, subprotocols, default_subprotocol };
    let message_bytes_max = websocket.message_bytes_max;
    Some(WebSocketListener { handshake: Arc::new(handshake), message_bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(vec![0x30, 0x00])]
    }

    fn open_to_all() -> Terms {
        Terms { allow_anonymous: true, ..Terms::default() }
    }

    #[test]
    fn a_closed_port_keeps_nobody() {
        let port = Port::new(Arc::from("devices"), open_to_all());
        let mut seen = 0;
        assert_eq!(port.entrance(&mut seen, chain), Ok(None));
        port.close();
        assert_eq!(port.entrance(&mut seen, chain), Err(CloseReason::ListenerClosed.into()));
    }

    /// Where nothing has changed nobody's certificate is looked at.
    #[test]
    fn clients_are_looked_at_once_after_a_change() {
        let port = Port::new(Arc::from("devices"), open_to_all());
        let mut seen = 0;
        assert_eq!(port.entrance(&mut seen, || panic!("nothing has changed")), Ok(None));
        port.change_terms(Terms::default());
        assert_eq!(port.entrance(&mut seen, chain), Ok(Some(Entrance::default())));
        assert_eq!(seen, 1);
        assert_eq!(port.entrance(&mut seen, || panic!("nothing has changed again")), Ok(None));
    }
}
