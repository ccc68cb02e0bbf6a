//! One connection to RabbitMQ, as the client library wants it.
//!
//! The library would connect by itself, in a thread that nobody can stop while it waits, and with a TLS configuration of its own. So the
//! stream is made here, where waiting can be given up and where TLS is the gateway's, and [`Hangup`] ends what the library is left to
//! do in its thread when whoever served the connection is gone.

use crate::address::RabbitMqAddress;
use crate::options::{Login, RabbitMqOptions};
use crate::refusal::lost;
use async_compat::Compat;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{Connection, ConnectionProperties};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};
use tidegate_bridge::Lost;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Any stream, encrypted or not.
type Wire = Box<dyn ReadWrite>;

pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for S {}

/// A connection that stands. When it is dropped its socket is shut down, whatever the library's thread waits for.
pub(crate) struct Attached {
    pub(crate) connection: Connection,
    pub(crate) hangup: Hangup,
}

/// Shuts a socket down when it is dropped.
pub(crate) struct Hangup(socket2::Socket);

impl Drop for Hangup {
    fn drop(&mut self) {
        // A socket that is down already is what is wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Connects and says who the gateway is.
pub(crate) async fn connect(options: &RabbitMqOptions, address: &RabbitMqAddress) -> Result<Attached, Lost> {
    let broken = |error: io::Error| Lost::Broken(format!("no connection to {address}: {error}"));
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(broken)?;
    socket.set_nodelay(true).map_err(broken)?;
    let hangup = Hangup(socket2::SockRef::from(&socket).try_clone().map_err(broken)?);
    let wire = match address.is_encrypted {
        true => encrypt(options, address, socket).await?,
        false => Box::new(Compat::new(socket)),
    };
    let wire = Mutex::new(Some(wire));
    let give = async move |_: AMQPUri, _: Runtime<Kit>| -> lapin::Result<AsyncTcpStream<Wire>> {
        let wire = wire.lock().take();
        Ok(AsyncTcpStream::Plain(wire.ok_or_else(|| io::Error::other("a connection is used once"))?))
    };
    let runtime = Runtime::new(Kit(Tokio::current()));
    let connection = Connection::connector(uri(options, address), runtime, give, properties(options)).await;
    let connection = connection.map_err(|error| lost(&error))?;
    Ok(Attached { connection, hangup })
}

async fn encrypt(
    options: &RabbitMqOptions,
    address: &RabbitMqAddress,
    socket: TcpStream,
) -> Result<Wire, Lost> {
    let refused = |reason: &str| Lost::Refused(format!("no TLS with {address}: {reason}"));
    let config = options.tls.clone().ok_or_else(|| refused("it is not configured"))?;
    let name = ServerName::try_from(address.host.clone()).map_err(|error| refused(&error.to_string()))?;
    match TlsConnector::from(config).connect(name, socket).await {
        Ok(stream) => Ok(Box::new(Compat::new(stream))),
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Err(refused(&error.to_string()))
        }
        Err(error) => Err(Lost::Broken(format!("no TLS with {address}: {error}"))),
    }
}

fn uri(options: &RabbitMqOptions, address: &RabbitMqAddress) -> AMQPUri {
    let (username, password) = match &address.user {
        Some(user) => (user.name.clone(), user.password.clone()),
        None => ("guest".to_owned(), "guest".to_owned()),
    };
    let mechanism = match options.login {
        Login::Password => SASLMechanism::Plain,
        Login::Certificate => SASLMechanism::External,
    };
    AMQPUri {
        scheme: if address.is_encrypted { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: address.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(options.heartbeat_seconds),
            auth_mechanism: Some(mechanism),
            ..AMQPQueryString::default()
        },
    }
}

/// The library never connects again by itself: the bridge does.
fn properties(options: &RabbitMqOptions) -> ConnectionProperties {
    ConnectionProperties::default()
        .with_connection_name(options.connection_name.as_str().into())
        .with_client_property("product".into(), "tidegate".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
}

/// The runtime that serves the bridge, with streams of any kind.
#[derive(Debug, Clone)]
struct Kit(Tokio);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Box::new(connecting.await?) as Wire) }
    }
}
