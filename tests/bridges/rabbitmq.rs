//! Bridges to RabbitMQ, looked at from there with somebody else's client.

use super::{config, different};
use crate::harness::{
    Gateway, Program, Scratch, mosquitto_pub, mosquitto_sub, project_folder, python, received, run_tidegate,
    subscribed_mosquitto,
};
use serde_json::{Value, json};
use tidegate_testkit::servers::RabbitMq;

/// A bridge to this address that forwards `telemetry/#` to the exchange `telemetry` and receives the queue `commands`, and makes all of it.
fn bridge_to(uri: &str) -> String {
    format!(
        r##"
[[bridge]]
name = "central"
kind = "rabbitmq"
url = "{uri}"
retry_first = "20ms"
retry_longest = "200ms"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
exchange = "telemetry"
routing_key = "{{topic[1..]}}"
headers = {{ line = "{{topic[1]}}", site = "north" }}
dead_letter = "refused"

[[bridge.receive]]
queue = "commands"
to = "commands/{{user}}/{{timestamp}}/{{id}}/{{routing_key.slashed}}"

[[bridge.declare.exchange]]
name = "telemetry"

[[bridge.declare.queue]]
name = "inbox"
arguments = {{ x-max-priority = 5 }}

[[bridge.declare.queue]]
name = "commands"

[[bridge.declare.binding]]
exchange = "telemetry"
queue = "inbox"
routing_key = "line-1.#"
"##
    )
}

/// Asks RabbitMQ with pika.
fn amqp(arguments: &[&str]) {
    Program::start(python("tests/clients/amqp_checks.py").args(arguments)).succeed();
}

/// Follows a queue with pika.
fn follow(uri: &str, queue: &str) -> Program {
    Program::start(python("tests/clients/amqp_checks.py").args(["follow", uri, queue]))
}

fn next(follower: &mut Program) -> Value {
    serde_json::from_str(&received(follower)).expect("pika prints JSON")
}

/// Publishes at QoS 1 in MQTT 5.0.
fn publish(gateway: &Gateway, topic: &str, payload: &str, more: &[&str]) {
    let arguments = ["-V", "mqttv5", "-q", "1", "-t", topic, "-m", payload];
    mosquitto_pub(gateway.port("mqtt"), &[&arguments, more].concat());
}

/// What arrives is persistent and carries its id, its properties and the headers of the forward; what no queue takes is a dead letter with the
/// reason, and the rest goes on. The client library writes such a message with its payload to the log, at whatever level: not here.
#[test]
fn a_message_arrives_with_its_headers_and_one_that_no_queue_takes_is_a_dead_letter() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    let mut gateway = Gateway::start(&config(&format!("{}\n[log]\nlevel = \"trace\"", bridge_to(&uri))));
    gateway.wait_for_log("the upstream answers");
    let format = ["-V", "mqttv5", "-q", "1", "-F", "got %t %p %P"];
    let mut dead = subscribed_mosquitto(gateway.port("mqtt"), &[&format[..], &["-t", "refused"]].concat());
    let mut inbox = follow(&uri, "inbox");
    let properties = ["-D", "publish", "content-type", "text/plain", "-D", "publish", "user-property"];
    let of_device = [&properties[..], &["site", "forged", "-D", "publish", "user-property", "unit", "C"]];
    publish(&gateway, "telemetry/line-1/pump", "21", &of_device.concat());
    publish(&gateway, "telemetry/line-2/pump", "Kennwort", &[]);
    publish(&gateway, "telemetry/line-1/fan", "22", &[]);

    let first = next(&mut inbox);
    assert_eq!((&first["exchange"], &first["routing_key"]), (&json!("telemetry"), &json!("line-1.pump")));
    assert_eq!((&first["body"], &first["delivery_mode"]), (&json!("21"), &json!(2)));
    assert_eq!(first["content_type"], "text/plain");
    let headers = json!({ "line": "line-1", "site": "north", "unit": "C", "tidegate-path": "edge-1" });
    assert_eq!(first["headers"], headers);
    let id = first["message_id"].as_str().expect("the message has an id");
    assert!(id.starts_with("edge-1/") && id.contains("/central.telemetry/"), "{id}");
    let second = next(&mut inbox);
    assert_eq!((&second["routing_key"], &second["body"]), (&json!("line-1.fan"), &json!("22")));
    assert_ne!(second["message_id"], id);

    let letter = received(&mut dead);
    for piece in [
        "refused Kennwort",
        "tidegate-reason:unroutable",
        "tidegate-topic:telemetry/line-2/pump",
        "tidegate-detail:RabbitMQ says 312: NO_ROUTE",
    ] {
        assert!(letter.contains(piece), "`{piece}` is not in: {letter}");
    }
    gateway.terminate();
    let before = gateway.log();
    let log = before + &gateway.wait().output;
    assert!(log.contains("the bridge has ended"), "{log}");
    for secret in ["Kennwort", "guest:guest", "Server returned us"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// What RabbitMQ gave away is kept here before it is told so: the gateway is killed in the midst of it. Topics are made of what the message says of
/// itself there.
#[test]
fn what_comes_from_rabbitmq_is_acknowledged_there_when_it_is_kept_here() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    let config = config(&bridge_to(&uri));
    let mut gateway = Gateway::start(&config);
    gateway.wait_for_log("the upstream answers");
    let topic = "commands/guest/1795311000000/c-17/commands";
    let session = ["-c", "-i", "panel", "-q", "1", "-t", topic, "-F", "got %p"];
    let subscribed = [&session[..], &["-E"]].concat();
    Program::start(&mut mosquitto_sub(gateway.port("mqtt"), &subscribed)).succeed();
    amqp(&["flood", &uri, "commands", "400"]);
    let scratch = gateway.kill();
    let file = scratch.write("again.toml", &config);
    let gateway = Gateway::start_in(scratch, &file);
    // What waits for a session may come before its subscription is acknowledged.
    let mut panel = Program::start(&mut mosquitto_sub(gateway.port("mqtt"), &session));
    let mut numbers = different(&mut panel, 400);
    numbers.sort_by_key(|number| number.parse::<u32>().expect("a number"));
    assert_eq!(numbers, (0..400).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// RabbitMQ's refusal stands in the log in its own words, without the password; the right one under the old path is read by a reload.
#[test]
fn a_refused_login_is_told_and_a_reload_reads_the_password_file_anew() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost()).replace("guest:guest@", "guest@");
    let named = |uri: &str| {
        config(&bridge_to(uri)).replace("retry_first", "password_file = \"central.password\"\nretry_first")
    };
    let scratch = Scratch::new();
    scratch.write("central.password", "Kennwort\n");
    let file = scratch.write("tidegate.toml", named(&uri));
    let mut gateway = Gateway::start_in(scratch, &file);
    let mut client = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "telemetry/#", "-F", "got %p"]);
    let refused = gateway.wait_for_log("the upstream refuses the bridge; trying again");
    let why = refused["fields"]["why"].as_str().expect("it says why");
    assert!(why.contains("RabbitMQ says 403: ACCESS_REFUSED - Login was refused"), "{why}");
    gateway.scratch().write("central.password", "guest\n");
    let changed = gateway.reload(&named(&uri));
    assert_eq!(changed["fields"]["bridges_changed"], true);
    gateway.wait_for_log("the upstream answers");
    let changed = gateway.reload(&named(&uri));
    assert_eq!(changed["fields"]["bridges_changed"], false);
    assert!(!gateway.log().contains("Kennwort"), "{}", gateway.log());
    // A file that is gone is a mistake in the configuration, and what runs goes on.
    std::fs::remove_file(gateway.scratch().folder().join("central.password")).expect("it is there");
    let refused = gateway.refused_reload(&named(&uri));
    assert!(refused.contains("central.password: No such file"), "{refused}");
    let mut inbox = follow(&uri.replace("guest@", "guest:guest@"), "inbox");
    publish(&gateway, "telemetry/line-1/pump", "21", &[]);
    assert_eq!(next(&mut inbox)["body"], "21");
    assert_eq!(received(&mut client), "21");
}

/// A queue that is there otherwise is told with what differs; a reload with the right words goes on, changes the bridge again and ends it.
#[test]
fn a_conflict_of_declarations_is_told_and_a_reload_mends_changes_and_ends_the_bridge() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    amqp(&["declare", &uri, "inbox"]);
    let mut gateway = Gateway::start(&config(""));
    let mut client = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "telemetry/#", "-F", "got %p"]);
    gateway.reload(&config(&bridge_to(&uri)));
    let refused = gateway.wait_for_log("the upstream refuses the bridge; trying again");
    let why = refused["fields"]["why"].as_str().expect("it says why");
    for piece in ["RabbitMQ says 406: PRECONDITION_FAILED", "x-max-priority", "queue 'inbox'"] {
        assert!(why.contains(piece), "`{piece}` is not in: {why}");
    }
    publish(&gateway, "telemetry/line-1/pump", "waits", &[]);
    let fitting = config(&bridge_to(&uri).replace("arguments = { x-max-priority = 5 }\n", ""));
    gateway.reload(&fitting);
    gateway.wait_for_log("the upstream answers");
    let mut inbox = follow(&uri, "inbox");
    let waited = next(&mut inbox);
    assert_eq!((&waited["body"], &waited["headers"]["site"]), (&json!("waits"), &json!("north")));

    gateway.reload(&fitting.replace("north", "south"));
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, "telemetry/line-1/pump", "changed", &[]);
    let changed = next(&mut inbox);
    assert_eq!((&changed["body"], &changed["headers"]["site"]), (&json!("changed"), &json!("south")));

    gateway.reload(&config(""));
    publish(&gateway, "telemetry/line-1/pump", "not forwarded", &[]);
    amqp(&["flood", &uri, "inbox", "1"]);
    assert_eq!(next(&mut inbox)["body"], "0");
    for expected in ["waits", "changed", "not forwarded"] {
        assert_eq!(received(&mut client), expected);
    }
}

/// RabbitMQ asks for a certificate, which is the login as well, and is killed under the bridge. What it had confirmed is there again, and the
/// rest is sent again under the ids that it had.
#[test]
fn a_kill_of_rabbitmq_loses_nothing_and_only_who_has_a_certificate_gets_in() {
    let mut server = RabbitMq::start();
    let (vhost, files) = (server.vhost(), server.certificates());
    let uri = server.uri(&vhost);
    amqp(&["publish", &uri, "kept", "before"]);
    let with = |more: &str| {
        let ca = files.authority.display();
        let tls = format!("login = \"certificate\"\ntls = {{ ca = '{ca}', {more} }}\nretry_first");
        config(&bridge_to(&server.encrypted_uri(&vhost)).replacen("retry_first", &tls, 1))
    };
    let certified =
        with(&format!("cert = '{}', key = '{}'", files.client.display(), files.client_key.display()));
    let stranger =
        with("").replace("login = \"certificate\"\n", "").replace("localhost", "guest:guest@localhost");
    let mut gateway = Gateway::start(&stranger);
    let refused = gateway.wait_for_log("the upstream refuses the bridge; trying again");
    let why = refused["fields"]["why"].as_str().expect("it says why");
    assert!(why.contains("CertificateRequired"), "{why}");
    gateway.reload(&certified);
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, "telemetry/line-1/pump", "before", &["--repeat", "100"]);
    let port = gateway.port("mqtt");
    let device = std::thread::spawn(move || {
        let arguments = ["-q", "1", "-t", "telemetry/line-1/pump", "-m", "meanwhile", "--repeat", "100"];
        mosquitto_pub(port, &arguments);
    });
    server.kill_and_restart();
    device.join().expect("the device was acknowledged everything");
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, "telemetry/line-1/pump", "after", &[]);
    let mut inbox = follow(&uri, "inbox");
    let mut ids = std::collections::HashMap::new();
    while ids.len() < 201 {
        let message = next(&mut inbox);
        let (id, body) = (message["message_id"].to_string(), message["body"].clone());
        let known = ids.insert(id, body.clone());
        assert!(known.is_none_or(|known| known == body), "one id is one message");
    }
    let count = |text: &str| ids.values().filter(|body| *body == text).count();
    assert_eq!((count("before"), count("meanwhile"), count("after")), (100, 100, 1));
    amqp(&["consume", &uri, "kept", "before"]);
}

/// Everything that is wrong with a bridge is said with its line, before anything starts.
#[test]
fn mistakes_in_a_bridge_to_rabbitmq_are_errors_with_their_lines() {
    let mistakes = [
        ("routing_key = \"{topic[1..]}\"", "routing_key = \"{topik}\"", "there is no variable `topik`"),
        ("north", "{queue}", "`queue` is not known of messages that are forwarded"),
        ("exchange = \"telemetry\"\nrouting", "routing", "`exchange` says where messages go, and is missing"),
        ("queue = \"commands\"\nto", "to", "`queue` says which queue is received, and is missing"),
        ("{routing_key.slashed}", "#", "`#` cannot stand in a topic"),
        ("amqp://guest", "amqps://guest", "file with them"),
        ("amqp://guest", "mqtt://guest", "begins with amqp:// or amqps://"),
        ("retry_first", "login = \"certificate\"\nretry_first", "needs one: `tls.cert` and `tls.key`"),
        ("retry_first", "heartbeat = \"1500ms\"\nretry_first", "counted in whole seconds"),
        ("retry_first", "tls = { ca = \"x\" }\nretry_first", "those that do begin with `amqps://`"),
        (
            "retry_first",
            "version = \"5\"\nretry_first",
            "`version` means nothing to a bridge of kind `rabbitmq`",
        ),
        ("line = \"", "CC = \"", "gives this header a meaning of its own"),
        ("exchange = ", "event_type = \"x\"\nexchange = ", "is known for `payload = \"cloudevents\"` only"),
        (
            "exchange = ",
            "payload = \"cloudevents\"\nevent_source = \"{site}\"\nexchange = ",
            "there is no variable `site`",
        ),
    ];
    let scratch = Scratch::new();
    let sound = config(&bridge_to("amqp://guest:Kennwort@127.0.0.1:1/plant"));
    for (written, mistaken, complaint) in mistakes {
        assert!(sound.contains(written), "{written}");
        let file = scratch.write("tidegate.toml", sound.replacen(written, mistaken, 1));
        let mut check = crate::harness::tidegate();
        let check = check.args(["check", "--config"]).arg(file).env("SSL_CERT_FILE", "/not/there");
        let ended = Program::start(check.env("SSL_CERT_DIR", "/not/there")).wait();
        assert_eq!(ended.code, Some(2), "{mistaken}: {}", ended.output);
        assert!(ended.output.contains(complaint), "{mistaken}: {}", ended.output);
        assert!(ended.output.contains("tidegate.toml:"), "{mistaken}: {}", ended.output);
        assert!(!ended.output.contains("Kennwort"), "{mistaken}: {}", ended.output);
    }
    let file = scratch.write("tidegate.toml", sound);
    let ended = run_tidegate(["check".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// `config/bridge-rabbitmq.toml`, which a user starts from, forwards and receives once its address is that of a RabbitMQ with such a user.
#[test]
fn the_example_of_an_edge_gateway_forwards_and_receives() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    let example = project_folder().join("config/bridge-rabbitmq.toml");
    let example = std::fs::read_to_string(example).expect("the example is there");
    let place = uri.trim_start_matches("amqp://guest:guest@");
    let config = example.replace("127.0.0.1:1883", "127.0.0.1:0");
    let config = config.replace("edge-1@127.0.0.1:5672/", &format!("guest@{place}"));
    assert!(config.contains(place), "{config}");
    let scratch = Scratch::new();
    scratch.write("rabbitmq.password", "guest\n");
    let file = scratch.write("tidegate.toml", &config);
    let mut gateway = Gateway::start_in(scratch, &file);
    gateway.wait_for_log("the upstream answers");
    let port = gateway.port("devices");
    let mut device = subscribed_mosquitto(port, &["-q", "1", "-t", "commands/#", "-F", "got %t %p"]);
    let mut inbox = follow(&uri, "telemetry");
    mosquitto_pub(port, &["-q", "1", "-t", "telemetry/line-1/pump", "-m", "21"]);
    let message = next(&mut inbox);
    assert_eq!((&message["routing_key"], &message["body"]), (&json!("line-1.pump"), &json!("21")));
    assert_eq!(message["headers"]["gateway"], "edge-1");
    amqp(&["flood", &uri, "commands.edge-1", "1"]);
    assert_eq!(received(&mut device), "commands/commands/edge-1 0");
}
