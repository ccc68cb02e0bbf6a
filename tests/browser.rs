//! Pages in a real browser: Debian's Chromium, driven by playwright-core.

use crate::harness::{Gateway, Program, Scratch, node, project_folder};

/// The demo with few machines, on free ports, and nothing that happens by chance.
fn demo(devices: &str) -> Gateway {
    let ports = ["--http-port", "0", "--mqtt-port", "0", "--websocket-port", "0", "--stomp-port", "0"];
    let fleet = ["--devices", devices, "--rate", "200", "--losses", "0"];
    // The harness reads the ports from the log, which the demo keeps short by itself.
    let arguments = ["--set", "log.level=info", "demo"].into_iter().chain(ports).chain(fleet);
    Gateway::start_with(Scratch::new(), arguments)
}

/// Waits for each of these checks, one after the other, so that each has its own deadline.
pub(crate) fn passes(browser: &mut Program, checks: &[&str]) {
    for check in checks {
        let is_over = |line: &str| line == format!("ok {check}") || line.starts_with("failed");
        let line = browser.wait_for_line(&format!("{check:?}"), is_over);
        assert!(line.starts_with("ok"), "{line}");
    }
}

/// Uses the demo's page on a device.
fn demo_page_passes(device: &str, checks: &[&str]) {
    let gateway = demo("24");
    let page = format!("http://127.0.0.1:{}/demo/", gateway.port("http"));
    let mqtt = format!("mqtt://127.0.0.1:{}", gateway.port("mqtt"));
    let mut browser = Program::start(node("demo_page.js").args([&page, &mqtt, device, "24"]));
    passes(&mut browser, checks);
    browser.succeed();
}

const CHECKS: [&str; 12] = [
    "every machine appears",
    "a retained value is there at once, and marked",
    "live values move",
    "a device that dies turns grey, and back when it returns",
    "a command shows its answer",
    "charts draw the machine that is looked at",
    "a machine whose link is cut by command is lost, and comes back",
    "a machine that is away is offline, for its charts and for commands",
    "the keyboard closes a machine and is back on its tile",
    "filters show what they say",
    "nothing is wider than the screen",
    "a connection that is cut goes on where it was",
];

/// The whole page, with a mouse, without one error in the console.
#[test]
fn demo_page_on_a_desktop() {
    demo_page_passes("desktop", &CHECKS);
}

/// The same on a small screen, by touch.
#[test]
fn demo_page_on_a_phone() {
    demo_page_passes("phone", &CHECKS);
}

/// The page reads most frames by itself; it takes none that is not surely whole, and reads what it takes as the library would.
#[test]
fn lean_reader_takes_whole_messages_only() {
    Program::start(&mut node("lean_socket.js")).succeed();
}

/// What is served is the library that its authors published, in the version that the other tests use.
#[test]
fn the_vendored_library_is_the_published_one() {
    let read = |path: &str| std::fs::read(project_folder().join(path)).expect(path);
    for (ours, theirs) in [("stomp.umd.min.js", "bundles/stomp.umd.min.js"), ("stompjs.LICENSE", "LICENSE")] {
        let theirs = read(&format!("tests/clients/node/node_modules/@stomp/stompjs/{theirs}"));
        assert_eq!(read(&format!("crates/tidegate/demo/vendor/{ours}")), theirs, "{ours}");
    }
    let note = String::from_utf8(read("crates/tidegate/demo/vendor/README.md")).unwrap();
    let package = String::from_utf8(read("tests/clients/node/package.json")).unwrap();
    let version = package.split("\"@stomp/stompjs\": \"").nth(1).and_then(|rest| rest.split('"').next());
    assert!(note.contains(&format!("@stomp/stompjs {}", version.unwrap())), "{note}");
}

/// @stomp/stompjs with a browser's own WebSocket, and MQTT.js on the other side: payloads, properties, receipts, acknowledgements, retained
/// messages and heart-beats.
#[test]
fn stompjs_in_a_page_meets_an_mqtt_client() {
    let gateway = Gateway::standard();
    let websocket = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    let mqtt = format!("mqtt://127.0.0.1:{}", gateway.port("mqtt"));
    let mut browser = Program::start(node("stomp_page.js").args([&websocket, &mqtt]));
    passes(
        &mut browser,
        &[
            "the newest sub-protocol is spoken",
            "payloads of every kind come from a device",
            "payloads of every kind go to a device, each with its receipt",
            "properties cross both ways",
            "what is not acknowledged holds the next one back",
            "retained messages are marked, and cleared",
            "a page that leaves gets its last receipt",
            "heart-beats keep a silent connection",
        ],
    );
    browser.succeed();
}
