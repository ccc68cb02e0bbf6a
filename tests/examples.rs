//! Every example runs against a gateway and does what it says, alone and together with the others.

use crate::browser::passes;
use crate::harness::{
    Gateway, Program, example, mosquitto_pub, node, python, received, subscribed_mosquitto, tool,
};

/// Starts one of the example devices at this port.
type StartDevice = fn(port: &str) -> Program;

fn python_device(port: &str) -> Program {
    Program::start(python("examples/python/device.py").args(["--port", port, "--interval", "0.1"]))
}

fn rust_device(port: &str) -> Program {
    Program::start(example("device").args(["127.0.0.1", port, "pump-8"]))
}

/// Asks a device for something, as any MQTT 5.0 client would, and returns the answer.
fn ask(port: &str, device: &str, command: &str) -> String {
    let topic = format!("plant/lab/{device}/command");
    let mut request = tool("mosquitto_rr");
    request.args([
        "-h",
        "127.0.0.1",
        "-p",
        port,
        "-V",
        "mqttv5",
        "-t",
        &topic,
        "-e",
        "answers/test",
        "-m",
        command,
    ]);
    Program::start(&mut request).succeed()
}

/// `examples/python/device.py`: status, retained readings, and a clean end that says so.
#[test]
fn python_device_publishes_readings_and_status() {
    let gateway = Gateway::standard();
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "plant/#", "-q", "1"]);
    let port = gateway.port("mqtt").to_string();
    let mut device = python("examples/python/device.py");
    let device = Program::start(device.args(["--port", &port, "--count", "3", "--interval", "0"]));

    let messages: Vec<String> = (0..5).map(|_| received(&mut watcher)).collect();

    device.succeed();
    assert!(messages.contains(&"plant/lab/boiler-7/status 1 0 online".to_owned()), "{messages:?}");
    let readings = messages.iter().filter(|line| line.starts_with("plant/lab/boiler-7/temperature 1 0 {"));
    assert_eq!(readings.count(), 3, "{messages:?}");
    assert_eq!(messages.last().map(String::as_str), Some("plant/lab/boiler-7/status 1 0 offline"));
    let mut late = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "plant/+/+/temperature", "-q", "1"]);
    assert!(received(&mut late).starts_with("plant/lab/boiler-7/temperature 1 1 {"));
}

/// Both devices answer what they are asked, say what they can do when they do not understand, and end on command.
fn device_answers(device: StartDevice, name: &str, report: &str) {
    let gateway = Gateway::standard();
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "plant/+/+/status", "-q", "1"]);
    let port = gateway.port("mqtt").to_string();
    let device = device(&port);
    assert_eq!(received(&mut watcher), format!("plant/lab/{name}/status 1 0 online"));
    for command in ["report", r#"{"command":"report"}"#] {
        let answer = ask(&port, name, command);
        assert!(answer.contains(report), "{answer}");
    }
    assert!(ask(&port, name, "dance").contains("unknown command"));
    assert!(ask(&port, name, "stop").contains("stopping"));
    assert_eq!(received(&mut watcher), format!("plant/lab/{name}/status 1 0 offline"));
    device.succeed();
}

/// `examples/python/device.py`
#[test]
fn python_device_answers_commands() {
    device_answers(python_device, "boiler-7", "\"sent\"");
}

/// `examples/rust/device.rs`
#[test]
fn rust_device_answers_commands() {
    device_answers(rust_device, "pump-8", "\"strokes_per_minute\"");
}

/// `examples/python/stomp_listener.py`: prints what an MQTT client publishes.
#[test]
fn python_stomp_listener_prints_mqtt_messages() {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    let mut listener =
        Program::start(python("examples/python/stomp_listener.py").args(["--port", &port, "--count", "1"]));
    listener.wait_for_line("that it listens", |line| line.starts_with("listening on"));
    mosquitto_pub(gateway.port("mqtt"), &["-t", "plant/lab/x/y", "-q", "1", "-m", "21.5"]);
    listener.wait_for_line("the message", |line| line == "/topic/plant/lab/x/y 21.5");
    listener.succeed();
}

/// `examples/python/stomp_listener.py`: an ERROR is printed with its body, which alone says what was wrong.
#[test]
fn python_stomp_listener_prints_why_it_was_refused() {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    let listener =
        Program::start(python("examples/python/stomp_listener.py").args(["--port", &port, "/nowhere"]));
    assert!(listener.succeed().contains("the destination must begin with /topic/"));
}

/// `examples/browser/index.html` in Chromium: what was refused is said and not tried again.
#[test]
fn page_says_why_it_was_refused() {
    let gateway = Gateway::standard();
    let url = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    let mut page = Program::start(node("example_refused.js").args([&url]));
    passes(&mut page, &["refused"]);
    page.succeed();
}

/// `examples/browser/index.html` in Chromium with a device of the examples: its values, its answer, and its end by its will.
fn page_shows_device(device: StartDevice, name: &str, metric: &str) {
    let gateway = Gateway::standard();
    let device = device(&gateway.port("mqtt").to_string());
    let url = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    let mut page = Program::start(node("example_page.js").args([&url, &format!("lab/{name}"), metric]));
    passes(&mut page, &["connected", "device", "live", "answer"]);
    device.signal("KILL");
    passes(&mut page, &["offline"]);
    page.succeed();
}

#[test]
fn page_shows_the_python_device() {
    page_shows_device(python_device, "boiler-7", "temperature");
}

#[test]
fn page_shows_the_rust_device() {
    page_shows_device(rust_device, "pump-8", "pressure");
}
