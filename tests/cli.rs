//! The command line: what `check` and a refused start say, and the exit codes that scripts rely on.

use std::path::PathBuf;

use crate::harness::{Authority, Ended, Program, Scratch, python, run_tidegate};

const GOOD: &str = r#"
node = "edge-1"

[[listener]]
name = "devices"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true
"#;

/// A configuration file in a folder that lives as long as this.
struct ConfigFile {
    path: PathBuf,
    _scratch: Scratch,
}

impl ConfigFile {
    fn new(content: &str) -> ConfigFile {
        let scratch = Scratch::new();
        ConfigFile { path: scratch.write("gateway.toml", content), _scratch: scratch }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("the target folder's name is text")
    }
}

fn check(content: &str) -> Ended {
    run_tidegate(["check", "--config", ConfigFile::new(content).path()])
}

/// Both ways to meet a bad file: `check` and a start. Each says these words and ends with exit code 2.
fn expect_refused(content: &str, words: &[&str]) {
    let file = ConfigFile::new(content);
    for arguments in [vec!["check", "--config", file.path()], vec!["--config", file.path()]] {
        let ended = run_tidegate(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?} said:\n{}", ended.output);
        for word in words {
            assert!(ended.output.contains(word), "{arguments:?} did not say {word:?}:\n{}", ended.output);
        }
    }
}

/// A good file: exit code 0, and nothing is started.
#[test]
fn check_accepts_a_good_file() {
    let ended = check(GOOD);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// A misspelt key is named with its file, its line and the key that was meant.
#[test]
fn unknown_key_is_refused_with_a_suggestion() {
    expect_refused(&GOOD.replace("protocols", "protocls"), &["gateway.toml:7", "protocls", "protocols"]);
}

/// A file that is no TOML is refused at its line.
#[test]
fn syntax_error_is_refused_with_its_line() {
    expect_refused(&GOOD.replace("node = \"edge-1\"", "node = "), &["gateway.toml:2"]);
}

/// A bad address is named.
#[test]
fn bad_address_is_refused() {
    expect_refused(&GOOD.replace("127.0.0.1:0", "127.0.0.1:99999"), &["gateway.toml:6", "127.0.0.1:99999"]);
}

/// A listener that every machine can reach needs authentication or a plain word that it has none.
#[test]
fn open_listener_without_authentication_is_refused() {
    let open = GOOD.replace("127.0.0.1:0", "0.0.0.0:0");
    assert_eq!(check(&open).code, Some(0));
    expect_refused(&open.replace("allow_anonymous = true", ""), &["gateway.toml:6", "allow_anonymous"]);
}

/// One port cannot be two listeners.
#[test]
fn port_used_twice_is_refused() {
    let listener =
        |name| GOOD.replace("node = \"edge-1\"", "").replace("devices", name).replace(":0", ":18831");
    expect_refused(&format!("{}{}", listener("one"), listener("two")), &["127.0.0.1:18831", "one"]);
}

/// A certificate and a key that do not belong together are refused before any port is opened.
#[test]
fn certificate_with_another_key_is_refused() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let (one, two) = (authority.sign(&scratch, &["one.example"]), authority.sign(&scratch, &["two.example"]));
    let tls = format!("{GOOD}tls = {{ cert = {:?}, key = {:?} }}\n", one.certificate_file, two.key_file);
    expect_refused(&tls, &["gateway.toml:9", "two.example.key"]);
}

/// A file that is not there is named.
#[test]
fn missing_file_is_refused() {
    for arguments in
        [vec!["check", "--config", "/no/such/gateway.toml"], vec!["--config", "/no/such/gateway.toml"]]
    {
        let ended = run_tidegate(&arguments);
        assert_eq!(ended.code, Some(2), "{}", ended.output);
        assert!(ended.output.contains("/no/such/gateway.toml"), "{}", ended.output);
    }
}

/// `--version` and `--help` answer and end well.
#[test]
fn version_and_help_answer() {
    let version = run_tidegate(["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.output.contains(env!("CARGO_PKG_VERSION")), "{}", version.output);
    let help = run_tidegate(["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.output.contains("--config"), "{}", help.output);
}

/// `tidegate passwd` with this password on its standard input.
fn passwd(arguments: &[&str], input: &str) -> Ended {
    use std::io::Write;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("passwd").args(arguments).stdin(std::process::Stdio::piped());
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("tidegate starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A command that wants no password may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let ended = child.wait_with_output().expect("a child can be waited for");
    let output = [ended.stdout, ended.stderr].concat();
    Ended { code: ended.status.code(), output: String::from_utf8(output).expect("text") }
}

/// Users come, get another password, and go; what else stands in the file stays.
#[test]
fn passwd_keeps_a_file_of_users() {
    let scratch = Scratch::new();
    let file = scratch.write("passwords", "# ours\n");
    let file = file.to_str().expect("text");
    for (arguments, input, said) in [
        (vec!["add", file, "ann"], "secret\n", "user \"ann\" added"),
        (vec!["add", file, "bob"], "secret", "user \"bob\" added"),
        (vec!["add", "--stdin", file, "ann"], "other\r\n", "user \"ann\" has another password"),
        (vec!["list", file], "", "ann\nbob\n"),
        (vec!["remove", file, "bob"], "", "user \"bob\" removed"),
        (vec!["list", file], "", "ann\n"),
    ] {
        let ended = passwd(&arguments, input);
        assert!(ended.code == Some(0) && ended.output.contains(said), "{arguments:?}: {}", ended.output);
    }
    let text = std::fs::read_to_string(file).expect("the file is there");
    assert!(text.starts_with("# ours\nann:$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert!(text.lines().count() == 2 && !text.contains("secret") && !text.contains("other"), "{text}");
}

/// Ctrl-C at the prompt gives the terminal back as it was.
#[test]
fn passwd_leaves_a_terminal_that_shows_what_is_typed() {
    let scratch = Scratch::new();
    let file = scratch.write("users", "# ours\n");
    let mut command = python("tests/clients/passwd_prompt.py");
    Program::start(command.arg(env!("CARGO_BIN_EXE_tidegate")).arg(file)).succeed();
}

/// What cannot be is said, and changes nothing.
#[test]
fn passwd_refuses_what_cannot_be() {
    let scratch = Scratch::new();
    let good = scratch.write("good", "# ours\n");
    let bad = scratch.write("bad", "# ours\nann:plain\n");
    let (good, bad) = (good.to_str().expect("text"), bad.to_str().expect("text"));
    for (arguments, input, said) in [
        (vec!["add", good, "a:b"], "secret\n", "':'"),
        (vec!["add", good, "ann"], "", "empty"),
        (vec!["add", good, "ann"], "one\ntwo\n", "more than one line"),
        (vec!["add", good, "ann"], &"x".repeat(5000), "longer than 4096 bytes"),
        (vec!["remove", good, "ann"], "", "there is no user \"ann\""),
        (vec!["list", bad], "", "line 2"),
        (vec!["add", bad, "bob"], "secret\n", "line 2"),
        (vec!["list", "/no/such/file"], "", "/no/such/file"),
    ] {
        let ended = passwd(&arguments, input);
        assert!(ended.code == Some(1) && ended.output.contains(said), "{arguments:?}: {}", ended.output);
        assert!(!ended.output.contains("plain"), "{}", ended.output);
    }
    assert_eq!(std::fs::read_to_string(good).expect("the file is there"), "# ours\n");
}

/// A file that asks for passwords opens a listener to the network; a password file with a mistake opens nothing.
#[test]
fn password_file_is_checked() {
    let scratch = Scratch::new();
    let good = scratch.write("good", "# nobody yet\n");
    let bad = scratch.write("bad", "ann:plain\n");
    let config = |file: &std::path::Path| {
        let open = GOOD.replace("127.0.0.1:0", "0.0.0.0:0").replace("allow_anonymous = true", "");
        format!("{open}\n[access]\npassword_file = {file:?}\n")
    };
    let ended = check(&config(&good));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    expect_refused(&config(&bad), &["access.password_file", "line 1"]);
    expect_refused(&config(&good.with_file_name("missing")), &["access.password_file", "missing"]);
}
