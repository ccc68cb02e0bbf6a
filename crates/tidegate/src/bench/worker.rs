//! A thread with one runtime and its share of the connections, from their first packet to their last.

use super::connection::Connection;
use super::dialect::Lifetime;
use super::failure::Failure;
use super::pacer::Pacer;
use super::plan::Role;
use super::publisher::Publisher;
use super::run::{Phase, Run};
use super::socket::ReadBuffer;
use super::subscriber::Subscriber;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

/// Connections of one worker that are opened at the same time; more would overflow a short backlog of the broker.
const OPENING_MAX: usize = 64;

/// What the clients of one worker share.
struct Worker {
    run: Arc<Run>,
    number: usize,
    buffer: ReadBuffer,
    pacer: Rc<Pacer>,
    opening: Semaphore,
}

/// Starts worker `number`. It ends when the run closes.
pub(crate) fn start(run: Arc<Run>, number: usize) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("bench-{number}")).spawn(move || {
        if let Err(error) = work(&run, number) {
            run.fail(Failure::Worker(error));
        }
    })
}

fn work(run: &Arc<Run>, number: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(Arc::clone(run), number))
}

async fn serve(run: Arc<Run>, number: usize) -> io::Result<()> {
    let worker = Rc::new(Worker {
        pacer: Rc::new(Pacer::new(Arc::clone(&run))?),
        buffer: ReadBuffer::new(),
        opening: Semaphore::new(OPENING_MAX),
        run,
        number,
    });
    let (mut clients, threads) = (JoinSet::new(), worker.run.plan.threads.max(1) as usize);
    for subscriber in (0..worker.run.plan.subscribers).skip(number).step_by(threads) {
        clients.spawn_local(subscribe(Rc::clone(&worker), subscriber));
    }
    for publisher in (0..worker.run.plan.publishers).skip(number).step_by(threads) {
        clients.spawn_local(publish(Rc::clone(&worker), publisher));
    }
    let all = async { while clients.join_next().await.is_some() {} };
    tokio::select! {
        () = all => Ok(()),
        outcome = worker.pacer.keep() => outcome,
    }
}

async fn subscribe(worker: Rc<Worker>, number: u32) {
    let run = &worker.run;
    let opened = worker.until_closing(async {
        let lifetime = if run.plan.durable { Lifetime::Durable } else { Lifetime::Connection };
        let mut connection = worker.open(Role::Subscriber, number, lifetime).await?;
        connection.subscribe(&run.plan.layout.filter(&run.name, number, run.plan.topics)).await?;
        Ok(connection)
    });
    let Some(connection) = opened.await else { return };
    let mut subscriber = Subscriber::new(Arc::clone(run), worker.number, number, connection);
    run.count_ready();
    if worker.drive(|context| subscriber.poll(context)).await {
        subscriber.close().await;
    }
    if run.plan.durable {
        worker.end_session(number).await;
    }
}

async fn publish(worker: Rc<Worker>, number: u32) {
    let Some(connection) =
        worker.until_closing(worker.open(Role::Publisher, number, Lifetime::Connection)).await
    else {
        return;
    };
    let mut publisher = Publisher::new(Arc::clone(&worker.run), number, connection, Rc::clone(&worker.pacer));
    worker.run.count_ready();
    worker.run.reached(Phase::Running).await;
    if worker.drive(|context| publisher.poll(context)).await {
        publisher.close().await;
    } else if let Some(flow) = worker.run.flows.get(number as usize) {
        flow.finish(flow.unsent());
    }
}

impl Worker {
    async fn open(&self, role: Role, number: u32, lifetime: Lifetime) -> Result<Connection, Failure> {
        // Nobody closes the semaphore, so there is always a permit in the end.
        let _permit = self.opening.acquire().await;
        let kind = if role == Role::Publisher { 'p' } else { 's' };
        // At most 23 letters and digits, which every server accepts ([MQTT-3.1.3-5]).
        let client = format!("tgb{}{kind}{number}", self.run.name);
        Connection::open(&self.run, role, client, lifetime, self.buffer.clone()).await
    }

    /// Under the same name, without a session: an MQTT session that was left behind ends with that ([MQTT-3.1.2-4]).
    async fn end_session(&self, number: u32) {
        // The figures stand already, and a session that stays ends some minutes later by itself.
        if let Ok(connection) = self.open(Role::Subscriber, number, Lifetime::Connection).await {
            connection.close(std::iter::empty()).await;
        }
    }

    /// Opens a connection; nothing where that failed, which is noted, or where the run has been given up.
    async fn until_closing(
        &self,
        open: impl Future<Output = Result<Connection, Failure>>,
    ) -> Option<Connection> {
        tokio::select! {
            biased;
            outcome = open => outcome.map_err(|failure| self.run.fail(failure)).ok(),
            () = self.run.reached(Phase::Closing) => None,
        }
    }

    /// Drives a connection until the run closes; false where it failed before that, which is noted.
    async fn drive(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<Failure>) -> bool {
        tokio::select! {
            biased;
            failure = poll_fn(&mut poll) => {
                self.run.fail(failure);
                false
            }
            () = self.run.reached(Phase::Closing) => true,
        }
    }
}
