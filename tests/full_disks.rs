//! Disks that are full, fail or cannot be written to, for real: the limit of the store, a file system of a few mebibytes, a limit that
//! the system sets on the size of files. What was acknowledged stays, publishers are told, and what needs no disk goes on.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{PacketType, Version};

use crate::harness::{Answer, DEADLINE, Gateway, MqttClient, Program, Scratch, Session, get, tcp, tidegate};

const LISTENERS: &str = r#"
workers = 2

[store]
segment_bytes = "1MiB"

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

[[listener]]
name = "stomp"
bind = "127.0.0.1:0"
protocols = ["stomp"]
allow_anonymous = true

[http]
bind = "127.0.0.1:0"
"#;

/// MQTT 5.0, 2.4: "Quota exceeded".
const QUOTA_EXCEEDED: u8 = 0x97;
const SUCCESS: u8 = 0;
/// "No matching subscribers", which is success, too.
const NOBODY: u8 = 0x10;
const PAYLOAD_BYTES: usize = 60_000;
/// More than any disk of these tests holds.
const MESSAGES_MAX: u32 = 500;

/// A message that is known by its number.
fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![b'.'; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().expect("a numbered payload"))
}

fn publisher(gateway: &Gateway) -> MqttClient {
    MqttClient::connect(gateway.port("mqtt"), Version::V5, "publisher", Session::Dropped)
}

fn receiver(gateway: &Gateway) -> MqttClient {
    MqttClient::connect(gateway.port("mqtt"), Version::V5, "receiver", Session::Kept)
}

/// A session that is away, and for which messages are kept.
fn leave_a_receiver(gateway: &Gateway) {
    let mut receiver = receiver(gateway);
    receiver.subscribe("kept/#", QoS::AtLeastOnce);
}

/// Publishes until a message is refused, with this reason: the number of the first one that was.
fn fill(publisher: &mut MqttClient, reason: u8) -> u32 {
    for number in 1..MESSAGES_MAX {
        match publisher.publish_and_wait("kept/a", &payload(number)) {
            SUCCESS => {}
            refused => {
                assert_eq!(refused, reason, "message {number}");
                return number;
            }
        }
    }
    panic!("{MESSAGES_MAX} messages found room")
}

/// Publishes the same message until it is taken, as a publisher does that was told to come back.
fn publish_until_taken(publisher: &mut MqttClient, number: u32) {
    let deadline = Instant::now() + DEADLINE;
    while publisher.publish_and_wait("kept/a", &payload(number)) != SUCCESS {
        assert!(Instant::now() < deadline, "message {number} is never taken");
    }
}

/// The receiver comes back and takes these, in order.
fn take_all(receiver: &mut MqttClient, kept: std::ops::Range<u32>) {
    assert!(receiver.was_present);
    kept.for_each(|expected| assert_eq!(number(&receiver.take()), expected));
}

/// Whoever is told nothing else is told by silence: the message before it is not acknowledged, and the connection stands.
/// [MQTT-3.1.1/4.6.0-2]: an acknowledgement that came later would have come first.
fn expect_silence_before_mqtt_5(gateway: &Gateway) {
    let port = gateway.port("mqtt");
    let mut old = MqttClient::connect(port, Version::V3, "old", Session::Dropped);
    let refused = old.publish("kept/old", QoS::AtLeastOnce, &payload(0));
    let nobody = old.publish("elsewhere", QoS::AtLeastOnce, b"x");
    assert_ne!(refused, nobody);
    assert_eq!(old.next(), Answer::Ack(PacketType::PubAck, nobody, SUCCESS));
}

fn expect_stomp_error(gateway: &Gateway) {
    let mut stream = tcp(gateway.port("stomp"));
    let body = ".".repeat(PAYLOAD_BYTES);
    let frames = format!(
        "CONNECT\naccept-version:1.2\nhost:x\n\n\0SEND\ndestination:/topic/kept/s\nreceipt:r\n\n{body}\0"
    );
    stream.write_all(frames.as_bytes()).expect("the gateway reads");
    let mut answer = String::new();
    // An ERROR ends the connection.
    stream.read_to_string(&mut answer).expect("the gateway answers in text");
    assert!(answer.contains("ERROR\n") && !answer.contains("RECEIPT\n"), "{answer}");
}

/// What nobody keeps needs no disk.
fn expect_the_rest_to_go_on(gateway: &Gateway) {
    let mut live = MqttClient::connect(gateway.port("mqtt"), Version::V5, "live", Session::Dropped);
    live.subscribe("live/#", QoS::AtLeastOnce);
    let mut publisher = publisher(gateway);
    publisher.publish("live/a", QoS::AtMostOnce, b"zero");
    assert_eq!(live.next(), Answer::Message(0, b"zero".to_vec()));
    assert_eq!(publisher.publish_and_wait("live/a", b"one"), SUCCESS);
    assert_eq!(live.take(), b"one");
    assert_eq!(publisher.publish_and_wait("nobody", b"none"), NOBODY);
    // A message of QoS 0 is never kept, wherever it goes.
    publisher.publish("kept/a", QoS::AtMostOnce, b"zero");
    publisher.ping();
}

fn expect_refusals(gateway: &Gateway) {
    expect_silence_before_mqtt_5(gateway);
    expect_stomp_error(gateway);
    expect_the_rest_to_go_on(gateway);
}

/// The receiver takes everything, and there is room again.
fn expect_room_after_settling(gateway: &Gateway, refused: u32) {
    let mut receiver = receiver(gateway);
    take_all(&mut receiver, 1..refused);
    let mut publisher = publisher(gateway);
    publish_until_taken(&mut publisher, refused);
    assert_eq!(number(&receiver.take()), refused);
}

/// `limits.disk` is reached: publishers of each protocol are told in its way, a restart finds everything and is as full, and when messages
/// are settled there is room again.
#[test]
fn at_the_limit_of_the_disk_publishers_are_told_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let config = format!("data_dir = \"data\"\n{LISTENERS}\n[limits]\ndisk = \"4MiB\"\n");
    let file = scratch.write("tidegate.toml", config);
    let gateway = Gateway::start_in(scratch, &file);
    leave_a_receiver(&gateway);
    let refused = fill(&mut publisher(&gateway), QUOTA_EXCEEDED);
    expect_refusals(&gateway);
    let gateway = Gateway::start_in(gateway.kill(), &file);
    let reason = publisher(&gateway).publish_and_wait("kept/a", &payload(refused));
    assert_eq!(reason, QUOTA_EXCEEDED);
    expect_room_after_settling(&gateway, refused);
}

/// How this machine lets us mount something for one process and its children: what `unshare` is told. Nothing, with a word about it, where
/// it does not.
fn way_to_mount() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["-m"], &["-r", "-m"]];
    let is_allowed = |way: &&&[&str]| {
        let probe =
            Command::new("unshare").args(**way).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let Some(way) = WAYS.iter().find(is_allowed) else {
        // Past the test program, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: this machine lets us mount nothing (unshare -m)");
        return None;
    };
    Some(way)
}

/// A script that makes a file system at `$DIR`, and becomes the gateway.
fn in_a_file_system(mount: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(way_to_mount()?).args(["sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    command.arg(tidegate().get_program());
    Some(command)
}

/// The file system is full before the limit of the store is reached.
#[test]
fn on_a_full_file_system_publishers_are_told_and_nothing_is_lost() {
    let Some(mut command) = in_a_file_system("mount -t tmpfs -o size=6m none \"$DIR\"") else { return };
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.toml", format!("data_dir = \"disk/data\"\n{LISTENERS}"));
    make_mount_point(&mut command, &scratch);
    let gateway = Gateway::start_as(scratch, &mut command, &file);
    leave_a_receiver(&gateway);
    let refused = fill(&mut publisher(&gateway), QUOTA_EXCEEDED);
    expect_refusals(&gateway);
    expect_room_after_settling(&gateway, refused);
}

/// A file system that outlives the gateways in it, as a disk does.
struct Mounted {
    holder: Program,
    is_of_root: bool,
}

impl Mounted {
    /// A tmpfs of this size at the folder `disk`.
    fn new(scratch: &Scratch, size: &str) -> Option<Mounted> {
        let way = way_to_mount()?;
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size={size} none \"$DIR\" && echo mounted && exec sleep 600");
        command.args(way).args(["sh", "-c", &script]);
        make_mount_point(&mut command, scratch);
        let mut holder = Program::start(&mut command);
        holder.wait_for_line("the file system", |line| line == "mounted");
        Some(Mounted { holder, is_of_root: way.len() == 1 })
    }

    fn start(&self, scratch: Scratch, config: &Path) -> Gateway {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !self.is_of_root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(tidegate().get_program());
        Gateway::start_as(scratch, &mut command, config)
    }
}

/// A gateway that was killed on a full file system, twice: it comes back, refuses what it has no room for, and what is settled makes room.
#[test]
fn a_start_on_a_full_file_system_gives_room_back() {
    let scratch = Scratch::new();
    let Some(mounted) = Mounted::new(&scratch, "12m") else { return };
    let file = scratch.write("tidegate.toml", format!("data_dir = \"disk/data\"\n{LISTENERS}"));
    let mut gateway = mounted.start(scratch, &file);
    leave_a_receiver(&gateway);
    let refused = fill(&mut publisher(&gateway), QUOTA_EXCEEDED);
    let warned = gateway.wait_for_log("the store is full");
    assert_eq!(
        (&warned["level"], &warned["fields"]["reason"]),
        (&"WARN".into(), &"the file system is full".into())
    );
    for _ in 0..2 {
        gateway = mounted.start(gateway.kill(), &file);
        let reason = publisher(&gateway).publish_and_wait("kept/a", &payload(refused));
        assert_eq!((reason, is_degraded(&gateway)), (QUOTA_EXCEEDED, false));
    }
    expect_room_after_settling(&gateway, refused);
    gateway.terminate();
    assert_eq!(gateway.wait().code, Some(0));
}

fn make_mount_point(command: &mut Command, scratch: &Scratch) {
    let folder = scratch.folder().join("disk");
    std::fs::create_dir_all(&folder).expect("the scratch folder can be written");
    command.env("DIR", folder);
}

/// A gateway that cannot keep anything does not start, and says which folder it is.
#[test]
fn a_disk_that_cannot_be_written_to_is_named_at_the_start() {
    let script = "mount -t tmpfs -o ro none \"$DIR\"";
    let Some(mut command) = in_a_file_system(script) else { return };
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.toml", format!("data_dir = \"disk/data\"\n{LISTENERS}"));
    make_mount_point(&mut command, &scratch);
    let ended = Program::start(command.arg("--config").arg(&file)).wait();
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(ended.output.contains("disk/data"), "{}", ended.output);
}

/// No file of the gateway may grow any more, or be written to: what the disk answers is EFBIG.
fn set_disk_errors(gateway: &Gateway, fails: bool) {
    let pid = Pid::from_raw(gateway.id().try_into().expect("an id")).expect("an id is positive");
    let limit = Rlimit { current: fails.then_some(0), maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).expect("the limit of our own child can be set");
}

/// A gateway that ends while the disk does not take what it has to keep says so to whoever has started it.
#[test]
fn an_end_without_the_disk_is_no_success() {
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.toml", format!("data_dir = \"data\"\n{LISTENERS}"));
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""]).arg(tidegate().get_program());
    let gateway = Gateway::start_as(scratch, &mut command, &file);
    leave_a_receiver(&gateway);
    set_disk_errors(&gateway, true);
    gateway.terminate();
    let ended = gateway.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("the store could not be closed"), "{}", ended.output);
}

/// What needs no disk is served on, so it is ready all the time, and says what is wrong.
fn is_degraded(gateway: &Gateway) -> bool {
    let answer = get(gateway.port("http"), "/readyz");
    assert_eq!(answer.status, 200);
    answer.body.contains("degraded")
}

/// The disk answers with errors for a while: no message is acknowledged that is not kept, the health check says it, and when the errors are over
/// publishing goes on; a kill shows that everything acknowledged is there.
#[test]
fn while_the_disk_fails_nothing_is_acknowledged_that_is_not_kept() {
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.toml", format!("data_dir = \"data\"\n{LISTENERS}"));
    // Who is not told otherwise is ended by the signal that comes with the error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""]).arg(tidegate().get_program());
    let mut gateway = Gateway::start_as(scratch, &mut command, &file);
    leave_a_receiver(&gateway);
    let mut sender = publisher(&gateway);
    (1..=5).for_each(|number| publish_until_taken(&mut sender, number));
    assert!(!is_degraded(&gateway));
    set_disk_errors(&gateway, true);
    let reason = sender.publish_and_wait("kept/a", &payload(1000));
    assert!(reason >= 0x80, "{reason:#x}");
    assert!(is_degraded(&gateway));
    assert_eq!(gateway.wait_for_log("cannot be written to")["level"], "ERROR");
    expect_refusals(&gateway);
    set_disk_errors(&gateway, false);
    (6..=10).for_each(|number| publish_until_taken(&mut publisher(&gateway), number));
    assert!(!is_degraded(&gateway));
    let gateway = Gateway::start_in(gateway.kill(), Path::new(&file));
    let mut receiver = receiver(&gateway);
    assert!(receiver.was_present);
    let mut taken = Vec::new();
    while taken.last() != Some(&10) {
        taken.push(number(&receiver.take()));
    }
    // What was refused may have been kept nevertheless; it was never promised.
    taken.retain(|number| *number <= 10);
    taken.dedup();
    assert_eq!(taken, (1..=10).collect::<Vec<_>>());
}
