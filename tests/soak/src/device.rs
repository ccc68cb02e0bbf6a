//! One MQTT client that lives through many connections, in 3.1, 3.1.1 and 5.0, and seldom behaves.
//!
//! ```text
//! offline ──connect──► serve ──goodbye, dropped socket, take-over──► offline
//!                        │ publishes, subscribes, looks away, acknowledges late
//! ```
//!
//! What must outlive a connection is in [`Session`]; what ends with it in [`Link`]. Whatever the client asks for is told to the
//! auditor before it is written, whatever the gateway grants after it was read.

mod acts;
mod connecting;
mod packets;
mod session;

use crate::auditor::SessionId;
use crate::roster::{Phase, Roster, Standing};
use crate::stamp::Stamp;
use crate::violations::Kind;
use crate::wire::{Progress, Wire};
use session::Session;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Disconnect, PACKET_BYTES_MAX, Packet, PropertiesRef, ReasonCode, Version, encode,
};
use tidegate_testkit::random::Random;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the gateway may take to answer. Generous, because a busy machine is no bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One client.
pub(crate) struct Device {
    roster: Rc<Roster>,
    number: usize,
    id: String,
    random: Random,
    /// Whether its session lasts for the whole round and never gives a subscription up.
    is_faithful: bool,
    session: Option<Session>,
    /// A session that has ended, as far as the client knows.
    ended: Option<SessionId>,
    /// Connections so far.
    connections: u32,
    /// Whether it has a retained message to clear.
    has_state: bool,
    /// A connection whose session is being taken over, for the gateway to close.
    former: Option<Wire>,
}

/// One connection.
struct Link {
    wire: Wire,
    version: Version,
    will: Option<Testament>,
    /// Acknowledgements that are written with the next act, where the client is lazy.
    acknowledgements: Vec<u8>,
    is_lazy: bool,
    /// Messages that the gateway may have on their way to us, and those that are.
    receive_max: usize,
    incoming: usize,
    /// Messages that we may have on their way to the gateway.
    send_max: usize,
    is_blind: bool,
    /// How the connection ends with the next act, in the middle of whatever was begun.
    doom: Option<End>,
    pings: u32,
    /// Whether a PINGRESP has shown, in the drain, that everything before it was handled.
    is_drained: bool,
    next_act: Instant,
}

/// The will of a connection.
#[derive(Debug, Clone, Copy)]
struct Testament {
    stamp: Stamp,
    qos: QoS,
    /// Whether it is published only when the session ends.
    is_delayed: bool,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// DISCONNECT, with or without the will.
    Goodbye { leaves_will: bool },
    /// The socket is dropped.
    Drop,
    /// The next connection takes the session over while this one stands.
    TakeOver,
    /// The gateway ended it, or made a mistake.
    Broken,
    /// The round ends.
    Leave,
}

impl Device {
    /// A client; its number decides what it is called and where it publishes.
    pub(crate) fn new(roster: Rc<Roster>, number: usize, random: Random) -> Device {
        Device {
            roster,
            number,
            id: format!("soak-{number}"),
            random,
            is_faithful: number.is_multiple_of(50),
            session: None,
            ended: None,
            connections: 0,
            has_state: false,
            former: None,
        }
    }

    /// Lives until the run ends.
    pub(crate) async fn live(mut self) {
        let mut phases = self.roster.phases.clone();
        loop {
            let phase = *phases.borrow_and_update();
            match phase {
                Phase::Churn => {
                    self.stand(Standing::Busy);
                    let pause =
                        Duration::from_millis(self.random.below(self.roster.pace_milliseconds) as u64);
                    if self.former.is_none() && timeout(pause, phases.changed()).await.is_ok() {
                        continue;
                    }
                    self.connect_and_serve().await;
                }
                Phase::Drain if self.session.is_some() => self.connect_and_serve().await,
                Phase::Drain | Phase::Leave => {
                    self.former = None;
                    if phase == Phase::Leave {
                        self.leave().await;
                    }
                    self.stand(Standing::Quiet);
                    if phases.changed().await.is_err() {
                        return;
                    }
                }
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
        let (id, connection) = (&self.id, self.connections);
        self.roster
            .auditor
            .borrow_mut()
            .violations()
            .add(kind, || format!("{id}, connection {connection}: {what}"));
    }

    async fn connect_and_serve(&mut self) {
        self.stand(Standing::Busy);
        let Some(mut link) = self.connect().await else { return };
        self.roster.count_open();
        let end = match self.handle_input(&mut link) {
            true => self.serve(&mut link).await,
            false => End::Broken,
        };
        self.finish(link, end).await;
    }

    async fn serve(&mut self, link: &mut Link) -> End {
        let mut phases = self.roster.phases.clone();
        loop {
            if self.phase() == Phase::Leave {
                return End::Leave;
            }
            self.look_quiet(link);
            tokio::select! {
                progress = link.wire.exchange(!link.is_blind) => match progress {
                    Progress::Written => {}
                    Progress::Read if self.handle_input(link) => {}
                    Progress::Read => return End::Broken,
                    Progress::Closed => {
                        self.accuse(Kind::Disconnected, "the gateway closed the connection without a reason");
                        return End::Broken;
                    }
                },
                () = sleep_until(link.next_act) => {
                    if let Some(end) = self.act(link) {
                        return end;
                    }
                }
                _ = phases.changed() => link.next_act = Instant::now(),
            }
        }
    }

    /// In the drain a client is quiet when nothing of its own is under way and a PINGREQ has been answered.
    fn look_quiet(&self, link: &Link) {
        let session = self.session.as_ref();
        let is_settled = session.is_some_and(Session::is_settled) && link.acknowledgements.is_empty();
        let is_quiet =
            self.phase() == Phase::Drain && is_settled && link.is_drained && link.wire.output.is_empty();
        self.stand(if is_quiet { Standing::Quiet } else { Standing::Busy });
    }

    /// What the end of a connection means for session and will, and how it is brought about.
    async fn finish(&mut self, mut link: Link, end: End) {
        let says_goodbye = matches!(end, End::Goodbye { .. } | End::Leave);
        if end != End::Leave && (!says_goodbye || end == (End::Goodbye { leaves_will: true })) {
            self.leave_will(&link);
        }
        self.end_session_unless_it_survives();
        if says_goodbye {
            let leaves_will = end == (End::Goodbye { leaves_will: true });
            let reason = if leaves_will { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
            let disconnect = Packet::Disconnect(Disconnect { reason, properties: PropertiesRef::EMPTY });
            encode(&mut link.wire.output, link.version, &disconnect, PACKET_BYTES_MAX)
                .expect("DISCONNECT is valid");
            // Until the gateway closes it may not have read the goodbye, and a take-over would publish the will.
            let ended = timeout(PATIENCE, async {
                link.wire.flush().await;
                link.wire.wait_for_end().await;
            });
            if ended.await.is_err() {
                self.accuse(Kind::Silence, "the gateway did not close after a DISCONNECT in time");
            }
        }
        self.roster.count_end(match end {
            End::Goodbye { .. } | End::Leave => 0,
            End::Drop | End::Broken => 1,
            End::TakeOver => 2,
        });
        if end == End::TakeOver {
            self.former = Some(link.wire);
        }
    }

    /// The connection ends badly: its will is published now, or when its session ends.
    fn leave_will(&mut self, link: &Link) {
        let Some(will) = link.will else { return };
        match self.session.as_mut().filter(|session| session.survives && will.is_delayed) {
            Some(session) => session.delayed_will = Some((will.stamp, will.qos)),
            None => self.publish_will(will.stamp, will.qos),
        }
    }

    /// From now on every watcher is owed the will.
    fn publish_will(&self, stamp: Stamp, qos: QoS) {
        let mut auditor = self.roster.auditor.borrow_mut();
        auditor.publishing(stamp, qos, false);
        auditor.acknowledged(stamp);
    }

    fn end_session_unless_it_survives(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        self.roster.auditor.borrow_mut().connection_ends(session.audit);
        if !session.survives {
            self.end_session();
        }
    }

    /// The session ends now; a delayed will goes with it.
    fn end_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.note_known_end();
        self.ended = Some(session.audit);
        self.roster.auditor.borrow_mut().session_ends(session.audit);
        if let Some((stamp, qos)) = session.delayed_will {
            self.publish_will(stamp, qos);
        }
    }

    /// The gateway has answered something that comes after the end of the last session.
    fn note_known_end(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.roster.auditor.borrow_mut().session_end_is_known(ended);
        }
    }

    fn audit(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.audit)
    }
}
