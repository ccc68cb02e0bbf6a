//! RabbitMQ, Debian's package `rabbitmq-server`, with a node, a port mapper, a cookie, a database and a certificate authority of its own.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use super::certificates::{CERTIFIED_USER, Certificates};
use super::{Launch, Server, write};

/// Virtual hosts that exist from the first start: to make one later costs a second of a command in Erlang. Each start looks after each of them, so a
/// server that is restarted has few.
const VHOSTS: usize = 4;
/// Of the one server for many tests.
const VHOSTS_SHARED: usize = 32;

/// The hash of the password `guest` as RabbitMQ keeps it: four bytes of salt, then SHA-256.
const GUEST_HASH: &str = "c2FsdDRwMuw4kgNZhm0cEYx1m4NAR6BCdplxDdFbnDjbRIKq";

/// RabbitMQ with the user `guest`, whose password is `guest`, and virtual hosts to give away.
#[derive(Debug)]
pub struct RabbitMq {
    server: Server,
    vhosts: usize,
    vhosts_taken: AtomicUsize,
}

#[derive(Debug)]
struct Options {
    extra: String,
    vhosts: usize,
}

impl RabbitMq {
    /// A server for a test that stops, kills or fills it.
    pub fn start() -> RabbitMq {
        RabbitMq::start_with("")
    }

    /// With these lines of rabbitmq.conf, such as a listener with TLS or a limit.
    pub fn start_with(extra: &str) -> RabbitMq {
        RabbitMq::start_for(extra, VHOSTS)
    }

    fn start_for(extra: &str, vhosts: usize) -> RabbitMq {
        let server = Server::start(Options { extra: extra.to_owned(), vhosts });
        RabbitMq { server, vhosts, vhosts_taken: AtomicUsize::new(0) }
    }

    /// The one server of all tests of a program that leave it alone: each takes a [`RabbitMq::vhost`] of its own. It starts
    /// when it is first asked for and ends with the program.
    pub fn shared() -> Arc<RabbitMq> {
        static SHARED: LazyLock<Arc<RabbitMq>> =
            LazyLock::new(|| Arc::new(RabbitMq::start_for("", VHOSTS_SHARED)));
        Arc::clone(&SHARED)
    }

    /// The name of a virtual host that nobody else was given.
    pub fn vhost(&self) -> String {
        let number = self.vhosts_taken.fetch_add(1, Ordering::Relaxed);
        assert!(number < self.vhosts, "there are {} virtual hosts; raise the number", self.vhosts);
        format!("test-{number}")
    }

    /// The address of a virtual host as clients want it.
    pub fn uri(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@{}/{vhost}", self.server.address())
    }

    /// The same, encrypted and without a user. Nobody gets in without a certificate, which is also the login of a user who asks for that
    /// (SASL EXTERNAL).
    pub fn encrypted_uri(&self, vhost: &str) -> String {
        format!("amqps://localhost:{}/{vhost}", self.server.ports[3])
    }

    /// What a client of [`RabbitMq::encrypted_uri`] needs.
    pub fn certificates(&self) -> Certificates {
        Certificates::within(self.server.folder())
    }
}

impl Launch for Options {
    fn name(&self) -> &'static str {
        "rabbitmq-server"
    }

    /// For clients, for other nodes and tools, for the port mapper, and for clients with certificates.
    fn ports(&self) -> usize {
        4
    }

    fn command(&self, folder: &Path, ports: &[u16]) -> Command {
        let (clients, nodes, mapper) = (ports[0], ports[1], ports[2]);
        let definitions = write(folder, "definitions.json", &definitions(self.vhosts));
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{clients}\nload_definitions = {}\nlog.file = false\nlog.console = true\n\
             log.console.level = info\n{}\n{}\n",
            definitions.display(),
            encryption(&Certificates::made(folder), ports[3]),
            self.extra
        );
        // The mapper in the foreground belongs to the server's group; Erlang would start one that outlives it.
        let mut command = Command::new("sh");
        command.args(["-c", "epmd -port \"$ERL_EPMD_PORT\" & exec /usr/lib/rabbitmq/bin/rabbitmq-server"]);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            // The cookie is made in the home folder.
            .env("HOME", folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", mapper.to_string())
            .env("RABBITMQ_NODENAME", format!("test-{clients}@localhost"))
            .env("RABBITMQ_DIST_PORT", nodes.to_string())
            .env("RABBITMQ_CONFIG_FILE", write(folder, "rabbitmq.conf", &config))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                write(folder, "enabled_plugins", "[rabbitmq_auth_mechanism_ssl]."),
            )
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder)
            // One scheduler that sleeps when there is nothing to do: the machine belongs to the gateway under test.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        command
    }

    fn is_ready(&self, line: &str) -> bool {
        line.contains("Server startup complete")
    }
}

/// A port on which a certificate is asked for, and is a login.
fn encryption(certificates: &Certificates, port: u16) -> String {
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL",
        certificates.authority.display(),
        certificates.server.display(),
        certificates.server_key.display(),
    )
}

/// The users and the virtual hosts, as RabbitMQ imports them when it starts.
fn definitions(vhosts: usize) -> String {
    let names: Vec<String> =
        std::iter::once("/".to_owned()).chain((0..vhosts).map(|n| format!("test-{n}"))).collect();
    let vhosts: Vec<String> = names.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
    let permission = |name: &String| {
        ["guest", CERTIFIED_USER].map(|user| {
            format!(r#"{{"user":"{user}","vhost":"{name}","configure":".*","write":".*","read":".*"}}"#)
        })
    };
    let permissions: Vec<String> = names.iter().flat_map(permission).collect();
    let user = |name: &str, hash: &str| {
        format!(
            r#"{{"name":"{name}","password_hash":"{hash}","hashing_algorithm":"rabbit_password_hashing_sha256","tags":["administrator"]}}"#
        )
    };
    // An empty hash is no password: nobody gets in by one.
    let users = [user("guest", GUEST_HASH), user(CERTIFIED_USER, "")];
    format!(
        r#"{{"users":[{}],"vhosts":[{}],"permissions":[{}]}}"#,
        users.join(","),
        vhosts.join(","),
        permissions.join(",")
    )
}

impl Deref for RabbitMq {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for RabbitMq {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
