//! From a configuration to a running gateway, and back to nothing.
//!
//! Everything that can be wrong is found before the first connection is accepted: configuration, certificates, ports. A start
//! that is refused ends with exit code 2 and leaves nothing behind.

use crate::access::{self, Passwords};
use crate::bridges::Bridges;
use crate::cli::{Configuration, complain, say};
use crate::durable::{self, NotKept, Store, StoreError};
use crate::queues::queue_policies;
use crate::reload::Live;
use crate::rings::ring_options;
use crate::rules::access_rules;
use crate::topics::topic_policies;
use crate::{logging, registry};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tidegate_admin::{AdminServer, Bound, BridgeSource, Pages, Readiness, Stage};
use tidegate_broker::{Limits, Overflow, PublishLimits};
use tidegate_config::{
    ClientAuth, ClientIdentity, Config, Listener, Loaded, QueueOverflow, Sources, Tls, Transport, load,
};
use tidegate_net::tls::{self, Application, CertificateName, SniCertificate, TlsOptions};
use tidegate_net::{
    Layer, ListenerOptions, ListenerProtocol, Running, Server, ServerOptions, WebSocketOptions,
};
use tidegate_storage::Storage;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The longest WebSocket message. Messages are decoded as they arrive and kept nowhere, so this bounds no memory: the protocols' own
/// limits do. It is a brake on nonsense.
const WEBSOCKET_MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// Why the gateway does not start, or goes on as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    #[error("{0}")]
    Access(#[from] access::AccessError),
    #[error("listener `{listener}`: {option}: {message}")]
    Option { listener: String, option: String, message: String },
    #[error("access.rule: {0}")]
    Rules(#[from] tidegate_message::PatternError),
    #[error("replay: {0}")]
    Rings(#[from] tidegate_message::FilterError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("topic: {0}")]
    Topics(tidegate_message::FilterError),
    #[error("{0}")]
    Bind(#[from] tidegate_net::BindError),
    #[error("{0}")]
    Http(#[from] tidegate_admin::BindError),
    #[error("{0}")]
    Serve(#[from] tidegate_admin::ServeError),
    #[error("{0}")]
    Start(#[from] tidegate_net::StartError),
    #[error("bridge `{bridge}`: {message}")]
    Bridge { bridge: String, message: String },
    #[error("cannot start the bridges: {0}")]
    Bridges(std::io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Says what is wrong with a configuration.
pub(crate) fn check(configuration: &Configuration) -> ExitCode {
    match read(configuration) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| complain(&format!("{warning}\n")));
            if let Err(error) = access::check(&loaded.config) {
                return refuse(&format!("error: {error}"));
            }
            match &configuration.config {
                Some(file) => say(&format!("{} is fine", file.display())),
                None => say("the built-in configuration is fine"),
            }
            ExitCode::SUCCESS
        }
        Err(report) => refuse(&report),
    }
}

/// Serves until SIGTERM or SIGINT; reads the configuration again at each SIGHUP.
pub(crate) fn run(configuration: &Configuration) -> ExitCode {
    let loaded = match read(configuration) {
        Ok(loaded) => loaded,
        Err(report) => return refuse(&report),
    };
    let level = logging::start(&loaded.config.log);
    for warning in &loaded.warnings {
        warn!(key = %warning.key, "{}", warning.message);
    }
    if configuration.config.is_none() {
        note_defaults(&loaded.config);
    }
    match serve(configuration, loaded.config, level) {
        Ok(stopped) => exit_code(&stopped),
        Err(refused) => {
            tracing::error!("{refused}");
            ExitCode::from(crate::EXIT_REFUSED)
        }
    }
}

pub(crate) fn refuse(report: &str) -> ExitCode {
    complain(report);
    ExitCode::from(crate::EXIT_REFUSED)
}

/// Reads file, environment and flags; the report of what is wrong otherwise.
pub(crate) fn read(configuration: &Configuration) -> Result<Loaded, String> {
    let overrides = configuration.overrides().map_err(|error| format!("error: {error}"))?;
    let registry = registry::for_configuration();
    let sources = Sources {
        file: configuration.config.clone(),
        embedded: configuration.embedded.unwrap_or(tidegate_config::EMBEDDED),
        environment: std::env::vars_os().collect(),
        overrides,
        registry: &registry,
        now: SystemTime::now(),
    };
    load(&sources).map_err(|report| report.to_string())
}

fn serve(
    configuration: &Configuration,
    config: Config,
    level: logging::Level,
) -> Result<Result<(), NotKept>, Refused> {
    let mut gateway = Gateway::open(configuration, config, level)?;
    gateway.serve(Pages::default())?;
    let signal = gateway.wait();
    Ok(gateway.stop(signal))
}

/// How the process ends when the gateway has stopped.
pub(crate) fn exit_code(stopped: &Result<(), NotKept>) -> ExitCode {
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(NotKept) => ExitCode::FAILURE,
    }
}

/// A gateway from its first open port to its last closed connection.
pub(crate) struct Gateway {
    runtime: Runtime,
    signals: Signals,
    live: Live,
    http: Http,
    readiness: Readiness,
}

/// The HTTP port: not there, open, or served.
enum Http {
    None,
    Bound(Bound),
    Served(AdminServer),
}

impl Gateway {
    /// Opens every port. The listeners accept from now on; HTTP clients wait for [`Gateway::serve`].
    pub(crate) fn open(
        configuration: &Configuration,
        config: Config,
        level: logging::Level,
    ) -> Result<Gateway, Refused> {
        raise_file_limit();
        let runtime = Builder::new_current_thread().enable_io().build().map_err(Refused::Signals)?;
        // Before anything is served: a signal that nobody waits for yet would end the process on the spot.
        let signals = runtime.block_on(async { Signals::new() }).map_err(Refused::Signals)?;
        let passwords = access::passwords(&config, None)?;
        let store = durable::open(&config)?;
        let storage = store.as_ref().map(Store::storage);
        let server = Server::bind(server_options(&config, passwords.as_ref(), storage)?)?;
        if let Some(store) = &store {
            store.announce(&server.node().recovered());
        }
        let http = config.http.as_ref().map(|http| AdminServer::bind(http.bind)).transpose()?;
        let http = http.map_or(Http::None, Http::Bound);
        server.node().set_system_interval(config.sys_interval.duration(), Instant::now());
        let running = server.start()?;
        let epoch = store.as_ref().map_or_else(durable::passing_epoch, Store::epoch);
        let mut bridges = Bridges::new(running.inside(), running.node().clone(), epoch);
        let roster = bridges.roster();
        running.node().set_system_source(Box::new(move |node| roster.system_topics(node)));
        bridges.note_strangers(&config)?;
        bridges.apply(&config, bridges.prepare(&config)?)?;
        let configuration = configuration.clone();
        let live = Live { configuration, config, passwords, running, level, store, bridges };
        Ok(Gateway { runtime, signals, live, http, readiness: Readiness::default() })
    }

    /// The address that a listener has, also where the configuration leaves the port open. The HTTP listener is called `http`.
    pub(crate) fn address(&self, listener: &str) -> Option<SocketAddr> {
        match (&self.http, listener) {
            (Http::Bound(bound), "http") => Some(bound.address()),
            (Http::Served(server), "http") => Some(server.address()),
            _ => {
                let addresses = self.live.running.addresses();
                addresses.into_iter().find(|(name, _)| **name == *listener).map(|(_, address)| address)
            }
        }
    }

    /// Serves HTTP, with these pages, and says that everything is ready.
    pub(crate) fn serve(&mut self, pages: Pages) -> Result<(), Refused> {
        let Gateway { live, http, readiness, .. } = self;
        announce(&live.config, &live.running);
        *http = match std::mem::replace(http, Http::None) {
            Http::Bound(bound) => {
                info!(listener = "http", address = %bound.address(), transport = "http", "listening");
                let roster = live.bridges.roster();
                let bridges = BridgeSource::new(move |node| roster.reports(node));
                Http::Served(bound.serve(live.running.node().clone(), readiness.clone(), pages, bridges)?)
            }
            other => other,
        };
        readiness.set(Stage::Ready);
        let (node, workers) = (&live.config.node, live.config.workers);
        info!(%node, version = env!("CARGO_PKG_VERSION"), workers, "ready");
        Ok(())
    }

    /// Waits until a signal asks for the end, and obeys those that ask for a reload; returns the signal's name.
    pub(crate) fn wait(&mut self) -> &'static str {
        loop {
            match self.runtime.block_on(self.signals.next()) {
                Asked::Reload => self.live.reload(),
                Asked::Stop(signal) => return signal,
            }
        }
    }

    /// Sends every client away, closes every port, and has the store keep everything.
    pub(crate) fn stop(self, signal: &'static str) -> Result<(), NotKept> {
        info!(signal, "stopping");
        self.readiness.set(Stage::Stopping);
        // While the gateway still takes what they say of messages that are confirmed.
        self.live.bridges.stop();
        self.live.running.stop();
        if let Http::Served(http) = self.http {
            http.stop();
        }
        let closed = self.live.store.as_ref().map_or(Ok(()), Store::close);
        info!("stopped");
        closed
    }
}

/// Flags and variables may have moved the listeners of the built-in configuration, which let every client in.
fn note_defaults(config: &Config) {
    match config.listeners.iter().all(|listener| listener.bind.ip().to_canonical().is_loopback()) {
        true => info!("no configuration file: listening on loopback only, anonymous clients are accepted"),
        false => {
            warn!("no configuration file: open to the network, and anonymous clients are accepted");
        }
    }
}

fn announce(config: &Config, running: &Running) {
    for (listener, (name, address)) in config.listeners.iter().zip(running.addresses()) {
        let transport = listener.transport.as_str();
        let protocols = listener.protocols.join(",");
        let tls = match &listener.tls {
            None => "none",
            Some(tls) if tls.optional => "optional",
            Some(_) => "required",
        };
        let anonymous = listener.allow_anonymous;
        info!(listener = %name, %address, transport, protocols, tls, anonymous, "listening");
    }
}

/// The signals that ask for something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Asked {
    /// To read the configuration again (SIGHUP).
    Reload,
    /// To end, by the signal of this name.
    Stop(&'static str),
}

impl Signals {
    /// Takes the signals over from the system's default, which ends the process.
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the first of them.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

/// Every connection is a file descriptor; the usual soft limit of 1024 is meant for programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

fn server_options(
    config: &Config,
    passwords: Option<&Arc<Passwords>>,
    storage: Option<Arc<dyn Storage>>,
) -> Result<ServerOptions, Refused> {
    Ok(ServerOptions {
        workers: config.workers,
        limits: limits(config),
        connections_max: config.limits.connections,
        shutdown_timeout: config.shutdown_timeout.duration(),
        authenticator: access::authenticator(passwords),
        access: access_rules(&config.access)?,
        rings: ring_options(&config.rings)?,
        queues: queue_policies(config),
        topics: topic_policies(config)?,
        storage,
        skip_damaged: config.store.skip_damaged,
        protocols: registry::protocol_names(),
        listeners: listeners(config)?,
    })
}

/// The listeners as the driver takes them; all their files are read here.
pub(crate) fn listeners(config: &Config) -> Result<Vec<ListenerOptions>, Refused> {
    config.listeners.iter().map(listener_options).collect()
}

/// The limits as the broker takes them.
pub(crate) fn limits(config: &Config) -> Limits {
    let limits = &config.limits;
    let bytes = |size: tidegate_config::ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    Limits {
        sessions: limits.sessions,
        subscriptions_per_session: limits.subscriptions_per_session,
        subscriptions: limits.subscriptions,
        subscription_bytes: bytes(limits.subscription_bytes),
        queues: limits.queues,
        queued_messages: limits.queued_messages,
        queued_bytes: bytes(limits.queued_bytes),
        queued_bytes_total: bytes(limits.queued_bytes_total),
        queue_overflow: match limits.queue_overflow {
            QueueOverflow::DropOldest => Overflow::DropOldest,
            QueueOverflow::DropNewest => Overflow::DropNewest,
            QueueOverflow::Disconnect => Overflow::Disconnect,
            QueueOverflow::KeepLast => Overflow::KeepLast,
        },
        retained_messages: limits.retained_messages,
        retained_bytes: bytes(limits.retained_bytes),
        topic_levels: limits.topic_levels,
        topic_bytes: limits.topic_bytes,
        client_id_bytes: limits.client_id_bytes,
        session_expiry_max: limits.session_expiry_max.duration(),
        output_bytes: bytes(limits.output_buffer),
    }
}

fn listener_options(listener: &Listener) -> Result<ListenerOptions, Refused> {
    let open = |name: &String| {
        let none = toml::Table::new();
        let options = listener.options.get(name).unwrap_or(&none);
        let (index, protocol) =
            registry::open(name, options).map_err(|errors| option_refused(listener, errors))?;
        Ok(ListenerProtocol { index, protocol })
    };
    let application = match listener.transport {
        Transport::Tcp => Application::Stream,
        Transport::WebSocket => Application::WebSocket,
        Transport::Any => Application::Either,
    };
    let encrypt = |tls: &Tls| tls::material(&tls_options(tls, application));
    Ok(ListenerOptions {
        name: Arc::from(listener.name.as_str()),
        bind: listener.bind,
        tls: match &listener.tls {
            None => Layer::Never,
            Some(tls) if tls.optional => Layer::Optional(encrypt(tls)?),
            Some(tls) => Layer::Always(encrypt(tls)?),
        },
        websocket: match listener.transport {
            Transport::Tcp => Layer::Never,
            Transport::Any => Layer::Optional(websocket_options(listener)),
            Transport::WebSocket => Layer::Always(websocket_options(listener)),
        },
        protocols: listener.protocols.iter().map(open).collect::<Result<_, Refused>>()?,
        allow_anonymous: listener.allow_anonymous,
        client_identity: listener.tls.as_ref().and_then(|tls| tls.client_identity).map(certificate_name),
        connections_max: listener.max_connections.unwrap_or(usize::MAX),
        connection_rate: listener.connection_rate.map(|rate| rate as u64),
        publish_limits: PublishLimits {
            messages_per_second: listener.publish_rate.map(|rate| rate as u64),
            bytes_per_second: listener.publish_bytes_rate.map(|rate| rate.bytes()),
        },
        connect_timeout: listener.connect_timeout.duration(),
    })
}

fn certificate_name(identity: ClientIdentity) -> CertificateName {
    match identity {
        ClientIdentity::CommonName => CertificateName::Common,
        ClientIdentity::SanDns => CertificateName::Dns,
        ClientIdentity::SanEmail => CertificateName::Email,
        ClientIdentity::SanUri => CertificateName::Uri,
    }
}

fn option_refused(listener: &Listener, errors: Vec<tidegate_config::OptionError>) -> Refused {
    let first = errors.into_iter().next();
    let (option, message) = first.map_or_else(Default::default, |error| (error.key, error.message));
    Refused::Option { listener: listener.name.clone(), option, message }
}

fn websocket_options(listener: &Listener) -> WebSocketOptions {
    let websocket = listener.websocket.as_ref();
    WebSocketOptions {
        path: websocket.and_then(|websocket| websocket.path.clone()),
        origins: websocket.map(|websocket| websocket.origins.clone()).unwrap_or_default(),
        message_bytes_max: WEBSOCKET_MESSAGE_BYTES_MAX,
    }
}

fn tls_options(tls: &Tls, application: Application) -> TlsOptions {
    let certificate = |name: &tidegate_config::ServerName| SniCertificate {
        host: name.host.clone(),
        cert: name.cert.clone(),
        key: name.key.clone(),
    };
    TlsOptions {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        sni: tls.sni.iter().map(certificate).collect(),
        client_ca: tls.client_ca.clone(),
        crl: tls.crl.clone(),
        client_auth: match tls.client_auth {
            None => tls::ClientAuth::None,
            Some(ClientAuth::Optional) => tls::ClientAuth::Optional,
            Some(ClientAuth::Required) => tls::ClientAuth::Required,
        },
        application,
    }
}

impl From<tidegate_net::OpenError> for Refused {
    fn from(error: tidegate_net::OpenError) -> Refused {
        match error {
            tidegate_net::OpenError::Bind(error) => Refused::Bind(error),
            tidegate_net::OpenError::Recovery(error) => Refused::Store(error.into()),
        }
    }
}
