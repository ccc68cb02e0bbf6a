//! An upstream in memory that does what a test says: it loses connections, answers late, refuses, and hands messages over.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tidegate_bridge::{Incoming, Line, Lost, Order, Outgoing, Rendered, Report, Taken, Upstream, Verdict};

/// What the test says about the next messages, by their number in the order of arrival.
pub(crate) type Rule = Box<dyn FnMut(&Outgoing) -> Act + Send>;

/// What the upstream does with a message.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Takes it and says so.
    Confirm,
    /// Takes it, and the connection breaks before it says so.
    TakeAndBreak,
    /// The connection breaks in front of it.
    Break,
    /// Says no.
    Say(Verdict),
    /// Takes it and says nothing.
    Swallow,
    /// Takes it, and says so when the line is closed,
    ConfirmAtEnd,
    /// or with this one, all at once, and the connection breaks behind it.
    ConfirmAllAndBreak,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rule: Option<Rule>,
    /// What has arrived: topic, payload, id, whether it is said to be a repetition.
    pub(crate) arrived: Vec<(String, String, String, bool)>,
    pub(crate) paths: Vec<String>,
    /// What is handed over, until it is settled.
    pub(crate) outbound: VecDeque<Incoming>,
    pub(crate) handed: VecDeque<Incoming>,
    pub(crate) taken: Vec<(String, Taken)>,
    /// What is dropped before it is handed over.
    pub(crate) dropped: VecDeque<Report>,
    pub(crate) connections: Vec<usize>,
    /// Connections to these addresses fail.
    pub(crate) dead: Vec<usize>,
    pub(crate) is_mute: bool,
    /// What is handed over comes before the connection is said to be ready, as what waits in a session of MQTT may.
    pub(crate) is_eager: bool,
    /// It takes connections and says nothing at all.
    pub(crate) is_dumb: bool,
    /// The connection that stands breaks.
    pub(crate) is_cut: bool,
}

pub(crate) struct Toy {
    pub(crate) state: Mutex<State>,
    pub(crate) addresses: usize,
    pub(crate) changed: tokio::sync::Notify,
}

impl std::fmt::Debug for Toy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Toy")
    }
}

impl Toy {
    pub(crate) fn new(addresses: usize) -> Arc<Toy> {
        Arc::new(Toy { state: Mutex::default(), addresses, changed: tokio::sync::Notify::new() })
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        let result = look(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        result
    }

    /// Waits until something is so, and gives what it is.
    pub(crate) async fn until<R>(&self, look: impl Fn(&State) -> Option<R>) -> R {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = look(&self.state.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(tidegate_bridging::PATIENCE, wait)
            .await
            .expect("the upstream comes to that state")
    }

    /// Hands the next message over. What was handed over on an earlier connection and not settled comes again.
    async fn hand_over(&self, line: &Line) -> bool {
        let Some(incoming) = self.with(|state| state.outbound.pop_front()) else { return false };
        self.with(|state| state.handed.push_back(incoming.clone()));
        line.reports.send(Report::Received(Box::new(incoming))).await.is_ok()
    }

    async fn work(&self, mut line: Line) -> Lost {
        if self.with(|state| state.is_dumb) {
            while line.orders.recv().await.is_some() {}
            return Lost::Closed;
        }
        while self.with(|state| state.is_eager) {
            if !self.hand_over(&line).await {
                self.changed.notified().await;
            }
        }
        if line.reports.send(Report::Ready).await.is_err() {
            return Lost::Closed;
        }
        let mut late = Vec::new();
        loop {
            if self.with(|state| std::mem::take(&mut state.is_cut)) {
                return Lost::Broken("cut".to_owned());
            }
            if self.hand_over(&line).await {
                continue;
            }
            if let Some(dropped) = self.with(|state| state.dropped.pop_front()) {
                let _ = line.reports.send(dropped).await;
                continue;
            }
            let changed = self.changed.notified();
            let order = tokio::select! {
                order = line.orders.recv() => order,
                () = changed => continue,
            };
            match order {
                None => {
                    for ticket in late {
                        let verdict = Report::Verdict { ticket, verdict: Verdict::Confirmed };
                        line.reports.send(verdict).await.unwrap();
                    }
                    return Lost::Closed;
                }
                Some(Order::Probe) if self.with(|state| state.is_mute) => {}
                Some(Order::Probe) => drop(line.reports.send(Report::RoundTrip).await),
                Some(Order::Settle { ticket, taken }) => self.with(|state| {
                    if let Some(at) = state.handed.iter().position(|incoming| incoming.ticket == ticket) {
                        let incoming = state.handed.remove(at).unwrap();
                        state.taken.push((String::from_utf8(incoming.payload.to_vec()).unwrap(), taken));
                    }
                }),
                Some(Order::Send(outgoing)) => {
                    let act =
                        self.with(|state| state.rule.as_mut().map_or(Act::Confirm, |rule| rule(&outgoing)));
                    if !matches!(act, Act::Break | Act::Say(_)) {
                        self.with(|state| {
                            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                            let topic = outgoing.topic.as_str().to_owned();
                            state.paths.push(outgoing.path.to_string());
                            let arrived = (
                                topic,
                                text(&outgoing.payload),
                                outgoing.id.to_string(),
                                outgoing.is_repeated,
                            );
                            state.arrived.push(arrived);
                        });
                    }
                    let verdict = match act {
                        Act::Confirm => Verdict::Confirmed,
                        Act::Say(verdict) => verdict,
                        Act::Swallow => continue,
                        Act::ConfirmAtEnd => {
                            late.push(outgoing.ticket);
                            continue;
                        }
                        Act::ConfirmAllAndBreak => {
                            late.push(outgoing.ticket);
                            for ticket in late {
                                let verdict = Report::Verdict { ticket, verdict: Verdict::Confirmed };
                                line.reports.try_send(verdict).unwrap();
                            }
                            return Lost::Broken("as the test says".to_owned());
                        }
                        Act::Break | Act::TakeAndBreak => return Lost::Broken("as the test says".to_owned()),
                    };
                    let _ = line.reports.send(Report::Verdict { ticket: outgoing.ticket, verdict }).await;
                }
            }
        }
    }
}

impl Upstream for Toy {
    fn addresses(&self) -> usize {
        self.addresses
    }

    fn address(&self, number: usize) -> String {
        format!("toy://{number}")
    }

    fn render(&self, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
        let fields = vec![("id", outgoing.id.to_string()), ("path", outgoing.path.to_string())];
        Ok(Rendered { fields, headers: Vec::new(), payload: outgoing.payload.clone() })
    }

    fn serve(self: Arc<Self>, address: usize, line: Line) -> Pin<Box<dyn Future<Output = Lost> + Send>> {
        Box::pin(async move {
            self.with(|state| {
                state.connections.push(address);
                // Nothing of what was handed over is known to be safe.
                let handed = std::mem::take(&mut state.handed);
                handed.into_iter().rev().for_each(|incoming| state.outbound.push_front(incoming));
            });
            if self.with(|state| state.dead.contains(&address)) {
                return Lost::Broken("dead".to_owned());
            }
            self.work(line).await
        })
    }
}
