//! Another configuration for a gateway that runs: what takes effect, who notices, and what a mistake changes (nothing).

use crate::harness::{
    Authority, Gateway, Identity, Program, Scratch, mosquitto_pub, received, subscribed_mosquitto, tool,
};

/// A listener for MQTT without encryption.
fn plain(name: &str, bind: &str, more: &str) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\nprotocols = [\"mqtt\"]\nallow_anonymous = true\n{more}\n"
    )
}

/// A listener that asks for certificates of the authority, with more in its `tls` table.
fn secured(server: &Identity, authority: &Authority, more: &str) -> String {
    format!(
        "[[listener]]\nname = \"mqtts\"\nbind = \"127.0.0.1:0\"\nprotocols = [\"mqtt\"]\n\
         tls = {{ cert = {:?}, key = {:?}, client_ca = {:?}, client_auth = \"required\"{more} }}\n",
        server.certificate_file, server.key_file, authority.certificate_file
    )
}

fn tls_arguments<'a>(authority: &'a Authority, client: &'a Identity) -> Vec<&'a str> {
    let text = |path: &'a std::path::Path| path.to_str().expect("the target folder's name is text");
    vec![
        "--cafile",
        text(&authority.certificate_file),
        "--cert",
        text(&client.certificate_file),
        "--key",
        text(&client.key_file),
        "--insecure",
    ]
}

/// A v5 subscriber of `a/#` on a port that asks for certificates.
fn subscribed_securely(port: u16, authority: &Authority, client: &Identity) -> Program {
    let mut arguments = vec!["-V", "mqttv5", "-t", "a/#"];
    arguments.extend(tls_arguments(authority, client));
    subscribed_mosquitto(port, &arguments)
}

fn can_publish_securely(port: u16, authority: &Authority, client: &Identity) -> bool {
    let port = port.to_string();
    let mut command = tool("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", "a/b", "-q", "1", "-m", "hi"]);
    Program::start(command.args(tls_arguments(authority, client))).wait().code == Some(0)
}

/// What a TLS client that asks for nothing special is shown.
fn shown_subject(port: u16) -> String {
    let mut command = tool("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    let output = Program::start(&mut command).wait().output;
    output.lines().find(|line| line.starts_with("subject=")).unwrap_or(&output).to_owned()
}

/// The file of the same path is renewed: new handshakes see the new certificate, and who is connected notices nothing.
#[test]
fn certificate_is_swapped_under_a_live_connection() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let server = authority.sign(&scratch, &["first.example"]);
    let device = authority.sign(&scratch, &["device"]);
    let config = secured(&server, &authority, "");
    let mut gateway = Gateway::start(&config);
    let port = gateway.port("mqtts");
    let mut subscriber = subscribed_securely(port, &authority, &device);
    assert!(shown_subject(port).ends_with("first.example"));

    let renewed = authority.sign(&scratch, &["second.example"]);
    std::fs::copy(renewed.certificate_file, &server.certificate_file).expect("the files are there");
    std::fs::copy(renewed.key_file, &server.key_file).expect("the files are there");
    let entry = gateway.reload(&config);

    assert_eq!(entry["fields"]["tls_renewed"], "mqtts");
    assert!(shown_subject(port).ends_with("second.example"));
    assert!(can_publish_securely(port, &authority, &device));
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");
}

/// [MQTT-4.13.2-1], reason 0x87: a client whose certificate is revoked is told, dropped and not let in again; others stay.
#[test]
fn revoked_client_is_told_and_dropped() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let server = authority.sign(&scratch, &["localhost"]);
    let [good, stolen] = [&["good"], &["stolen"]].map(|name| authority.sign(&scratch, name));
    let list = scratch.write("clients.crl", authority.revoke(&[]));
    let config = secured(&server, &authority, &format!(", crl = [{list:?}]"));
    let mut gateway = Gateway::start(&config);
    let port = gateway.port("mqtts");
    let mut stays = subscribed_securely(port, &authority, &good);
    let mut goes = subscribed_securely(port, &authority, &stolen);

    scratch.write("clients.crl", authority.revoke(&[&stolen]));
    gateway.reload(&config);

    goes.wait_for_line("its dismissal", |line| line.contains("Received DISCONNECT (135)"));
    assert!(!can_publish_securely(port, &authority, &stolen));
    assert!(can_publish_securely(port, &authority, &good));
    assert_eq!(received(&mut stays), "a/b 0 0 hi");
}

/// The same for an authority that is no longer trusted.
#[test]
fn clients_of_an_authority_that_is_gone_are_dropped() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let successor = Authority::new(&scratch, "successor");
    let server = authority.sign(&scratch, &["localhost"]);
    let device = authority.sign(&scratch, &["device"]);
    let mut gateway = Gateway::start(&secured(&server, &authority, ""));
    let mut goes = subscribed_securely(gateway.port("mqtts"), &authority, &device);

    gateway.reload(&secured(&server, &successor, ""));

    goes.wait_for_line("its dismissal", |line| line.contains("Received DISCONNECT (135)"));
}

/// [MQTT-4.13.2-1], reason 0x98: who came through a listener that is gone is told; who came through another one stays.
#[test]
fn listeners_come_and_go() {
    let keeps = plain("keeps", "127.0.0.1:0", "");
    let mut gateway = Gateway::start(&(keeps.clone() + &plain("goes", "127.0.0.1:0", "")));
    let mut stays = subscribed_mosquitto(gateway.port("keeps"), &["-V", "mqttv5", "-t", "a/#"]);
    let mut goes = subscribed_mosquitto(gateway.port("goes"), &["-V", "mqttv5", "-t", "a/#"]);

    let entry = gateway.reload(&(keeps + &plain("comes", "127.0.0.1:0", "")));

    assert_eq!(
        (&entry["fields"]["listeners_closed"], &entry["fields"]["listeners_opened"]),
        (&"goes".into(), &"comes".into())
    );
    goes.wait_for_line("its dismissal", |line| line.contains("Received DISCONNECT (152)"));
    mosquitto_pub(gateway.port("comes"), &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut stays), "a/b 0 0 hi");
}

/// A listener keeps its port (here one that the system chose) and its clients when only its options change.
#[test]
fn listener_keeps_port_and_clients_when_its_options_change() {
    let mut gateway = Gateway::start(&plain("mqtt", "127.0.0.1:0", ""));
    let port = gateway.port("mqtt");
    let mut subscriber = subscribed_mosquitto(port, &["-t", "a/#"]);

    let entry = gateway.reload(&plain("mqtt", "127.0.0.1:0", "mqtt = { max_packet_size = \"1KiB\" }"));

    assert_eq!((&entry["fields"]["listeners_changed"], gateway.port("mqtt")), (&"mqtt".into(), port));
    mosquitto_pub(port, &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");
    // A new client is told of the new limit, so it does not even send what is larger.
    mosquitto_pub(port, &["-V", "mqttv5", "-t", "a/b", "-q", "1", "-m", &"x".repeat(2000)]);
    mosquitto_pub(port, &["-t", "a/b", "-m", "small"]);
    assert_eq!(received(&mut subscriber), "a/b 0 0 small");
}

/// From this machine only to every address, on the same port: the two sockets overlap, and no client finds the port closed.
#[test]
fn bind_address_changes_on_the_same_port() {
    let mut gateway = Gateway::start(&plain("mqtt", "127.0.0.1:0", ""));
    let port = gateway.port("mqtt");
    let mut goes = subscribed_mosquitto(port, &["-V", "mqttv5", "-t", "a/#"]);

    let entry = gateway.reload(&plain("mqtt", &format!("0.0.0.0:{port}"), ""));
    let told =
        ["opened", "closed", "changed"].map(|what| entry["fields"][format!("listeners_{what}")].clone());
    assert_eq!(told, ["mqtt", "mqtt", "none"]);
    goes.wait_for_line("its dismissal", |line| line.contains("Received DISCONNECT (152)"));
    mosquitto_pub(port, &["-t", "a", "-m", "hi"]);

    gateway.reload(&plain("mqtt", &format!("127.0.0.1:{port}"), ""));
    mosquitto_pub(port, &["-t", "a", "-m", "hi"]);
}

/// A mistake is told with line and suggestion, and changes nothing: not even what is right in the same file.
#[test]
fn bad_file_changes_nothing_and_says_why() {
    let mut gateway = Gateway::start(&plain("mqtt", "127.0.0.1:0", ""));
    let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#"]);

    let bad = plain("other", "127.0.0.1:0", "") + "[limits]\ntopic_level = 1\n";
    let message = gateway.refused_reload(&bad);

    assert!(
        message.contains("tidegate.toml:8:1") && message.contains("did you mean `topic_levels`?"),
        "{message}"
    );
    mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b/c/d", "-m", "hi"]);
    assert_eq!(received(&mut subscriber), "a/b/c/d 0 0 hi");
}

/// An address that is taken refuses the whole reload, limits and other listeners included.
#[test]
fn taken_address_changes_nothing_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let mut gateway = Gateway::start(&plain("mqtt", "127.0.0.1:0", ""));

    let wanted =
        plain("other", "127.0.0.1:0", "") + &plain("taken", &address, "") + "[limits]\ntopic_levels = 1\n";
    let message = gateway.refused_reload(&wanted);

    assert!(message.contains(&address), "{message}");
    let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#"]);
    mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");
}

/// Limits hold at once, also for clients that are connected.
#[test]
fn limits_change_for_connected_clients() {
    let listener = plain("mqtt", "127.0.0.1:0", "");
    let mut gateway = Gateway::start(&listener);
    let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "#"]);

    let entry = gateway.reload(&(listener + "[limits]\ntopic_levels = 2\n"));

    assert_eq!(entry["fields"]["limits_changed"], true);
    let port = gateway.port("mqtt").to_string();
    let mut deep = tool("mosquitto_pub");
    deep.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &port, "-t", "a/b/c", "-q", "1", "-m", "too deep"]);
    let output = Program::start(&mut deep).wait().output;
    assert!(output.contains("Topic Name invalid") || output.contains("144"), "{output}");
    mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");
}

/// The log's level follows; what needs a restart is named while the rest takes effect.
#[test]
fn log_level_changes_and_what_needs_a_restart_is_named() {
    let listener = plain("mqtt", "127.0.0.1:0", "");
    let mut gateway = Gateway::start(&listener);

    let entry = gateway.reload(&format!("workers = 7\n{listener}[log]\nlevel = \"debug\"\n"));

    assert_eq!(entry["fields"]["log_level_changed"], true);
    assert!(gateway.log().contains("\"setting\":\"workers\""), "{}", gateway.log());
    mosquitto_pub(gateway.port("mqtt"), &["-t", "a", "-m", "hi"]);
    assert_eq!(gateway.wait_for_log("\"message\":\"opened\"")["level"], "DEBUG");
}

/// A client that is faster than its listener allows is slowed down; everything that it sent arrives.
#[test]
fn fast_publisher_is_slowed_down_and_loses_nothing() {
    let mut gateway = Gateway::start(
        &(plain("mqtt", "127.0.0.1:0", "publish_rate = 50")
            + &plain("subscribers", "127.0.0.1:0", "")
            + "[http]\nbind = \"127.0.0.1:0\"\n"),
    );
    let mut subscriber = subscribed_mosquitto(gateway.port("subscribers"), &["-t", "a"]);
    let lines: String = (0..100).map(|number| format!("{number}\n")).collect();
    let file = gateway.scratch().write("lines", lines);
    let port = gateway.port("mqtt").to_string();
    let publish = format!("mosquitto_pub -h 127.0.0.1 -p {port} -t a -l < {}", file.display());
    Program::start(tool("sh").args(["-c", &publish])).succeed();
    for number in 0..100 {
        assert_eq!(received(&mut subscriber), format!("a 0 0 {number}"));
    }
    let metrics = crate::harness::get(gateway.port("http"), "/metrics").body;
    assert!(crate::harness::metric_sum(&metrics, "tidegate_publish_throttled_total", &[]) > 0.0, "{metrics}");
    assert!(crate::harness::metric_sum(&metrics, "tidegate_publish_throttled_seconds_total", &[]) > 0.0);
    gateway.terminate();
    gateway.wait_for_log("stopped");
}

/// A gateway that has no file descriptor left tells new clients by closing them, keeps those it has, and goes on accepting when it
/// has some again.
#[test]
fn no_file_descriptor_left_is_survived() {
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.toml", format!("workers = 1\n{}", plain("mqtt", "127.0.0.1:0", "")));
    let mut gateway = Gateway::start_limited(scratch, 40, &file);
    let port = gateway.port("mqtt");
    let mut subscriber = subscribed_mosquitto(port, &["-t", "a"]);
    let mut crowd: Vec<std::net::TcpStream> = Vec::new();
    let refused = loop {
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the backlog takes it");
        client.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a deadline can be set");
        if crowd.len() > 40 {
            break std::io::Read::read(&mut client, &mut [0]);
        }
        crowd.push(client);
    };
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    gateway.wait_for_log("cannot accept for a moment");
    drop(crowd);
    // Tried again, because the gateway needs a moment to see that the crowd is gone.
    let started = std::time::Instant::now();
    let port = port.to_string();
    while Program::start(tool("mosquitto_pub").args(["-h", "127.0.0.1", "-p", &port, "-t", "a", "-m", "hi"]))
        .wait()
        .code
        != Some(0)
    {
        assert!(started.elapsed() < crate::harness::DEADLINE, "nobody gets in any more");
    }
    assert_eq!(received(&mut subscriber), "a 0 0 hi");
}
