//! A client's connection: its socket, its dialect, and the signs of life in between.

use super::dialect::{Dialect, Event, Lifetime, Welcome};
use super::failure::Failure;
use super::plan::Role;
use super::run::Run;
use super::socket::{ReadBuffer, Socket};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long the broker may take to answer a request of the first phase, and the socket to take the goodbye.
const ANSWER_SECONDS: u64 = 10;

/// One client's connection, accepted by the broker.
pub(crate) struct Connection {
    socket: Socket,
    dialect: Dialect,
    in_flight_max: u32,
    ping: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Connection {
    /// Connects and waits until the broker has accepted.
    pub(crate) async fn open(
        run: &Run,
        role: Role,
        client: String,
        lifetime: Lifetime,
        buffer: ReadBuffer,
    ) -> Result<Connection, Failure> {
        let (side, address) = (run.plan.side(role), run.address(role));
        let dialect = Dialect::new(&run.plan, side, client, lifetime);
        let mut socket = within("the connection", Socket::connect(side, address, buffer)).await?;
        socket.output().message(|bytes| dialect.connect(&run.plan, bytes))?;
        let mut connection = Connection { socket, dialect, in_flight_max: 0, ping: None };
        let welcome = connection
            .answer("the connection", |event| match event {
                Event::Welcome(welcome) => Some(welcome),
                _ => None,
            })
            .await?;
        connection.greet(welcome);
        Ok(connection)
    }

    fn greet(&mut self, welcome: Welcome) {
        self.in_flight_max = welcome.in_flight_max;
        self.ping = welcome.ping_every.map(|every| (every, Box::pin(sleep(every))));
    }

    /// Subscribes and waits until the subscription stands.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> Result<(), Failure> {
        let dialect = &mut self.dialect;
        self.socket.output().message(|bytes| dialect.subscribe(filter, bytes))?;
        self.answer("the subscription", |event| (event == Event::Subscribed).then_some(())).await
    }

    /// Appends a message. Fewer than 65535 may be in flight.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        let dialect = &mut self.dialect;
        self.socket.output().message(|bytes| dialect.publish(topic, payload, bytes))
    }

    /// How many publications may still be made until one is acknowledged, if `window` may wait for that.
    pub(crate) fn credit(&self, window: u32) -> u32 {
        window.min(self.in_flight_max).saturating_sub(self.dialect.in_flight())
    }

    /// Whether so much is unsent that nothing should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.socket.is_full()
    }

    /// Reads once and hands all events out.
    pub(crate) fn poll_events(
        &mut self,
        context: &mut Context<'_>,
        mut handle: impl FnMut(Event<'_>),
    ) -> Poll<Result<(), Failure>> {
        let dialect = &mut self.dialect;
        self.socket.poll_read(context, |input, output| {
            let mut used = 0;
            loop {
                let rest = input.get(used..).unwrap_or_default();
                let next = output.message(|answer| dialect.next(rest, answer))?;
                let Some((event, bytes)) = next else { return Ok(used) };
                handle(event);
                used += bytes;
            }
        })
    }

    /// Adds a sign of life where one is due, and writes what is unsent; pending where the broker takes no more.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Some((every, due)) = &mut self.ping
            && due.as_mut().poll(context).is_ready()
        {
            due.as_mut().reset(Instant::now() + *every);
            // Registers for the next time; a sign of life this late is never due at once.
            let _ = due.as_mut().poll(context);
            let dialect = &self.dialect;
            self.socket.output().message(|bytes| dialect.ping(bytes));
        }
        self.socket.poll_flush(context)
    }

    /// Clears retained messages, says goodbye, and does not insist: the figures stand already.
    pub(crate) async fn close<'t>(mut self, retained: impl Iterator<Item = &'t str>) {
        for topic in retained {
            // A topic that could be published to can be cleared.
            let _ = self.socket.output().message(|bytes| self.dialect.clear(topic, bytes));
        }
        let _ = self.socket.output().message(|bytes| self.dialect.disconnect(bytes));
        let _ = within("the goodbye", poll_fn(|context| self.socket.poll_flush(context))).await;
    }

    /// Gives the subscription up before the goodbye, where the protocol says it so.
    pub(crate) fn unsubscribe(&mut self) {
        // What cannot be said is ended by the broker, when it has waited long enough.
        let _ = self.socket.output().message(|bytes| self.dialect.unsubscribe(bytes));
    }

    /// Writes what is to be said and waits for the event that answers it.
    async fn answer<T>(
        &mut self,
        request: &'static str,
        mut wanted: impl FnMut(Event<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut answer = None;
        let heard = poll_fn(|context| {
            loop {
                if let Poll::Ready(Err(failure)) = self.socket.poll_flush(context) {
                    return Poll::Ready(Err(failure));
                }
                ready!(self.poll_events(context, |event| answer = answer.take().or_else(|| wanted(event))))?;
                if let Some(answer) = answer.take() {
                    return Poll::Ready(Ok(answer));
                }
            }
        });
        within(request, heard).await
    }
}

/// Limits how long the broker may take.
async fn within<T>(
    request: &'static str,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(Duration::from_secs(ANSWER_SECONDS), step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Silent { request, seconds: ANSWER_SECONDS }),
    }
}
