//! One connection through the proxy: two directions, each of which reads only what it can hold.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Direction, Ending, Flow, Shared, Weather};

/// Bytes that a direction holds beyond what the system's buffers do.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// A slow direction passes on this often per second, so that it trickles instead of coming in bursts.
const TRICKLES_PER_SECOND: u32 = 20;

/// Joins a client to the upstream until one of them, or an order, ends it.
pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let weather = shared.weather.subscribe();
    let (upstream, ended_before) = {
        let now = weather.borrow();
        (now.upstream, now.ended.0)
    };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return end(&client, Ending::Reset) };
    // An option that cannot be set costs time at most.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    shared.count(|counts| counts.open += 1);
    let ending = tokio::select! {
        ending = join(&mut client, &mut server, &weather, &shared) => ending,
        ending = ordered_end(weather.clone(), ended_before) => ending,
    };
    for side in [&client, &server] {
        end(side, ending);
    }
    drop((client, server));
    shared.count(|counts| counts.open -= 1);
}

async fn join(
    client: &mut TcpStream,
    server: &mut TcpStream,
    weather: &watch::Receiver<Weather>,
    shared: &Shared,
) -> Ending {
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    let lane = |direction, from, to| Lane {
        direction,
        from,
        to,
        shared,
        weather: weather.clone(),
        held: Vec::new(),
        has_hole: false,
    };
    let up = lane(Direction::ToUpstream, client_reads, server_writes).run();
    let down = lane(Direction::FromUpstream, server_reads, client_writes).run();
    match tokio::try_join!(up, down) {
        // Both streams came to their ends by themselves.
        Ok(_) => Ending::Close,
        Err(ending) => ending,
    }
}

/// Waits for an order to end that came after this connection.
async fn ordered_end(mut weather: watch::Receiver<Weather>, ended_before: u64) -> Ending {
    match weather.wait_for(|weather| weather.ended.0 != ended_before).await {
        Ok(weather) => weather.ended.1,
        Err(_) => Ending::Close,
    }
}

/// Prepares what the close of this socket will look like to its peer.
fn end(side: &TcpStream, ending: Ending) {
    if ending == Ending::Reset {
        // Where the peer has gone already there is nothing to reset.
        let _ = side.set_zero_linger();
    }
}

/// One direction of a connection.
struct Lane<'a> {
    direction: Direction,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    shared: &'a Shared,
    weather: watch::Receiver<Weather>,
    held: Vec<u8>,
    has_hole: bool,
}

impl Lane<'_> {
    /// Passes bytes on until the stream ends. An error is how the connection ends before that.
    async fn run(mut self) -> Result<(), Ending> {
        loop {
            let flow = self.flow();
            if self.has_hole && flow != Flow::Swallow {
                return Err(Ending::Close);
            }
            match flow {
                Flow::Stall => self.await_change().await?,
                _ if self.held.is_empty() => {
                    if self.read().await? {
                        return self.finish().await;
                    }
                }
                Flow::Swallow => self.swallow(),
                Flow::Forward => self.write(self.held.len(), None).await?,
                Flow::Slow(bytes_per_second) => {
                    let portion = (bytes_per_second / TRICKLES_PER_SECOND).max(1);
                    let pause = Duration::from_secs(1) * portion / bytes_per_second.max(1);
                    self.write(portion as usize, Some(pause)).await?;
                }
            }
        }
    }

    /// Reads what there is, or returns when the weather changes; `true` at the end of the stream.
    async fn read(&mut self) -> Result<bool, Ending> {
        self.held.reserve(HELD_BYTES_MAX);
        let mut from = (&mut self.from).take(HELD_BYTES_MAX as u64);
        tokio::select! {
            read = from.read_buf(&mut self.held) => Ok(read.map_err(ending_of)? == 0),
            changed = self.weather.changed() => changed.map(|()| false).map_err(|_| Ending::Close),
        }
    }

    /// Passes on at most `limit` of the held bytes, and then takes the pause, if the weather does not change.
    async fn write(&mut self, limit: usize, pause: Option<Duration>) -> Result<(), Ending> {
        tokio::select! {
            writable = self.to.writable() => writable.map_err(ending_of)?,
            changed = self.weather.changed() => return changed.map_err(|_| Ending::Close),
        }
        let (held, to) = (&self.held, &self.to);
        let offered = limit.min(held.len());
        let passed = self.shared.pass(self.direction, offered, |bytes| to.try_write(&held[..bytes]));
        match passed {
            Ok((written, burnt)) => {
                self.held.drain(..written);
                burnt.map_or(Ok(()), Err)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(ending_of(error)),
        }
        let Some(pause) = pause else { return Ok(()) };
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            changed = self.weather.changed() => changed.map_err(|_| Ending::Close),
        }
    }

    fn swallow(&mut self) {
        self.has_hole = true;
        let bytes = self.held.len() as u64;
        self.held.clear();
        self.shared.count(|counts| counts.swallowed += bytes);
    }

    /// The sender has ended its stream: so does the receiver's, unless that is to be kept from it.
    async fn finish(mut self) -> Result<(), Ending> {
        loop {
            match self.flow() {
                Flow::Stall | Flow::Swallow => {}
                _ if self.has_hole => return Err(Ending::Close),
                _ => return self.to.shutdown().await.map_err(ending_of),
            }
            self.await_change().await?;
        }
    }

    fn flow(&mut self) -> Flow {
        self.weather.borrow_and_update().flows[self.direction as usize]
    }

    async fn await_change(&mut self) -> Result<(), Ending> {
        self.weather.changed().await.map_err(|_| Ending::Close)
    }
}

/// A peer that was cut off was cut off for the other one, too.
fn ending_of(_: io::Error) -> Ending {
    Ending::Reset
}
