//! Other people's servers for tests: RabbitMQ, Mosquitto and three that speak Kafka, each as a process of the test's own.
//!
//! Every server listens on loopback only, on ports that were free, with data, configuration and log in a temporary folder of its
//! own, and is waited for until it answers. It is stopped by its process id when its owner is dropped, with whatever it has
//! started; and if the test's process dies first, a guard stops it. `scripts/test` installs all of them; one that is missing
//! fails the test with these words.
//!
//! What goes wrong at a server can be had on purpose: [`Server::kill_and_restart`], [`Server::stop_and_restart`],
//! [`Server::pause`]. What goes wrong on the way to it is the business of [`crate::proxy`].

mod certificates;
mod kafka;
mod mosquitto;
mod ports;
mod process;
mod rabbitmq;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use certificates::Certificates;
pub use kafka::{Kafka, KafkaServer, User};
pub use mosquitto::Mosquitto;
pub use rabbitmq::RabbitMq;

use process::{Process, Stopped};

/// How long a server may take to start or to stop. RabbitMQ takes seconds on a quiet machine and a minute on a busy one.
const PATIENCE: Duration = Duration::from_secs(240);

/// New ports are tried this often: another program may take one between the choice and its use.
const ATTEMPTS_MAX: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Server {
    launch: Box<dyn Launch>,
    folder: PathBuf,
    ports: Vec<u16>,
    process: Option<Process>,
}

/// How a kind of server is started and recognised as ready.
trait Launch: Debug + Send + Sync {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// How many ports it needs; the first is the one that clients connect to.
    fn ports(&self) -> usize {
        1
    }

    /// Writes its configuration into the folder and says how to start it there. The output of the command is its log.
    fn command(&self, folder: &Path, ports: &[u16]) -> Command;

    /// Whether this line of its log says that it is ready.
    fn is_ready(&self, line: &str) -> bool;
}

impl Server {
    fn start(launch: impl Launch + 'static) -> Server {
        let folder = new_folder();
        let mut said = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let ports = ports::free(launch.ports());
            match Process::start(launch.name(), launch.command(&folder, &ports), &folder, |line| {
                launch.is_ready(line)
            }) {
                Ok(process) => {
                    return Server { launch: Box::new(launch), folder, ports, process: Some(process) };
                }
                Err(stopped) => said = stopped.expect_port_in_use(launch.name()),
            }
        }
        panic!("{} found its ports taken {ATTEMPTS_MAX} times; it said:\n{said}", launch.name())
    }

    /// Where clients connect to; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[0]))
    }

    /// The folder with its data, its configuration and `log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has printed so far, over all its starts.
    pub fn log(&self) -> String {
        process::read_log(&self.folder)
    }

    /// SIGKILL, and a start on the same ports with what is left on the disk.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// SIGTERM, its own ending, and a start on the same ports: for servers that write their data when they end.
    pub fn stop_and_restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// SIGTERM, and its own ending. [`Server::start_again`] brings it back.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate();
        }
    }

    /// SIGKILL. [`Server::start_again`] brings it back.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it behind [`Server::stop`] or [`Server::kill`], on the same ports and with the same data.
    pub fn start_again(&mut self) {
        let command = self.launch.command(&self.folder, &self.ports);
        let started =
            Process::start(self.launch.name(), command, &self.folder, |line| self.launch.is_ready(line));
        self.process = Some(started.unwrap_or_else(|stopped: Stopped| stopped.fail(self.launch.name())));
    }

    /// SIGSTOP: its connections stay, and nobody answers.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server has not been killed")
    }
}

impl Drop for Server {
    #[allow(
        clippy::print_stderr,
        reason = "printed by the macro, it is captured with the rest of what the failing test has said"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Where its owner is dropped because a test fails, its log belongs to the failure.
            eprintln!("the log of {}:\n{}", self.launch.name(), self.log());
        }
        self.process = None;
        // A folder that stays behind is a temporary one, so it is no failure.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tidegate-server-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}

/// Writes a file of the server's folder and returns its path.
fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the temporary folder can be written");
    path
}

/// A program that `scripts/test` has put below the top folder of the project.
fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    assert!(path.exists(), "{} is missing; ./scripts/test installs what the tests need", path.display());
    path
}
