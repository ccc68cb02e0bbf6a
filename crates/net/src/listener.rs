//! A listener as its connections see it, and what of it lasts when its options change.
//!
//! [`Listener`] is one set of options; a connection takes what it needs of it when it opens. [`Port`] is what all connections of a
//! listener share for as long as they live: how many they are, and what they have to meet to stay.

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
use tidegate_broker::PublishLimits;
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
    /// The trust that client certificates are checked by; see [`Port::objection`].
    pub(crate) trust: u64,
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

/// What connections have to meet to stay.
enum Standing {
    Open {
        /// Counts the changes of what client certificates are checked by.
        trust: u64,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    },
    Closed,
}

impl Port {
    pub(crate) fn new(name: Arc<str>, tls: Option<&TlsMaterial>) -> Port {
        let standing = Standing::Open { trust: 0, verifier: tls.and_then(TlsMaterial::verifier) };
        Port { name, open: Open::default(), standing: Mutex::new(standing) }
    }

    /// Nobody of the port may stay.
    pub(crate) fn close(&self) {
        *self.standing.lock() = Standing::Closed;
    }

    /// Client certificates are checked by something else from now on, also those of connections that are open.
    pub(crate) fn change_trust(&self, tls: Option<&TlsMaterial>) {
        if let Standing::Open { trust, verifier } = &mut *self.standing.lock() {
            *trust += 1;
            *verifier = tls.and_then(TlsMaterial::verifier);
        }
    }

    fn trust(&self) -> u64 {
        match &*self.standing.lock() {
            Standing::Open { trust, .. } => *trust,
            Standing::Closed => 0,
        }
    }

    /// Why a connection may not stay that showed `chain` when the port had the trust `seen`, which is brought up to date.
    pub(crate) fn objection(
        &self,
        seen: &mut u64,
        chain: impl FnOnce() -> Vec<CertificateDer<'static>>,
    ) -> Option<Close> {
        let verifier = match &*self.standing.lock() {
            Standing::Closed => return Some(CloseReason::ListenerClosed.into()),
            Standing::Open { trust, .. } if trust == seen => return None,
            Standing::Open { trust, verifier } => {
                *seen = *trust;
                verifier.clone()?
            }
        };
        let chain = chain();
        let (first, others) = chain.split_first()?;
        let verified = verifier.verify_client_cert(first, others, UnixTime::now());
        verified.err().map(|error| {
            Close::new(
                CloseReason::NotAuthorized,
                format!("the client's certificate is no longer accepted: {error}"),
            )
        })
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
            trust: port.trust(),
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

    #[test]
    fn a_closed_port_keeps_nobody() {
        let port = Port::new(Arc::from("devices"), None);
        let mut seen = 0;
        assert_eq!(port.objection(&mut seen, chain), None);
        port.close();
        assert_eq!(
            port.objection(&mut seen, chain).map(|close| close.reason),
            Some(CloseReason::ListenerClosed)
        );
    }

    /// Where nothing has changed nobody's certificate is looked at.
    #[test]
    fn certificates_are_looked_at_once_after_a_change() {
        let port = Port::new(Arc::from("devices"), None);
        let mut seen = 0;
        assert_eq!(port.objection(&mut seen, || panic!("nothing has changed")), None);
        port.change_trust(None);
        assert_eq!(port.objection(&mut seen, chain), None);
        assert_eq!(seen, 1);
        assert_eq!(port.objection(&mut seen, || panic!("nothing has changed again")), None);
    }
}
