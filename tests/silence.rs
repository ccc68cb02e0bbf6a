//! Clients that are not silent are not taken for it: not when the gateway itself has slept.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Gateway, tcp};

/// How long the gateway sleeps: several times what each client may be silent.
const SLEEP: Duration = Duration::from_secs(4);
const BEAT: Duration = Duration::from_millis(200);

const CONFIG: &str = r#"
[[listener]]
name = "shared"
bind = "127.0.0.1:0"
protocols = ["mqtt", "stomp"]
allow_anonymous = true
stomp = { heart_beat_incoming = "500ms" }
"#;

/// A client that has promised to be heard, and one thing that it says when it has nothing to say.
struct Client {
    stream: TcpStream,
    beat: &'static [u8],
}

impl Client {
    /// Half a second may pass between two heart-beats, and once more is tolerated.
    fn stomp(gateway: &Gateway) -> Client {
        let opening = b"CONNECT\naccept-version:1.2\nhost:x\nheart-beat:500,0\n\n\0";
        Client::open(gateway, opening, b"\0", b"\n")
    }

    /// A keep alive of one second: one and a half may pass.
    fn mqtt(gateway: &Gateway) -> Client {
        let opening = b"\x10\x0c\0\x04MQTT\x04\x02\0\x01\0\0";
        Client::open(gateway, opening, b"\x20\x02\0\0", b"\xC0\0")
    }

    fn open(gateway: &Gateway, opening: &[u8], answer_end: &[u8], beat: &'static [u8]) -> Client {
        let mut stream = tcp(gateway.port("shared"));
        stream.write_all(opening).expect("the gateway reads");
        let mut client = Client { stream, beat };
        client.expect(answer_end);
        client
    }

    fn beat(&mut self) {
        self.stream.write_all(self.beat).expect("the connection is open");
    }

    fn expect(&mut self, answer: &[u8]) {
        read_until(&mut self.stream, answer);
    }

    /// Reads until the gateway closes.
    fn expect_end(&mut self) {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }
}

/// Reads until this has come, and returns everything up to then.
fn read_until(stream: &mut TcpStream, answer: &[u8]) -> Vec<u8> {
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    let deadline = Instant::now() + DEADLINE;
    while !got.windows(answer.len()).any(|window| window == answer) {
        let count = stream.read(&mut piece).expect("the gateway answers");
        let is_in_time = count > 0 && Instant::now() < deadline;
        assert!(is_in_time, "the gateway said only {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&piece[..count]);
    }
    got
}

/// [STOMP-1.2/Heart-beating] [MQTT-3.1.2-22] [MQTT-3.1.1/3.1.2-24]: what clients said while the gateway's process was stopped counts; who
/// said nothing is let go.
#[test]
fn clients_that_go_on_sending_survive_a_gateway_that_sleeps() {
    let gateway = Gateway::start(CONFIG);
    let mut talking = [Client::stomp(&gateway), Client::mqtt(&gateway), Client::stomp(&gateway)];
    let mut silent = [Client::stomp(&gateway), Client::mqtt(&gateway)];
    gateway.pause();
    let awake = Instant::now() + SLEEP;
    talking[0].stream.set_read_timeout(Some(BEAT)).expect("a deadline is set");
    while Instant::now() < awake {
        talking.iter_mut().for_each(Client::beat);
        // Nothing comes from a gateway that sleeps.
        let answer = talking[0].stream.read(&mut [0]);
        assert!(
            answer.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        );
    }
    talking[0].stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is set");
    gateway.resume();
    silent.iter_mut().for_each(Client::expect_end);
    let [stomp, mqtt, other] = &mut talking;
    for client in [stomp, other] {
        let send = b"SEND\ndestination:/topic/a\nreceipt:alive\n\n\0";
        client.stream.write_all(send).expect("the connection is open");
        client.expect(b"receipt-id:alive");
    }
    mqtt.stream.write_all(b"\x82\x06\0\x01\0\x01a\0").expect("the connection is open");
    mqtt.expect(b"\x90\x03\0\x01\0");
}

/// [STOMP-1.2/Heart-beating]: a client that has to wait with its messages still hears from the gateway.
#[test]
fn a_client_that_is_slowed_down_gets_its_heart_beats() {
    let slow = CONFIG.replace("stomp = {", "publish_rate = 1\nstomp = {");
    let gateway = Gateway::start(&slow);
    let mut stream = tcp(gateway.port("shared"));
    let opening = "CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,1000\n\n\0";
    let send = "SEND\ndestination:/topic/a\n\nx\0";
    let last = "SEND\ndestination:/topic/a\nreceipt:last\n\nx\0";
    let all = [opening, &send.repeat(5), last].concat();
    stream.write_all(all.as_bytes()).expect("the gateway reads");
    let got = read_until(&mut stream, b"receipt-id:last");
    let got = String::from_utf8(got).expect("STOMP is text");
    let (_, behind) = got.split_once('\0').expect("CONNECTED");
    let (beats, _) = behind.split_once("RECEIPT").expect("a receipt");
    assert!(beats.len() >= 3 && beats.bytes().all(|byte| byte == b'\n'), "{got:?}");
}

/// Who promised nothing may be silent for ever, but not be gone for ever: the system probes the connection.
#[test]
fn vanished_peers_are_found_by_the_system() {
    let gateway = Gateway::start(CONFIG);
    let stream = Client::open(&gateway, b"CONNECT\naccept-version:1.2\nhost:x\n\n\0", b"\0", b"").stream;
    let client = stream.local_addr().expect("an address").port();
    // Local address, remote address, state, queues, and then the timer: 02 is keep-alive.
    let ends = format!(":{:04X} 0100007F:{client:04X} 01 ", gateway.port("shared"));
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    let ours = sockets.lines().find(|line| line.contains(&ends)).expect("the gateway's side");
    assert!(ours.contains(" 02:"), "{ours}");
}
