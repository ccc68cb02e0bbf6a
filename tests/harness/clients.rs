//! Where the client programs come from: Debian's tools, the Python environment, the Node packages, our examples.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Program, project_folder};

/// The line format that makes `mosquitto_sub` print topic, QoS, retain flag and payload; see [`received`].
const MOSQUITTO_FORMAT: &str = "got %t %q %r %p";

/// An installed program with line-buffered output, so that a line is seen when it is printed.
pub(crate) fn tool(name: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    assert!(found, "{name} is not installed; ./scripts/test installs what the tests need");
    let mut command = Command::new("stdbuf");
    command.args(["-oL", name]);
    command
}

/// Publishes with `mosquitto_pub` and waits until it has ended well.
pub(crate) fn mosquitto_pub(port: u16, arguments: &[&str]) {
    let port = port.to_string();
    let mut command = tool("mosquitto_pub");
    Program::start(command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments)).succeed();
}

/// `mosquitto_sub` with these arguments, not started. [`received`] reads what it gets.
pub(crate) fn mosquitto_sub(port: u16, arguments: &[&str]) -> Command {
    let port = port.to_string();
    let mut command = tool("mosquitto_sub");
    command.args(["-d", "-h", "127.0.0.1", "-p", &port, "-F", MOSQUITTO_FORMAT]).args(arguments);
    command
}

/// A running `mosquitto_sub` whose subscription has been acknowledged.
pub(crate) fn subscribed_mosquitto(port: u16, arguments: &[&str]) -> Program {
    let mut program = Program::start(&mut mosquitto_sub(port, arguments));
    program.wait_for_line("its acknowledged subscription", |line| line.starts_with("Subscribed"));
    program
}

/// The next message that a client printed as `got …`, without that word.
pub(crate) fn received(program: &mut Program) -> String {
    let line = program.wait_for_line("a message", |line| line.starts_with("got "));
    line.trim_start_matches("got ").to_owned()
}

/// A Python program of this project, given from the top folder, run in the tests' own environment.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed(".cache/venv/bin/python"));
    command.arg("-u").arg(project_folder().join(script));
    command
}

/// A Node program out of `tests/clients/node`.
pub(crate) fn node(script: &str) -> Command {
    installed("tests/clients/node/node_modules");
    let mut command = Command::new("node");
    command.arg(project_folder().join("tests/clients/node").join(script));
    command
}

/// A Rust example of the package, as `cargo test` builds it beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not built; `cargo test` or ./scripts/test builds it",
        program.display()
    );
    Command::new(program)
}

/// A path below the top folder that an installation makes.
fn installed(path: &str) -> PathBuf {
    let path = project_folder().join(path);
    assert!(path.exists(), "{} is missing; ./scripts/test installs what the tests need", path.display());
    path
}
