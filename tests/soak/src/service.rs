//! One STOMP client: sends with and without receipts, subscribes with each way of acknowledging, leaves politely or not.
//!
//! Nothing of it outlives a connection, so to the auditor each of its subscriptions is a session of its own.

use crate::auditor::{Delivered, SessionId};
use crate::roster::{Phase, Roster, Standing};
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use crate::wire::{Progress, Wire};
use crate::world::FilterId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_stomp::codec::{Command, Decoder, Frame, FrameLimits, Version, encode};
use tidegate_testkit::random::Random;
use tokio::time::{Instant, sleep_until, timeout};

const SUBSCRIPTIONS_MAX: usize = 4;
const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 64 << 10, header_line_bytes: 64 << 10, headers: 100, body_bytes: 1 << 20 };

/// One client.
pub(crate) struct Service {
    roster: Rc<Roster>,
    address: SocketAddr,
    number: usize,
    random: Random,
    connections: u32,
    next_name: u32,
}

/// One connection.
struct Link {
    wire: Wire,
    decoder: Decoder,
    talk: Talk,
    next_act: Instant,
}

/// What has been said on a connection.
#[derive(Default)]
struct Talk {
    is_accepted: bool,
    /// Whether a receipt has shown, in the drain, that everything before it was handled.
    is_drained: bool,
    subscriptions: BTreeMap<String, Subscription>,
    receipts: BTreeMap<String, Receipt>,
}

struct Subscription {
    audit: SessionId,
    filter: FilterId,
    acknowledges: bool,
}

/// What a receipt will say.
enum Receipt {
    Sent(Stamp),
    Subscribed(SessionId, FilterId),
    Unsubscribed(SessionId, FilterId),
    Barrier,
}

impl Service {
    /// A client of the STOMP listener at this address.
    pub(crate) fn new(roster: Rc<Roster>, address: SocketAddr, number: usize, random: Random) -> Service {
        Service { roster, address, number, random, connections: 0, next_name: 0 }
    }

    /// Lives until the run ends.
    pub(crate) async fn live(mut self) {
        let mut phases = self.roster.phases.clone();
        loop {
            let phase = *phases.borrow_and_update();
            self.stand(if phase == Phase::Churn { Standing::Busy } else { Standing::Quiet });
            let pause = match phase {
                Phase::Churn => {
                    Duration::from_millis(self.random.below(self.roster.pace_milliseconds) as u64)
                }
                Phase::Drain | Phase::Leave => Duration::MAX,
            };
            match timeout(pause, phases.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => self.connect_and_serve().await,
            }
        }
    }

    fn stand(&self, standing: Standing) {
        self.roster.standings[self.number].set(standing);
    }

    fn phase(&self) -> Phase {
        *self.roster.phases.borrow()
    }

    fn accuse(&self, kind: Kind, what: &str) {
        let (number, connection) = (self.number, self.connections);
        let told = || format!("STOMP client {number}, connection {connection}: {what}");
        self.roster.auditor.borrow_mut().violations().add(kind, told);
    }

    async fn connect_and_serve(&mut self) {
        self.connections += 1;
        let Ok(Ok(wire)) = timeout(crate::device::PATIENCE, Wire::connect(self.address)).await else {
            return self.accuse(Kind::Disconnected, "cannot connect");
        };
        let mut link = Link {
            wire,
            decoder: Decoder::new(Version::V1_2, LIMITS),
            talk: Talk::default(),
            next_act: Instant::now(),
        };
        let headers = [("accept-version", "1.2"), ("host", "soak"), ("heart-beat", "0,0")];
        encode(&mut link.wire.output, Version::V1_2, Command::Connect, headers, b"")
            .expect("the frame is valid");
        self.roster.count_open();
        let is_polite = self.serve(&mut link).await;
        for subscription in link.talk.subscriptions.values() {
            self.roster.auditor.borrow_mut().session_ends(subscription.audit);
        }
        if is_polite {
            encode(&mut link.wire.output, Version::V1_2, Command::Disconnect, [], b"")
                .expect("the frame is valid");
            let _too_late_is_fine = timeout(crate::device::PATIENCE, link.wire.flush()).await;
        }
        self.roster.count_end(usize::from(!is_polite));
    }

    /// Serves one connection; says whether it ends with a goodbye.
    async fn serve(&mut self, link: &mut Link) -> bool {
        let mut phases = self.roster.phases.clone();
        loop {
            if self.phase() == Phase::Leave {
                return true;
            }
            let is_quiet =
                self.phase() == Phase::Drain && link.talk.receipts.is_empty() && link.talk.is_drained;
            self.stand(if is_quiet { Standing::Quiet } else { Standing::Busy });
            tokio::select! {
                progress = link.wire.exchange(true) => match progress {
                    Progress::Written => {}
                    Progress::Read => if let Err((kind, what)) = self.handle_input(link) {
                        self.accuse(kind, &what);
                        return false;
                    },
                    Progress::Closed => {
                        self.accuse(Kind::Disconnected, "the gateway closed the connection without a reason");
                        return false;
                    }
                },
                () = sleep_until(link.next_act) => {
                    if let Some(is_polite) = self.act(link) {
                        return is_polite;
                    }
                }
                _ = phases.changed() => link.next_act = Instant::now(),
            }
        }
    }

    /// Does one thing; `Some` where that ends the connection, with or without a goodbye.
    fn act(&mut self, link: &mut Link) -> Option<bool> {
        let milliseconds = self.random.below(2 * self.roster.pace_milliseconds).max(1) as u64;
        link.next_act = Instant::now() + Duration::from_millis(milliseconds);
        if !link.talk.is_accepted {
            return None;
        }
        if self.phase() != Phase::Churn {
            if !link.talk.is_drained {
                // Any frame with a receipt would do.
                let receipt = self.name();
                let headers = [("destination", "/topic/soak/barrier"), ("qos", "0"), ("receipt", &*receipt)];
                encode(&mut link.wire.output, Version::V1_2, Command::Send, headers, b"")
                    .expect("the frame is valid");
                link.talk.receipts.insert(receipt, Receipt::Barrier);
            }
            return None;
        }
        match self.random.below(100) {
            0..50 => self.send_burst(link),
            50..70 => self.subscribe(link),
            70..76 => self.unsubscribe(link),
            76..80 => return Some(true),
            80..85 => return Some(false),
            _ => {}
        }
        None
    }

    /// To the auditor each connection is a publisher of its own: without a session nothing says that what an earlier connection
    /// has sent is read before what this one sends.
    fn publisher(&self) -> usize {
        self.number + self.connections as usize * self.roster.standings.len()
    }

    fn name(&mut self) -> String {
        self.next_name += 1;
        self.next_name.to_string()
    }

    fn send_burst(&mut self, link: &mut Link) {
        let topic = self.roster.world.pick_topic(&mut self.random, self.number, self.roster.may_share);
        let destination = format!("/topic/{}", self.roster.world.topic(topic));
        for _ in 0..1 + self.random.below(10) {
            let (qos, bytes) = (*self.random.pick(&QoS::ALL), self.random.below(300).max(STAMP_BYTES));
            let mut auditor = self.roster.auditor.borrow_mut();
            let stamp = auditor.next_stamp(self.publisher(), topic);
            auditor.publishing(stamp, qos, false);
            drop(auditor);
            let receipt = (!self.random.one_in(4)).then(|| self.name());
            let level = qos.to_string();
            let fixed = [("destination", &*destination), ("qos", &*level)];
            let headers = fixed.into_iter().chain(receipt.as_deref().map(|name| ("receipt", name)));
            encode(&mut link.wire.output, Version::V1_2, Command::Send, headers, &stamp.payload(bytes))
                .expect("the frame is valid");
            if let Some(receipt) = receipt {
                link.talk.receipts.insert(receipt, Receipt::Sent(stamp));
            }
        }
    }

    fn subscribe(&mut self, link: &mut Link) {
        if link.talk.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return;
        }
        let filter = self.roster.world.pick_filter(&mut self.random, false);
        let (name, receipt, acknowledges) = (self.name(), self.name(), self.random.one_in(2));
        let mut auditor = self.roster.auditor.borrow_mut();
        let audit = auditor.session_begins(format!("subscription {name} of STOMP client {}", self.number));
        auditor.subscribing(audit, filter, QoS::ExactlyOnce, false);
        drop(auditor);
        let destination = format!("/topic/{}", self.roster.world.filter(filter).text);
        let ack = if acknowledges { "client-individual" } else { "auto" };
        let headers = [("id", &*name), ("destination", &*destination), ("ack", ack), ("receipt", &*receipt)];
        encode(&mut link.wire.output, Version::V1_2, Command::Subscribe, headers, b"")
            .expect("the frame is valid");
        link.talk.receipts.insert(receipt, Receipt::Subscribed(audit, filter));
        link.talk.subscriptions.insert(name, Subscription { audit, filter, acknowledges });
    }

    fn unsubscribe(&mut self, link: &mut Link) {
        let names: Vec<String> = link.talk.subscriptions.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let (name, receipt) = (self.random.pick(&names), self.name());
        let Some(subscription) = link.talk.subscriptions.get(name) else { return };
        let (audit, filter) = (subscription.audit, subscription.filter);
        if link
            .talk
            .receipts
            .values()
            .any(|receipt| matches!(receipt, Receipt::Unsubscribed(of, _) if *of == audit))
        {
            return;
        }
        self.roster.auditor.borrow_mut().unsubscribing(audit, filter);
        let headers = [("id", &**name), ("receipt", &*receipt)];
        encode(&mut link.wire.output, Version::V1_2, Command::Unsubscribe, headers, b"")
            .expect("the frame is valid");
        link.talk.receipts.insert(receipt, Receipt::Unsubscribed(audit, filter));
    }

    fn handle_input(&mut self, link: &mut Link) -> Result<(), (Kind, String)> {
        let input = std::mem::take(&mut link.wire.input);
        let mut used = 0;
        loop {
            let decoded = link.decoder.decode(&input[used..]);
            let decoded =
                decoded.map_err(|error| (Kind::Protocol, format!("the gateway sent no STOMP: {error}")))?;
            if decoded.consumed == 0 && decoded.frame.is_none() {
                break;
            }
            used += decoded.consumed;
            if let Some(frame) = decoded.frame {
                self.handle(&frame, &mut link.talk, &mut link.wire.output)?;
            }
        }
        link.wire.input = input[used..].to_vec();
        Ok(())
    }

    fn handle(&self, frame: &Frame<'_>, talk: &mut Talk, output: &mut Vec<u8>) -> Result<(), (Kind, String)> {
        match frame.command {
            Command::Connected => talk.is_accepted = true,
            Command::Message => return self.handle_message(frame, talk, output),
            Command::Receipt => {
                let receipt = frame.headers.get("receipt-id").and_then(|name| talk.receipts.remove(name));
                return self.handle_receipt(receipt, talk);
            }
            Command::Error => {
                let words = frame.headers.get("message").unwrap_or_default();
                return Err((Kind::Disconnected, format!("the gateway said ERROR: {words}")));
            }
            other => return Err((Kind::Protocol, format!("an unexpected {other}"))),
        }
        Ok(())
    }

    fn handle_receipt(&self, receipt: Option<Receipt>, talk: &mut Talk) -> Result<(), (Kind, String)> {
        let mut auditor = self.roster.auditor.borrow_mut();
        match receipt {
            Some(Receipt::Sent(stamp)) => auditor.acknowledged(stamp),
            Some(Receipt::Subscribed(audit, filter)) => auditor.subscribed(audit, filter),
            // Its queue ended with it.
            Some(Receipt::Unsubscribed(audit, filter)) => {
                auditor.unsubscribed(audit, filter);
                auditor.session_ends(audit);
                talk.subscriptions.retain(|_, subscription| subscription.audit != audit);
            }
            Some(Receipt::Barrier) => talk.is_drained = self.phase() == Phase::Drain,
            None => return Err((Kind::Protocol, "a receipt that nobody asked for".to_owned())),
        }
        Ok(())
    }

    fn handle_message(
        &self,
        frame: &Frame<'_>,
        talk: &Talk,
        output: &mut Vec<u8>,
    ) -> Result<(), (Kind, String)> {
        let header = |name| frame.headers.get(name);
        let known = header("subscription").and_then(|name| talk.subscriptions.get(name));
        let topic = header("destination").and_then(|destination| destination.strip_prefix("/topic/"));
        let qos = header("qos").and_then(|level| level.parse().ok()).and_then(QoS::from_number);
        let (Some(subscription), Some(topic), Some(qos)) = (known, topic, qos) else {
            return Err((
                Kind::Protocol,
                "a MESSAGE for an unknown subscription, or without its headers".to_owned(),
            ));
        };
        if subscription.acknowledges
            && let Some(id) = header("ack")
        {
            encode(output, Version::V1_2, Command::Ack, [("id", id)], b"").expect("the frame is valid");
        }
        if frame.body.is_empty() && self.phase() == Phase::Leave {
            return Ok(());
        }
        let Some(stamp) = Stamp::read(frame.body) else {
            return Err((Kind::Phantom, format!("a message on {topic} with bytes that nobody sent")));
        };
        let is_marked = |name| header(name) == Some("true");
        let delivered = Delivered {
            stamp,
            name: header("message-id"),
            qos,
            checks_qos: true,
            dup: is_marked("redelivered"),
            retain: is_marked("retained"),
            identifiers: None,
        };
        self.roster.auditor.borrow_mut().received(subscription.audit, topic, delivered);
        Ok(())
    }
}
