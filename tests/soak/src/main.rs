//! `soak`: runs for as long as it is told, prints what it found, and fails where it found something.
//!
//! ```sh
//! cargo build --release && cargo run --release -p tidegate-soak -- --duration 1h
//! ```

// This program talks to whoever started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_message::TimeSpan;
use tidegate_soak::{Options, Where, run};

/// Audits a gateway while thousands of clients misbehave.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long clients come and go.
    #[arg(long, default_value = "10m")]
    duration: TimeSpan,
    /// How long they do so before everything that is owed has to arrive, and everybody leaves.
    #[arg(long, default_value = "60s")]
    round: TimeSpan,
    /// Decides what each client does; drawn from the clock where it is not told.
    #[arg(long)]
    seed: Option<u64>,
    /// MQTT clients.
    #[arg(long, default_value_t = 2000)]
    devices: usize,
    /// STOMP clients.
    #[arg(long, default_value_t = 100)]
    services: usize,
    /// Time between two acts of a client, on average.
    #[arg(long, default_value = "1s")]
    pace: TimeSpan,
    /// Leaves shared subscriptions out.
    #[arg(long)]
    no_shared: bool,
    /// The gateway's program. Default: the one beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Its worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// The MQTT address of a gateway that runs already, in place of one that is started.
    #[arg(long)]
    target: Option<SocketAddr>,
    /// Its STOMP address.
    #[arg(long, requires = "target")]
    target_stomp: Option<SocketAddr>,
    /// Its HTTP address.
    #[arg(long, requires = "target")]
    target_http: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    raise_file_limit();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let options = Options {
        seed: arguments.seed.unwrap_or_else(clock),
        duration: arguments.duration.duration(),
        round: arguments.round.duration().max(Duration::from_secs(1)),
        devices: arguments.devices,
        services: arguments.services,
        pace: arguments.pace.duration(),
        may_share: !arguments.no_shared,
        gateway: arguments.gateway(),
    };
    println!("seed {}", options.seed);
    match run(&options, |line| println!("{line}")) {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(u8::from(report.violation_count() > 0))
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn gateway(&self) -> Where {
        match self.target {
            Some(mqtt) => Where::Running { mqtt, stomp: self.target_stomp, http: self.target_http },
            None => {
                Where::Spawn { program: self.program.clone().unwrap_or_else(beside), workers: self.workers }
            }
        }
    }
}

/// `tidegate` in the folder of this program, where `cargo build` puts both.
fn beside() -> PathBuf {
    std::env::current_exe().map_or_else(|_| "tidegate".into(), |program| program.with_file_name("tidegate"))
}

/// Every client is a file descriptor; the usual soft limit of 1024 is meant for programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        eprintln!("soak: the limit of open files stays as it is: {error}");
    }
}
