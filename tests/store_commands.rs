//! `tidegate store`: looking into a store with and without its gateway, checking it, taking it elsewhere, emptying queues.

use crate::harness::{
    Ended, Gateway, Program, Scratch, mosquitto_pub, mosquitto_sub, received, run_tidegate,
    subscribed_mosquitto,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

const LISTENERS: &str = r#"
workers = 2

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

[http]
bind = "127.0.0.1:0"
"#;

/// A folder with room for several stores.
struct Stores(Scratch);

impl Stores {
    fn new() -> Stores {
        Stores(Scratch::new())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.folder().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.folder(name).to_str().expect("the path is text").to_owned()
    }

    fn start(&self, name: &str) -> Gateway {
        let file = self.0.write(&format!("{name}.toml"), LISTENERS);
        let folder = self.folder(name);
        let arguments = ["--config".as_ref(), file.as_os_str(), "--data-dir".as_ref(), folder.as_os_str()];
        Gateway::start_with(Scratch::new(), arguments)
    }

    /// `tidegate store` with these words, on the store of this name.
    fn run(&self, name: &str, words: &[&str]) -> Ended {
        let folder = self.folder(name);
        let folder = folder.to_str().expect("the path is text");
        run_tidegate([&["store"], words, &["--data-dir", folder]].concat())
    }

    #[track_caller]
    fn succeed(&self, name: &str, words: &[&str]) -> String {
        let ended = self.run(name, words);
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.output);
        ended.output
    }

    /// Exports one store and imports that as another one. Returns the file with the lines.
    fn copy(&self, from: &str, to: &str) -> PathBuf {
        let file = self.folder("lines.json");
        let path = file.to_str().expect("the path is text");
        self.succeed(from, &["export", path]);
        self.succeed(to, &["import", path]);
        file
    }

    #[track_caller]
    fn json(&self, name: &str, words: &[&str]) -> Value {
        let text = self.succeed(name, &[words, &["--json"]].concat());
        serde_json::from_str(&text).expect("the answer is JSON")
    }
}

fn stop(gateway: Gateway) {
    gateway.terminate();
    assert_eq!(gateway.wait().code, Some(0));
}

/// A client whose session stays behind.
const PANEL: [&str; 11] = ["-V", "mqttv5", "-c", "-i", "panel", "-q", "1", "-x", "3600", "-t", "plant/#"];

/// Leaves a retained message, and a session that is away with two messages in its queue.
fn fill(gateway: &Gateway) {
    let port = gateway.port("mqtt");
    drop(subscribed_mosquitto(port, &PANEL));
    let publish = |topic, text, more: &[&str]| {
        mosquitto_pub(port, &[&["-q", "1", "-t", topic, "-m", text], more].concat());
    };
    publish("plant/state", "first", &["-r"]);
    publish("plant/alarm", "second", &[]);
}

/// What a store holds is the same thing from its folder and from the gateway that has it.
#[test]
fn a_store_is_looked_into_with_and_without_its_gateway() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    let url = format!("http://127.0.0.1:{}", gateway.port("http"));
    let live = |words: &[&str]| -> Value {
        let ended = run_tidegate([&["store"], words, &["--json", "--url", &url]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        serde_json::from_str(&ended.output).expect("the answer is JSON")
    };
    let queues = live(&["queues"]);
    assert_eq!(queues["total"], 1, "{queues}");
    let peeked = live(&["peek", "mqtt:panel", "--count", "1"]);
    assert_eq!(
        (&peeked["total"], &peeked["messages"][0]["message"]["payload"]),
        (&2.into(), &"first".into())
    );
    let info = live(&["info"]);
    let counts =
        ["sessions", "subscriptions", "retained_messages", "queued_messages"].map(|name| &info[name]);
    assert_eq!(counts, [1, 1, 1, 2], "{info}");
    let refused = run_tidegate(["store", "peek", "mqtt:nobody", "--url", &url]);
    assert!(
        refused.code == Some(2) && refused.output.contains("no queue is called so"),
        "{}",
        refused.output
    );
    stop(gateway);

    assert_eq!(stores.json("a", &["queues"]), queues);
    assert_eq!(
        stores.json("a", &["peek", "mqtt:panel", "--count", "1"])["messages"][0]["message"]["payload"],
        "first"
    );
    let table = stores.succeed("a", &["queues"]);
    assert!(table.contains("mqtt:panel"), "{table}");
    let table = stores.succeed("a", &["peek", "mqtt:panel"]);
    assert!(table.contains("plant/state") && table.contains("2 of 2 messages"), "{table}");
    assert!(stores.succeed("a", &["info"]).contains("retained messages     1"));
}

/// An export makes the same store elsewhere: a gateway on it has what was retained.
#[test]
fn an_export_is_imported_elsewhere() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    stop(gateway);
    let file = stores.copy("a", "b");
    let file = file.to_str().expect("the path is text");
    let ended = stores.run("b", &["import", file]);
    assert!(ended.code == Some(2) && ended.output.contains("not empty"), "{}", ended.output);
    let (one, other) = (stores.json("a", &["queues"]), stores.json("b", &["queues"]));
    let names = |queues: &Value| -> Vec<(String, u64)> {
        let queues = queues["queues"].as_array().expect("a list").iter();
        queues
            .map(|queue| (queue["name"].to_string(), queue["messages"].as_u64().expect("a number")))
            .collect()
    };
    assert_eq!(names(&one), names(&other));

    let gateway = stores.start("b");
    let port = gateway.port("mqtt");
    let mut late = subscribed_mosquitto(port, &["-t", "plant/+"]);
    assert_eq!(received(&mut late), "plant/state 0 1 first");
    stop(gateway);
}

/// What waited for a client in one store comes to it from the other one, in order and before anything new.
#[test]
fn an_imported_queue_reaches_its_client() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    stop(gateway);
    stores.copy("a", "b");
    let gateway = stores.start("b");
    let port = gateway.port("mqtt");
    mosquitto_pub(port, &["-q", "1", "-t", "plant/alarm", "-m", "third"]);
    let mut panel = Program::start(&mut mosquitto_sub(port, &PANEL));
    for expected in ["plant/state 1 0 first", "plant/alarm 1 0 second", "plant/alarm 1 0 third"] {
        assert_eq!(received(&mut panel), expected);
    }
    drop(panel);
    stop(gateway);
}

/// A named queue has its name in every command, is taken elsewhere with what waits in it, and is emptied.
#[test]
fn a_named_queue_is_looked_into_taken_elsewhere_and_emptied() {
    const QUEUE: &str = "$queue/orders";
    let stores = Stores::new();
    let publish = |gateway: &Gateway, text| {
        mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", QUEUE, "-m", text]);
    };
    let consume = |gateway: &Gateway, texts: &[&str]| {
        let count = texts.len().to_string();
        let arguments = ["-q", "1", "-t", QUEUE, "-C", &count];
        let mut consumer = Program::start(&mut mosquitto_sub(gateway.port("mqtt"), &arguments));
        for text in texts {
            assert_eq!(received(&mut consumer), format!("{QUEUE} 1 0 {text}"));
        }
        consumer.succeed();
    };
    let gateway = stores.start("a");
    ["1", "2", "3"].into_iter().for_each(|text| publish(&gateway, text));
    stop(gateway);
    let queue = &stores.json("a", &["queues"])["queues"][0];
    assert_eq!((&queue["name"], &queue["messages"]), (&QUEUE.into(), &3.into()), "{queue}");
    let peeked = stores.json("a", &["peek", QUEUE]);
    let payload = |at: usize| &peeked["messages"][at]["message"]["payload"];
    assert_eq!([payload(0), payload(1), payload(2)], ["1", "2", "3"], "{peeked}");
    stores.copy("a", "b");
    let said = stores.succeed("a", &["purge", QUEUE]);
    assert!(said.contains("3 messages thrown away"), "{said}");
    assert_eq!(stores.json("a", &["peek", QUEUE])["total"], 0);

    let gateway = stores.start("a");
    publish(&gateway, "4");
    consume(&gateway, &["4"]);
    stop(gateway);
    let gateway = stores.start("b");
    publish(&gateway, "5");
    consume(&gateway, &["1", "2", "3", "5"]);
    stop(gateway);
}

/// A queue is emptied without its gateway, and never beside it.
#[test]
fn a_queue_is_emptied_without_its_gateway_only() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    for words in [&["purge", "mqtt:panel"][..], &["export"], &["info"], &["check"]] {
        let ended = stores.run("a", words);
        assert!(
            ended.code == Some(2) && ended.output.contains("in use by another process"),
            "{}",
            ended.output
        );
    }
    stop(gateway);
    let said = stores.succeed("a", &["purge", "mqtt:panel"]);
    assert!(said.contains("2 messages thrown away"), "{said}");
    let ended = stores.run("a", &["purge", "mqtt:other"]);
    assert!(ended.code == Some(2) && ended.output.contains("no queue is called"), "{}", ended.output);
    assert_eq!(stores.json("a", &["peek", "mqtt:panel"])["total"], 0);
    stop(stores.start("a"));
}

/// The first file of a store.
fn segment(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("log")).expect("the store is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().expect("there is a segment")
}

/// What is damaged is named with its file and place, and left out where that is wanted.
#[test]
fn damage_is_named() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    stop(gateway);
    assert!(stores.succeed("a", &["check"]).contains("nothing is damaged"));
    let file = segment(&stores.folder("a"));
    let mut bytes = std::fs::read(&file).expect("the file can be read");
    let at = bytes.windows(5).position(|piece| piece == b"first").expect("the message is in the first file");
    bytes[at] ^= 0x20;
    std::fs::write(&file, bytes).expect("the file can be written");

    let checked = stores.run("a", &["check", "--json"]);
    assert_eq!(checked.code, Some(1), "{}", checked.output);
    let checked: Value = serde_json::from_str(&checked.output).expect("the answer is JSON");
    let place = &checked["damage"][0]["place"];
    assert!(place["file"].as_str().is_some_and(|name| name.ends_with(".seg")), "{checked}");
    assert!(place["offset"].as_u64().is_some_and(|offset| offset <= at as u64), "{checked}");
    assert_eq!(stores.run("a", &["export"]).code, Some(1));
    let exported = stores.run("a", &["export", "--skip-damaged"]);
    assert!(exported.code == Some(1) && exported.output.contains("second"), "{}", exported.output);
    for words in [&["info"][..], &["queues"], &["peek", "mqtt:panel"], &["purge", "mqtt:panel"]] {
        assert_eq!(stores.run("a", words).code, Some(1), "{words:?}");
    }
    assert_eq!(stores.run("a", &["purge", "mqtt:panel", "--skip-damaged"]).code, Some(1));
}

/// Where no store can be, nothing is made, and it is said what is to be written.
#[test]
fn what_is_no_store_is_refused() {
    let stores = Stores::new();
    stop(stores.start("a"));
    std::fs::create_dir(stores.folder("empty")).expect("the folder can be made");
    stores.0.write("file", "");
    for (name, piece) in [
        ("empty", "there is no store in this folder"),
        ("file", "this is no folder"),
        ("a/log", "names the folder above it"),
    ] {
        for words in [&["info"][..], &["check"], &["export"], &["purge", "mqtt:panel"]] {
            let ended = stores.run(name, words);
            assert!(ended.code == Some(2) && ended.output.contains(piece), "{words:?}: {}", ended.output);
        }
    }
    assert_eq!(std::fs::read_dir(stores.folder("empty")).expect("the folder is there").count(), 0);
    let folder = stores.folder("a");
    let folder = folder.to_str().expect("the path is text");
    for words in [&["info"][..], &["check"], &["queues"], &["peek", "mqtt:panel"], &["purge", "mqtt:panel"]] {
        let ended = run_tidegate([&["store"], words, &[folder]].concat());
        assert!(ended.code == Some(2) && ended.output.contains("named with --data-dir"), "{}", ended.output);
    }
    let ended = stores.run("new", &["import", folder]);
    assert!(ended.code == Some(2) && ended.output.contains("this is a folder"), "{}", ended.output);
}

/// What a store takes counts the file that is made ready for what comes next, and its limit is that of the configuration.
#[test]
fn what_a_store_takes_is_told_with_its_limit() {
    let stores = Stores::new();
    let gateway = stores.start("a");
    fill(&gateway);
    stop(gateway);
    let info = stores.json("a", &["info"]);
    let entries = std::fs::read_dir(stores.folder("a").join("log")).expect("the store is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "seg"));
    let bytes: u64 = files.map(|file| file.metadata().expect("it is there").len()).sum();
    assert_eq!((&info["disk_bytes"], &info["disk_bytes_max"]), (&bytes.into(), &0.into()), "{info}");
    let info = stores.json("a", &["info", "--set", "limits.disk=1GiB", "--config", &stores.file("a.toml")]);
    assert_eq!((&info["disk_bytes"], &info["disk_bytes_max"]), (&bytes.into(), &(1_u64 << 30).into()));
}

/// Lines from anywhere, folders without a store, addresses without a gateway: each is refused in words.
#[test]
fn what_cannot_be_is_refused() {
    let stores = Stores::new();
    let lines = stores
        .0
        .write("lines.json", "{\"store\":{\"format\":1}}\n{\"session\":{}}\n{\"end\":{\"things\":1}}\n");
    let lines = lines.to_str().expect("the path is text");
    let cut = stores.0.write("cut.json", "{\"store\":{\"format\":1}}\n{\"session\":");
    let cut = cut.to_str().expect("the path is text");
    let ended = stores.run("cut", &["import", cut]);
    assert!(ended.code == Some(2) && !stores.folder("cut").exists(), "{}", ended.output);
    for (words, piece) in [
        (&["import", lines][..], "line 2: missing field `number` (column 13)"),
        (&["import", cut], "the export was cut: it has 2 of its lines"),
        (&["import", "/no/such/file"], "/no/such/file"),
        (&["info", "--url", "gateway"], "not like http://"),
        (&["info", "--url", "http://127.0.0.1:1"], "127.0.0.1:1"),
    ] {
        let ended = stores.run("a", words);
        assert!(ended.code == Some(2) && ended.output.contains(piece), "{words:?}: {}", ended.output);
    }
    for words in [&["info"][..], &["check"], &["export"], &["purge", "mqtt:panel"]] {
        let ended = stores.run("none", words);
        assert!(ended.code == Some(2) && ended.output.contains("no such folder"), "{}", ended.output);
    }
    let ended = run_tidegate(["store", "info"]);
    assert!(ended.code == Some(2) && ended.output.contains("--data-dir"), "{}", ended.output);
}
