//! The configurations that users start from: none at all, and the files in `config/`.

use std::path::Path;

use crate::harness::{
    Authority, Gateway, Scratch, get, mosquitto_pub, project_folder, received, set_password,
    subscribed_mosquitto,
};

/// Flags that move every listener of these names, and HTTP, to ports that the system chooses.
fn free_ports(listeners: &[String]) -> Vec<String> {
    let names = listeners.iter().map(|name| format!("listener.{name}"));
    names
        .chain(["http".to_owned()])
        .flat_map(|name| ["--set".to_owned(), format!("{name}.bind=127.0.0.1:0")])
        .collect()
}

/// The names of the listeners in a file; every `name` key of these files belongs to a listener.
fn listener_names(file: &Path) -> Vec<String> {
    let content = std::fs::read_to_string(file).expect("the file is there");
    let values = content.lines().filter_map(|line| line.trim().strip_prefix("name = \""));
    values.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// Starts with a file, but on free ports.
fn start_file(scratch: Scratch, file: &Path) -> Gateway {
    let mut arguments = free_ports(&listener_names(file));
    arguments.extend(["--config".to_owned(), file.to_str().expect("the path is text").to_owned()]);
    Gateway::start_with(scratch, arguments)
}

/// Without a file: MQTT and HTTP are served, and the first lines say that anonymous clients are let in.
#[test]
fn gateway_without_a_file_serves_this_machine() {
    let names = ["mqtt", "stomp", "web"].map(str::to_owned);
    let gateway = Gateway::start_with(Scratch::new(), free_ports(&names));
    let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#"]);
    mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");
    assert_eq!(get(gateway.port("http"), "/readyz").status, 200);
    assert_ne!(gateway.port("stomp"), gateway.port("web"));
    assert!(gateway.log().contains("anonymous"), "{}", gateway.log());
}

/// `config/tidegate.toml`, which shows every option, starts as it is, but for its ports.
#[test]
fn annotated_configuration_starts() {
    let file = project_folder().join("config/tidegate.toml");
    let gateway = start_file(Scratch::new(), &file);
    assert_eq!(get(gateway.port("http"), "/readyz").status, 200);
}

/// `config/fleet.toml` starts once its users are made, and gives each of them what it says.
#[test]
fn fleet_configuration_gives_each_user_its_place() {
    let scratch = Scratch::new();
    let original =
        std::fs::read_to_string(project_folder().join("config/fleet.toml")).expect("the file is there");
    let file = scratch.write("fleet.toml", original);
    let passwords = file.with_file_name("fleet.passwords");
    for user in ["panel", "sensor-1", "sensor-2"] {
        set_password(&passwords, user, "secret");
    }
    let gateway = start_file(scratch, &file);
    let port = gateway.port("devices");
    let login = |user| ["-u", user, "-P", "secret", "-q", "1"];
    let mut panel = subscribed_mosquitto(port, &[&login("panel")[..], &["-t", "fleet/#"]].concat());
    let publish = |user, topic: &str| {
        mosquitto_pub(port, &[&login(user)[..], &["-V", "mqttv5", "-t", topic, "-m", topic]].concat());
    };
    for (user, topic) in [
        ("sensor-1", "fleet/sensor-2/state"),
        ("sensor-1", "fleet/sensor-1/command"),
        ("sensor-1", "fleet/sensor-1/state"),
        ("panel", "fleet/sensor-2/command"),
    ] {
        publish(user, topic);
    }
    assert_eq!(received(&mut panel), "fleet/sensor-1/state 1 0 fleet/sensor-1/state");
    assert_eq!(received(&mut panel), "fleet/sensor-2/command 1 0 fleet/sensor-2/command");
}

/// `config/edge.toml` starts as it is, but for its port, and keeps what it says.
#[test]
fn edge_configuration_keeps_what_it_acknowledges() {
    let original =
        std::fs::read_to_string(project_folder().join("config/edge.toml")).expect("the file is there");
    let scratch = Scratch::new();
    let file = scratch.write("edge.toml", original);
    let publish_retained = |gateway: Gateway| {
        mosquitto_pub(gateway.port("devices"), &["-q", "1", "-r", "-t", "meter/1", "-m", "42"]);
        gateway.terminate();
        assert_eq!(gateway.wait().code, Some(0));
    };
    publish_retained(start_file(Scratch::new(), &file));
    let gateway = start_file(Scratch::new(), &file);
    let mut late = subscribed_mosquitto(gateway.port("devices"), &["-t", "meter/#"]);
    assert_eq!(received(&mut late), "meter/1 0 1 42");
    drop(scratch);
}

/// `config/tls.toml` starts once the files that it names stand beside it.
#[test]
fn tls_configuration_starts_with_its_certificates_beside_it() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "clients-ca");
    authority.sign(&scratch, &["server"]);
    let original =
        std::fs::read_to_string(project_folder().join("config/tls.toml")).expect("the file is there");
    let file = scratch.write("tls.toml", original);
    let gateway = start_file(scratch, &file);
    assert_ne!(gateway.port("devices"), gateway.port("browsers"));
}
