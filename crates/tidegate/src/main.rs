//! The gateway binary: command line, wiring, start and stop.
//!
//! Everything that the gateway does is in the libraries; here it is decided which of it runs. `registry` is the visible list of
//! protocols, `gateway` turns a configuration into a running server, `durable` is the store that it keeps things in and `store` looks into one, `bridges` what connects it to other brokers, `access` and `passwd` are about its users, `bench` is the load generator,
//! `demo` a gateway with simulated devices and a web page.

mod access;
mod bench;
mod bridges;
mod cli;
mod demo;
mod durable;
mod gateway;
mod logging;
mod passwd;
mod queues;
mod registry;
mod reload;
mod remote;
mod rings;
mod rules;
mod store;
mod table;
mod topics;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

/// The configuration or the machine does not allow a start.
const EXIT_REFUSED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => gateway::run(&cli.configuration),
        Some(Command::Check(configuration)) => gateway::check(&configuration.or(cli.configuration)),
        Some(Command::Passwd(passwd)) => match passwd::run(passwd) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                cli::complain(&format!("passwd: {error}"));
                ExitCode::FAILURE
            }
        },
        Some(Command::Bridge(command)) => bridges::run(command, cli.configuration),
        Some(Command::Bridges(arguments)) => bridges::show(&arguments, cli.configuration),
        Some(Command::Store(command)) => store::run(command, cli.configuration),
        Some(Command::Demo(arguments)) => demo::run(&arguments, cli.configuration),
        Some(Command::Bench(arguments)) => match bench::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                cli::complain(&format!("bench: {error}"));
                ExitCode::FAILURE
            }
        },
    }
}
