//! A device behind the edge: it publishes bursts over MQTT or STOMP, waits for what acknowledges them, and never repeats anything.

use super::client::{Client, Heard, Session, read_more};
use super::scene::{Doors, PATIENCE, Phase, Scene};
use crate::auditor::StreamId;
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_mqtt::codec;
use tidegate_stomp::codec::{Command, Decoder, FrameLimits, Version, encode};
use tidegate_testkit::random::Random;

const BURST_MAX: usize = 24;
const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 64 << 10, header_line_bytes: 64 << 10, headers: 100, body_bytes: 1 << 20 };

/// What a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tongue {
    Mqtt(codec::Version),
    Stomp,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) tongue: Tongue,
    pub(crate) random: Random,
    /// Its topics.
    pub(crate) streams: Vec<(String, StreamId)>,
}

/// A connection of a device, in either language.
trait Voice {
    /// Sends a message.
    fn send(&mut self, topic: &str, payload: &[u8]) -> io::Result<()>;
    /// Waits for the answer to the oldest message without one: whether it is taken.
    fn next_answer(&mut self) -> io::Result<bool>;
}

impl Device {
    /// Lives until the audit is over.
    pub(crate) fn live(mut self, scene: &Scene) {
        while let Some(doors) = scene.await_doors() {
            match self.connect(doors) {
                Ok(mut voice) => {
                    // However it ends: the edge is killed, and it is there again soon.
                    let _ended = self.serve(scene, voice.as_mut());
                }
                Err(_) => scene.rest(),
            }
        }
    }

    fn connect(&self, doors: Doors) -> io::Result<Box<dyn Voice>> {
        match (self.tongue, doors.stomp) {
            (Tongue::Mqtt(version), _) => {
                let client = Client::connect(doors.mqtt, version, &self.name, Session::Dropped)?;
                Ok(Box::new(Mqtt { client, asked: VecDeque::new() }))
            }
            (Tongue::Stomp, Some(address)) => Ok(Box::new(Stomp::connect(address, &self.name)?)),
            (Tongue::Stomp, None) => {
                let client = Client::connect(doors.mqtt, codec::Version::V3, &self.name, Session::Dropped)?;
                Ok(Box::new(Mqtt { client, asked: VecDeque::new() }))
            }
        }
    }

    fn serve(&mut self, scene: &Scene, voice: &mut dyn Voice) -> io::Result<()> {
        while scene.phase() != Phase::Over && scene.with(|state| state.doors.is_some()) {
            if scene.may_publish() {
                self.publish_burst(scene, voice)?;
            }
        }
        Ok(())
    }

    fn publish_burst(&mut self, scene: &Scene, voice: &mut dyn Voice) -> io::Result<()> {
        let count = 1 + self.random.below(BURST_MAX);
        let mut burst: VecDeque<(usize, Stamp)> = VecDeque::new();
        for _ in 0..count {
            let topic = self.random.below(self.streams.len());
            let stream = self.streams[topic].1;
            let stamp = scene.with(|state| {
                state.under_way += 1;
                state.ledger.publishing(stream)
            });
            burst.push_back((topic, stamp));
        }
        let result = self.send_burst(scene, voice, &mut burst);
        scene.with(|state| state.under_way -= burst.len());
        result
    }

    /// Leaves in the burst what has no answer.
    fn send_burst(
        &mut self,
        scene: &Scene,
        voice: &mut dyn Voice,
        burst: &mut VecDeque<(usize, Stamp)>,
    ) -> io::Result<()> {
        for (topic, stamp) in burst.iter() {
            let payload = stamp.payload(self.payload_bytes());
            voice.send(&self.streams[*topic].0, &payload)?;
        }
        while let Some((_, stamp)) = burst.front().copied() {
            let is_taken = match voice.next_answer() {
                Ok(is_taken) => is_taken,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    scene.accuse(Kind::Silence, || format!("{}: no answer in {PATIENCE:?}", self.name));
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            burst.pop_front();
            scene.with(|state| {
                state.under_way -= 1;
                match is_taken {
                    true => state.ledger.acknowledged(stamp),
                    false => state
                        .ledger
                        .violations
                        .add(Kind::Protocol, || format!("{}: a message was refused", self.name)),
                }
            });
        }
        Ok(())
    }

    fn payload_bytes(&mut self) -> usize {
        match self.random.below(100) {
            0 => self.random.below(16 << 10),
            1..10 => self.random.below(2 << 10),
            _ => STAMP_BYTES + self.random.below(200),
        }
    }
}

struct Mqtt {
    client: Client,
    asked: VecDeque<NonZeroU16>,
}

impl Voice for Mqtt {
    fn send(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        self.asked.push_back(self.client.publish(topic, payload, None)?);
        Ok(())
    }

    /// [MQTT-4.6.0-2]: PUBACKs come in the order of their PUBLISH packets.
    fn next_answer(&mut self) -> io::Result<bool> {
        loop {
            match self.client.next(PATIENCE)? {
                Some(Heard::Acknowledged(id, is_taken)) if Some(id) == self.asked.pop_front() => {
                    return Ok(is_taken);
                }
                Some(Heard::Other) => {}
                Some(other) => return Err(io::Error::other(format!("an unexpected {other:?}"))),
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

struct Stomp {
    stream: TcpStream,
    decoder: Decoder,
    input: Vec<u8>,
    sent: u32,
    answered: u32,
}

impl Stomp {
    fn connect(address: std::net::SocketAddr, name: &str) -> io::Result<Stomp> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let decoder = Decoder::new(Version::V1_2, LIMITS);
        let mut stomp = Stomp { stream, decoder, input: Vec::new(), sent: 0, answered: 0 };
        let headers =
            [("accept-version", "1.2"), ("host", "edge"), ("heart-beat", "0,0"), ("client-id", name)];
        stomp.say(Command::Connect, &headers, b"")?;
        match stomp.next_frame(PATIENCE)? {
            Some((Command::Connected, _)) => Ok(stomp),
            other => Err(io::Error::other(format!("{other:?} in place of CONNECTED"))),
        }
    }

    fn say(&mut self, command: Command, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Version::V1_2, command, headers.iter().copied(), body)
            .expect("the frame is valid");
        self.stream.write_all(&bytes)
    }

    /// The next frame's command and receipt.
    fn next_frame(&mut self, patience: Duration) -> io::Result<Option<(Command, Option<String>)>> {
        loop {
            let decoded = self.decoder.decode(&self.input).map_err(io::Error::other)?;
            let consumed = decoded.consumed;
            let frame = decoded
                .frame
                .map(|frame| (frame.command, frame.headers.get("receipt-id").map(str::to_owned)));
            self.input.drain(..consumed);
            if frame.is_some() {
                return Ok(frame);
            }
            if consumed == 0 && !read_more(&mut self.stream, &mut self.input, patience)? {
                return Ok(None);
            }
        }
    }
}

impl Voice for Stomp {
    fn send(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        self.sent += 1;
        let (destination, receipt) = (format!("/topic/{topic}"), self.sent.to_string());
        let headers = [("destination", &*destination), ("qos", "1"), ("receipt", &receipt)];
        self.say(Command::Send, &headers, payload)
    }

    fn next_answer(&mut self) -> io::Result<bool> {
        self.answered += 1;
        match self.next_frame(PATIENCE)? {
            Some((Command::Receipt, Some(id))) if id == self.answered.to_string() => Ok(true),
            Some(other) => Err(io::Error::other(format!("an unexpected {other:?}"))),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
