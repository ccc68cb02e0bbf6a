//! Opening connections: new sessions, resumed ones, take-overs; and leaving at the end of a round.

use super::session::{Ask, Session};
use super::{Device, Link, PATIENCE, Testament};
use crate::roster::{Phase, add};
use crate::stamp::STAMP_BYTES;
use crate::violations::Kind;
use crate::wire::{Progress, Wire};
use std::num::NonZeroU16;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    ConnAck, Connect, Disconnect, PACKET_BYTES_MAX, Packet, PropertiesBuffer, PropertiesRef, Property,
    Publish, ReasonCode, Version, Will, decode, encode, encode_publish,
};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// Longer than any round: what is to end with its session ends with nothing else.
const LONG_SECONDS: u32 = 24 * 3600;
/// Publications under way at the most, whatever the gateway allows.
const SEND_MAX: usize = 128;

/// What a connection is to be.
struct Plan {
    version: Version,
    resumes: bool,
    survives: bool,
    will: Option<Testament>,
    receive_max: Option<NonZeroU16>,
}

impl Device {
    fn plan(&mut self) -> Plan {
        let is_draining = self.phase() == Phase::Drain;
        let existed = self.session.is_some();
        let resumes = existed && (self.is_faithful || is_draining || !self.random.one_in(5));
        let mut version = *self.random.pick(&[Version::V31, Version::V3, Version::V5, Version::V5]);
        let wants_to_survive = match (resumes, self.is_faithful || is_draining) {
            (_, true) => true,
            (true, false) => version < Version::V5 || !self.random.one_in(8),
            (false, false) => !self.random.one_in(3),
        };
        if existed && !resumes && wants_to_survive {
            // Before 5.0 one request cannot end a session and begin one that lasts.
            version = Version::V5;
        }
        let small = NonZeroU16::new(1 + self.random.below(20) as u16);
        let receive_max = small.filter(|_| version == Version::V5 && self.random.one_in(2));
        let will = self.random.one_in(3).then(|| self.draw_up_will(version));
        Plan { version, resumes, survives: wants_to_survive, will, receive_max }
    }

    fn draw_up_will(&mut self, version: Version) -> Testament {
        let topic = self.roster.world.will_topic(self.number);
        let stamp = self.roster.auditor.borrow_mut().next_stamp(self.number, topic);
        let is_delayed = version == Version::V5 && self.random.one_in(2);
        Testament { stamp, qos: *self.random.pick(&QoS::ALL), is_delayed }
    }

    /// Connects as a plan says, and brings the session up to date; nothing where that failed, which is a violation.
    pub(super) async fn connect(&mut self) -> Option<Link> {
        let plan = self.plan();
        self.connections += 1;
        match plan.resumes {
            // The session goes on, so its delayed will is not published ([MQTT-3.1.3-9]).
            true => self.session.iter_mut().for_each(|session| session.delayed_will = None),
            false => self.begin_session(plan.survives),
        }
        let mut wire = self.open().await?;
        self.write_connect(&plan, &mut wire.output);
        let Some((present, send_max)) = self.await_connack(&mut wire, plan.version).await else {
            self.end_session_unless_it_survives();
            return None;
        };
        self.note_known_end();
        if let Some(former) = self.former.take() {
            self.expect_end_of(former);
        }
        // 3.1 does not tell.
        let present = if plan.version == Version::V31 { plan.resumes } else { present };
        if present != plan.resumes {
            let what = format!("session present is {present}, not {}", plan.resumes);
            self.accuse(Kind::Protocol, &what);
            self.begin_session(plan.survives);
        }
        if let Some(session) = self.session.as_mut() {
            session.survives = plan.survives;
        }
        let mut link = Link {
            wire,
            version: plan.version,
            will: plan.will,
            acknowledgements: Vec::new(),
            is_lazy: self.random.one_in(3),
            receive_max: plan.receive_max.map_or(usize::from(u16::MAX), |max| max.get().into()),
            incoming: 0,
            send_max,
            is_blind: false,
            doom: None,
            pings: 0,
            is_drained: false,
            next_act: Instant::now(),
        };
        if plan.resumes && present {
            add(&self.roster.connections.resumed, 1);
            self.resume(&mut link);
        }
        self.rest(&mut link);
        Some(link)
    }

    fn begin_session(&mut self, survives: bool) {
        self.end_session();
        let name = format!("session of {} since its connection {}", self.id, self.connections);
        let audit = self.roster.auditor.borrow_mut().session_begins(name);
        self.session = Some(Session::new(audit, survives));
    }

    async fn open(&self) -> Option<Wire> {
        match timeout(PATIENCE, Wire::connect(self.roster.mqtt)).await {
            Ok(Ok(wire)) => Some(wire),
            Ok(Err(error)) => {
                self.accuse(Kind::Disconnected, &format!("cannot connect: {error}"));
                None
            }
            Err(_) => {
                self.accuse(Kind::Silence, "the gateway did not accept a connection in time");
                None
            }
        }
    }

    fn write_connect(&self, plan: &Plan, output: &mut Vec<u8>) {
        let (mut properties, mut will_properties) = (PropertiesBuffer::new(), PropertiesBuffer::new());
        if plan.version == Version::V5 {
            let expiry = plan.survives.then_some(Property::SessionExpiryInterval(LONG_SECONDS));
            let receive_max = plan.receive_max.map(Property::ReceiveMaximum);
            properties.extend(expiry.into_iter().chain(receive_max)).expect("the properties are valid");
        }
        if plan.will.is_some_and(|will| will.is_delayed) {
            will_properties.push(Property::WillDelayInterval(LONG_SECONDS)).expect("the property is valid");
        }
        let payload = plan.will.map(|will| will.stamp.payload(STAMP_BYTES)).unwrap_or_default();
        let topic = self.roster.world.topic(self.roster.world.will_topic(self.number));
        let will = plan.will.map(|will| Will {
            topic,
            payload: &payload,
            qos: will.qos,
            retain: false,
            properties: will_properties.as_ref(),
        });
        // Before 5.0 one flag says both: no session before, none after.
        let clean_start = match plan.version {
            Version::V5 => !plan.resumes,
            _ => !plan.survives,
        };
        let connect = Connect {
            version: plan.version,
            clean_start,
            keep_alive_seconds: 0,
            properties: properties.as_ref(),
            client_id: &self.id,
            will,
            user_name: None,
            password: None,
        };
        encode(output, plan.version, &Packet::Connect(connect), PACKET_BYTES_MAX)
            .expect("the CONNECT is valid");
    }

    /// Waits for the CONNACK: whether a session was there, and how many publications may be under way.
    async fn await_connack(&self, wire: &mut Wire, version: Version) -> Option<(bool, usize)> {
        let answer = timeout(PATIENCE, async {
            loop {
                if let Some(answer) = take_connack(&mut wire.input, version) {
                    return answer;
                }
                if wire.exchange(true).await == Progress::Closed {
                    return Err("was closed before the CONNACK".to_owned());
                }
            }
        });
        match answer.await {
            Ok(Ok(granted)) => Some(granted),
            Ok(Err(what)) => {
                self.accuse(Kind::Disconnected, &what);
                None
            }
            Err(_) => {
                self.accuse(Kind::Silence, "no CONNACK in time");
                None
            }
        }
    }

    /// [MQTT-3.1.4-3]: the connection that held the session before is closed.
    fn expect_end_of(&self, mut former: Wire) {
        let (roster, id) = (self.roster.clone(), self.id.clone());
        spawn_local(async move {
            if timeout(PATIENCE, former.wait_for_end()).await.is_err() {
                let what = || format!("{id}: a connection whose session was taken over was not closed");
                roster.auditor.borrow_mut().violations().add(Kind::Silence, what);
            }
        });
    }

    /// [MQTT-4.4.0-1]: what was not acknowledged is sent again, in its order; and what was asked for is asked for again.
    fn resume(&mut self, link: &mut Link) {
        let Some(session) = self.session.as_mut() else { return };
        let outgoing: Vec<_> = session.outgoing.iter().copied().collect();
        let asks: Vec<Ask> = std::mem::take(&mut session.asks).into_values().collect();
        for publication in outgoing {
            self.repeat(link, publication);
        }
        for ask in asks {
            self.ask(link, ask);
        }
    }

    /// Ends what the round has left: the session, and the retained message.
    pub(super) async fn leave(&mut self) {
        if self.session.is_none() && !self.has_state {
            return;
        }
        self.end_session();
        let Some(mut wire) = self.open().await else { return };
        self.connections += 1;
        let version = Version::V3;
        let plan = Plan { version, resumes: false, survives: false, will: None, receive_max: None };
        self.write_connect(&plan, &mut wire.output);
        if self.await_connack(&mut wire, version).await.is_none() {
            return;
        }
        if std::mem::take(&mut self.has_state)
            && let Some(topic) = self.roster.world.state_topic(self.number)
        {
            let topic = self.roster.world.topic(topic).as_bytes();
            let (qos, packet_id) = (QoS::AtLeastOnce, Some(NonZeroU16::MIN));
            let properties = PropertiesRef::EMPTY;
            let clear = Publish { dup: false, qos, retain: true, topic, packet_id, properties, payload: b"" };
            encode_publish(&mut wire.output, version, &clear, PACKET_BYTES_MAX)
                .expect("the PUBLISH is valid");
        }
        let properties = PropertiesRef::EMPTY;
        let goodbye = Packet::Disconnect(Disconnect { reason: ReasonCode::Success, properties });
        encode(&mut wire.output, version, &goodbye, PACKET_BYTES_MAX).expect("DISCONNECT is valid");
        let ended = timeout(PATIENCE, async {
            wire.flush().await;
            wire.wait_for_end().await;
        });
        if ended.await.is_err() {
            self.accuse(Kind::Silence, "the gateway did not close after DISCONNECT");
        }
    }
}

/// Takes a CONNACK from the front of the input; an error where something else stands there.
fn take_connack(input: &mut Vec<u8>, version: Version) -> Option<Result<(bool, usize), String>> {
    let (granted, used) = match decode(input, version, PACKET_BYTES_MAX) {
        Ok(None) => return None,
        Ok(Some((Packet::ConnAck(connack), used))) => (accepted(&connack), used),
        Ok(Some((other, _))) => {
            return Some(Err(format!("a {} came before the CONNACK", other.packet_type())));
        }
        Err(error) => return Some(Err(format!("no MQTT: {error}"))),
    };
    input.drain(..used);
    Some(granted)
}

fn accepted(connack: &ConnAck<'_>) -> Result<(bool, usize), String> {
    if connack.reason.is_failure() {
        return Err(format!("was refused: {}", connack.reason));
    }
    let receive_max = connack.properties.receive_maximum().map_or(SEND_MAX, |max| usize::from(max.get()));
    Ok((connack.session_present, receive_max.min(SEND_MAX)))
}
