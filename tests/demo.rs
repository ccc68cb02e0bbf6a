//! `tidegate demo` without its page: what it says, how it starts and ends, and what its machines do for any MQTT client.

use std::net::TcpListener;

use crate::harness::{Gateway, Program, Scratch, get, received, run_tidegate, subscribed_mosquitto, tool};

const FREE_PORTS: [&str; 8] =
    ["--http-port", "0", "--mqtt-port", "0", "--websocket-port", "0", "--stomp-port", "0"];

/// A demo on free ports with these machines; the harness reads the ports from the log.
fn demo(arguments: &[&str]) -> Gateway {
    let start = ["--set", "log.level=info", "demo"].into_iter().chain(FREE_PORTS);
    Gateway::start_with(Scratch::new(), start.chain(arguments.iter().copied()))
}

/// The address of the page is the first thing that is said, and it leads to the page; SIGINT ends everything well.
#[test]
fn address_comes_first_and_ctrl_c_ends_it() {
    let mut demo =
        Program::start(crate::harness::tidegate().arg("demo").args(FREE_PORTS).args(["--devices", "5"]));
    let first = demo.wait_for_line("anything", |_| true);
    let address = first.strip_prefix("Tidegate demo: http://127.0.0.1:").unwrap_or_else(|| panic!("{first}"));
    let port = address.strip_suffix("/demo/").and_then(|port| port.parse().ok()).expect("a port and a path");
    demo.wait_for_line("what it does", |line| line.starts_with("5 machines publish"));
    assert!(get(port, "/demo/").body.contains("<title>"));
    demo.signal("INT");
    let ended = demo.wait();
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), ""));
}

/// `/` leads to the page; the page names its WebSocket port; health and metrics are where they always are.
#[test]
fn page_is_served_beside_health_and_metrics() {
    let gateway = demo(&["--devices", "1"]);
    let http = gateway.port("http");
    let front = get(http, "/");
    assert_eq!(front.status, 307);
    assert!(front.head.contains("\r\nlocation: /demo/"), "{}", front.head);
    let page = get(http, "/demo/");
    let web = gateway.port("web");
    let policy =
        page.head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && policy.contains(&format!("ws://*:{web};")), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(get(http, "/demo/main.js").status, 200);
    assert!(get(http, "/demo/gateway.json").body.contains(&format!("\"websocketPort\":{web}")));
    assert_eq!(get(http, "/healthz").status, 200);
    assert!(get(http, "/metrics").body.contains("tidegate_connections_opened"));
}

/// Without the word `demo` there is no page.
#[test]
fn gateway_without_demo_has_no_page() {
    let gateway = Gateway::standard();
    for path in ["/", "/demo", "/demo/", "/demo/main.js"] {
        assert_eq!(get(gateway.port("http"), path).status, 404, "{path}");
    }
}

/// Whoever comes late knows every machine at once: status, description and readings are retained.
#[test]
fn machines_are_known_to_a_late_client() {
    let gateway = demo(&["--devices", "6", "--rate", "1"]);
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "plant/+/+/status", "-q", "1"]);
    let mut online: Vec<String> = (0..6).map(|_| received(&mut watcher)).collect();
    online.sort();
    assert!(online.iter().all(|line| line.ends_with(" online")), "{online:?}");
    assert!(online[0].starts_with("plant/assembly/robot-01/status 1 "), "{online:?}");
    let mut late =
        subscribed_mosquitto(gateway.port("mqtt"), &["-t", "plant/assembly/robot-01/+", "-q", "1"]);
    let mut retained: Vec<String> = (0..6).map(|_| received(&mut late)).collect();
    retained.sort();
    let names: Vec<&str> = retained.iter().filter_map(|line| line.split([' ', '/']).nth(3)).collect();
    assert_eq!(names, ["info", "power", "status", "temperature", "torque", "vibration"], "{retained:?}");
    assert!(retained[0].contains("\"kind\":\"robot\""), "{retained:?}");
}

/// MQTT 5.0 section 4.10, and [MQTT-3.1.2-8]: a machine answers a command; one that asks for its link to be cut fires the will, and the machine
/// comes back.
#[test]
fn machine_answers_and_loses_its_link_on_command() {
    let gateway = demo(&["--devices", "1", "--losses", "0"]);
    let port = gateway.port("mqtt");
    let mut watcher = subscribed_mosquitto(port, &["-t", "plant/stamping/press-01/status", "-q", "1"]);
    let status = |word: &str| format!("plant/stamping/press-01/status 1 0 {word}");
    assert!(received(&mut watcher).ends_with(" online"));
    let ask = |command: &str| {
        let topic = ["-t", "plant/stamping/press-01/command", "-e", "answers/me", "-m", command];
        let mut request = tool("mosquitto_rr");
        Program::start(request.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "mqttv5"]).args(topic))
            .succeed()
    };
    assert!(ask(r#"{"command":"report"}"#).contains("\"load\":"));
    assert!(ask("repair").contains("\"repaired\":"));
    assert!(ask("dance").contains("unknown command"));
    assert!(ask("cut-link").contains("\"cut\":true"));
    assert_eq!(received(&mut watcher), status("offline"));
    assert_eq!(received(&mut watcher), status("online"));
}

/// A port that is taken is named, with the flag that chooses another one.
#[test]
fn taken_ports_are_named_with_their_flags() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for flag in FREE_PORTS.iter().step_by(2) {
        let others = FREE_PORTS.chunks(2).filter(|pair| pair[0] != *flag).flatten();
        let arguments = ["demo", flag, &port].into_iter().chain(others.copied());
        let ended = run_tidegate(arguments);
        assert_eq!(ended.code, Some(2), "{}", ended.output);
        for word in [&format!("127.0.0.1:{port}"), &format!("{flag} PORT")] {
            assert!(ended.output.contains(word), "{word} is missing in {}", ended.output);
        }
    }
}

/// What the demo cannot do is refused, instead of being left out in silence.
#[test]
fn configuration_files_and_senseless_numbers_are_refused() {
    let refused = [
        (vec!["--config", "x.toml", "demo"], "--config"),
        (vec!["demo", "--devices", "0"], "--devices"),
        (vec!["demo", "--rate", "1000000"], "--rate"),
        (vec!["--set", "lgo.level=info", "demo"], "lgo.level"),
    ];
    for (arguments, word) in refused {
        let ended = run_tidegate(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?} said {}", ended.output);
        assert!(ended.output.contains(word), "{arguments:?} said {}", ended.output);
    }
}
