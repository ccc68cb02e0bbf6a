//! Mosquitto's command line clients: what the README shows, in MQTT 3.1, 3.1.1 and 5.0.

use crate::harness::{Gateway, Program, mosquitto_pub, mosquitto_sub, received, subscribed_mosquitto};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1] and section 4.7.1.2: `#` takes every level below it.
#[test]
fn wildcard_subscriber_sees_what_is_published() {
    let gateway = Gateway::standard();
    for version in VERSIONS {
        let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &["-V", version, "-t", "a/#"]);
        mosquitto_pub(gateway.port("mqtt"), &["-V", version, "-t", "a/b", "-m", "hi"]);
        assert_eq!(received(&mut subscriber), "a/b 0 0 hi", "{version}");
    }
}

/// [MQTT-3.8.4-8] [MQTT-3.1.1/3.8.4-6]: the delivered quality of service is the lower of the published and the granted
/// one.
#[test]
fn delivery_uses_the_lower_quality_of_service() {
    let gateway = Gateway::standard();
    for version in VERSIONS {
        for (published, subscribed, delivered) in
            [("0", "2", "0"), ("1", "2", "1"), ("2", "2", "2"), ("2", "1", "1"), ("1", "0", "0")]
        {
            let subscription = ["-V", version, "-t", "q/+", "-q", subscribed];
            let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &subscription);
            mosquitto_pub(gateway.port("mqtt"), &["-V", version, "-t", "q/x", "-q", published, "-m", "m"]);
            assert_eq!(received(&mut subscriber), format!("q/x {delivered} 0 m"), "{version}");
        }
    }
}

/// [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-6] [MQTT-3.1.1/3.3.1-8]: a new subscription gets the retained message, marked so;
/// [MQTT-3.3.1-6] [MQTT-3.1.1/3.3.1-10]: an empty one clears it.
#[test]
fn retained_message_waits_for_later_subscribers() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    for version in VERSIONS {
        mosquitto_pub(port, &["-V", version, "-t", "state/door", "-q", "1", "-r", "-m", "open"]);
        let mut later = subscribed_mosquitto(port, &["-V", version, "-t", "state/#", "-q", "1"]);
        assert_eq!(received(&mut later), "state/door 1 1 open", "{version}");

        mosquitto_pub(port, &["-V", version, "-t", "state/door", "-q", "1", "-r", "-n"]);
        let mut last = subscribed_mosquitto(port, &["-V", version, "-t", "state/#", "-q", "1"]);
        mosquitto_pub(port, &["-V", version, "-t", "state/end", "-q", "1", "-m", "nothing before"]);
        assert_eq!(received(&mut last), "state/end 1 0 nothing before", "{version}");
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.1/3.1.2-8]: the will is published when the connection ends without DISCONNECT.
#[test]
fn will_is_published_when_the_client_dies() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    for version in VERSIONS {
        let mut watcher = subscribed_mosquitto(port, &["-V", version, "-t", "will/#", "-q", "1"]);
        let will = ["--will-topic", "will/device", "--will-payload", "gone", "--will-qos", "1"];
        let victim = subscribed_mosquitto(port, &[&["-V", version, "-t", "anything"][..], &will].concat());
        victim.signal("KILL");
        assert_eq!(received(&mut watcher), "will/device 1 0 gone", "{version}");
    }
}

/// [MQTT-3.14.4-3] [MQTT-3.1.1/3.14.4-3]: a client that says DISCONNECT takes its will back.
#[test]
fn will_is_dropped_when_the_client_says_goodbye() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    for version in VERSIONS {
        let mut watcher = subscribed_mosquitto(port, &["-V", version, "-t", "will/#", "-q", "1"]);
        mosquitto_pub(
            port,
            &["-V", version, "-t", "a", "-m", "b", "--will-topic", "will/device", "--will-payload", "gone"],
        );
        mosquitto_pub(port, &["-V", version, "-t", "will/end", "-q", "1", "-m", "nothing before"]);
        assert_eq!(received(&mut watcher), "will/end 1 0 nothing before", "{version}");
    }
}

/// [MQTT-3.1.2-23] [MQTT-4.5.0-1] [MQTT-3.1.1/3.1.2-5]: what matched a persistent session while its client was away is
/// delivered when it returns.
#[test]
fn persistent_session_gets_what_was_published_while_away() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    for version in VERSIONS {
        let topic = format!("away/{version}");
        let mut session = vec!["-V", version, "-c", "-i", version, "-q", "1", "-t", &topic];
        if version == "mqttv5" {
            session.extend(["-x", "3600"]);
        }
        Program::start(mosquitto_sub(port, &session).arg("-E")).succeed();
        for payload in ["one", "two"] {
            mosquitto_pub(port, &["-V", version, "-t", &topic, "-q", "1", "-m", payload]);
        }
        let mut returned = Program::start(&mut mosquitto_sub(port, &session));
        assert_eq!(received(&mut returned), format!("{topic} 1 0 one"));
        assert_eq!(received(&mut returned), format!("{topic} 1 0 two"));
    }
}

/// MQTT 5.0 section 4.8.2; clients of 3.1.1 share in the same way, also with those of 5.0.
#[test]
fn shared_subscription_gives_each_message_to_one_member() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    let mut members = VERSIONS.map(|version| {
        subscribed_mosquitto(port, &["-V", version, "-q", "1", "-t", "$share/workers/jobs/+"])
    });
    for payload in ["one", "three", "two"] {
        mosquitto_pub(port, &["-t", "jobs/x", "-q", "1", "-m", payload]);
    }
    let mut got = members.each_mut().map(received);
    got.sort_unstable();
    assert_eq!(got, ["jobs/x 1 0 one", "jobs/x 1 0 three", "jobs/x 1 0 two"]);
}
