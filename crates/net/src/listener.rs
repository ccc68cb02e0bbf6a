//! A listener as its connections see it, and what of it lasts when its options change.
//!
//! [`Listener`] is one set of options; a connection takes what it needs of it when it opens. [`Port`] is what all connections of a
//! listener share for as long as they live: how many they are, and what they have to meet to stay.

use crate::opening::worth_of;
use crate::options::{Layer, ListenerOptions, ListenerProtocol, WebSocketOptions};
use crate::tls::{CertificateName, TlsMaterial};
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

/// How many connections are open, for the limits.
pub(crate) type Open = Arc<AtomicUsize>;

/// One set of options of a listener.
pub(crate) struct Listener {
    pub(crate) port: Arc<Port>,
    pub(crate) protocols: Vec<ListenerProtocol>,
    /// The number under which connections are counted that never said which protocol they speak.
    pub(crate) unrecognised: usize,
    pub(crate) tls: Layer<Arc<TlsMaterial>>,
    pub(crate) websocket: Layer<WebSocketListener>,
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
    /// Whether nobody is let in without TLS.
    pub(crate) asks_for_tls: bool,
}

impl Terms {
    pub(crate) fn of(options: &ListenerOptions) -> Terms {
        Terms {
            listener: options.name.clone(),
            verifier: options.tls.get().and_then(|tls| tls.verifier()),
            client_identity: options.client_identity,
            allow_anonymous: options.allow_anonymous,
            asks_for_tls: matches!(options.tls, Layer::Always(_)),
        }
    }

    /// How a client comes that showed `chain`, perhaps under other terms; nothing where it came without TLS.
    fn entrance(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<Entrance, Close> {
        let refused = |why: String| Err(Close::new(CloseReason::NotAuthorized, why));
        if self.asks_for_tls && chain.is_none() {
            return refused("the listener asks for TLS, and the client came without".to_owned());
        }
        let certificate = match (&self.verifier, chain.unwrap_or_default().split_first()) {
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
        let allow_anonymous = self.allow_anonymous;
        Ok(Entrance { listener, allow_anonymous, certificate, is_of_process: false })
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

    /// How a connection comes that showed `chain` (nothing: that came without TLS) and was last looked at under the terms `seen`, which is
    /// brought up to date. Nothing: the terms are those. An error: it may not stay.
    pub(crate) fn entrance(
        &self,
        seen: &mut u64,
        chain: impl FnOnce() -> Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Option<Entrance>, Close> {
        let terms = match &*self.standing.lock() {
            Standing::Closed => return Err(CloseReason::ListenerClosed.into()),
            Standing::Open { changes, .. } if changes == seen => return Ok(None),
            Standing::Open { changes, terms } => {
                *seen = *changes;
                terms.clone()
            }
        };
        terms.entrance(chain().as_deref()).map(Some)
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
            tls: options.tls.clone(),
            websocket: options.websocket.map(|websocket| websocket_listener(options, websocket)),
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

fn websocket_listener(options: &ListenerOptions, websocket: &WebSocketOptions) -> WebSocketListener {
    let names = |protocol: &ListenerProtocol| protocol.protocol.websocket_subprotocols();
    let subprotocols: Vec<String> =
        options.protocols.iter().flat_map(names).map(|name| (*name).to_owned()).collect();
    // Only where nothing else could be meant; elsewhere the first bytes tell.
    let default_subprotocol = match options.protocols.as_slice() {
        [only] => names(only).first().map(|name| (*name).to_owned()),
        _ => None,
    };
    let (path, origins) = (websocket.path.clone(), websocket.origins.clone());
    let handshake = HandshakeOptions { path, origins, subprotocols, default_subprotocol };
    let message_bytes_max = websocket.message_bytes_max;
    WebSocketListener { handshake: Arc::new(handshake), message_bytes_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Option<Vec<CertificateDer<'static>>> {
        Some(vec![CertificateDer::from(vec![0x30, 0x00])])
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

    /// Who came in the clear while that was allowed may not stay when it no longer is.
    #[test]
    fn clients_without_tls_go_where_it_is_asked_for() {
        let port = Port::new(Arc::from("devices"), open_to_all());
        let (mut plain, mut encrypted) = (0, 0);
        port.change_terms(Terms { asks_for_tls: true, ..open_to_all() });
        let refused = port.entrance(&mut plain, || None).unwrap_err();
        assert_eq!(refused.reason, CloseReason::NotAuthorized);
        assert!(port.entrance(&mut encrypted, || Some(Vec::new())).is_ok());
    }
}
