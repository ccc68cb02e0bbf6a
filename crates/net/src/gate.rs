//! How fast a listener accepts.
//!
//! Nobody is refused: what comes too fast is not accepted yet and waits in the kernel's backlog.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tidegate_broker::Pace;
use tokio::net::{TcpListener, TcpStream};

/// What stands in front of `accept`.
#[derive(Debug, Default)]
pub(crate) struct Gate(Option<Pace>);

impl Gate {
    /// Takes a listener's rate over, in connections a second; what was accepted in this second stays counted.
    pub(crate) fn keep(&mut self, rate: Option<u64>, now: Instant) {
        match (rate, &mut self.0) {
            (None, pace) => *pace = None,
            (Some(rate), Some(pace)) => pace.change(rate),
            (Some(rate), pace) => *pace = Some(Pace::new(rate, now)),
        }
    }

    /// Accepts the next connection when its time has come.
    pub(crate) async fn accept(
        &self,
        socket: &TcpListener,
        now: Instant,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.0.as_ref().and_then(|pace| pace.rests_until(now)) {
            tokio::time::sleep_until(until.into()).await;
        }
        socket.accept().await
    }

    /// Counts an accepted connection.
    pub(crate) fn count(&mut self, now: Instant) {
        if let Some(pace) = &mut self.0 {
            pace.take(1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    /// How many connections are accepted at this moment, of those that wait.
    async fn accepted(gate: &mut Gate, socket: &TcpListener, now: Instant) -> usize {
        let mut count = 0;
        loop {
            {
                let mut accepting = pin!(gate.accept(socket, now));
                let polled = poll_fn(|context| Poll::Ready(accepting.as_mut().poll(context))).await;
                let Poll::Ready(connection) = polled else { return count };
                drop(connection.unwrap());
            }
            gate.count(now);
            count += 1;
        }
    }

    /// A burst of one second, then the rate; nobody is refused.
    #[test]
    fn connections_that_come_too_fast_wait_for_their_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let clients: Vec<_> = (0..11).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            // So far ahead that no clock comes there while this runs.
            let start = Instant::now() + Duration::from_secs(3600);
            let later = start + Duration::from_secs(1) + Duration::from_nanos(1);
            let mut gate = Gate::default();
            // After the first one the socket is known to be ready: whether another is accepted is seen at once.
            drop(gate.accept(&socket, start).await.unwrap());
            gate.keep(Some(4), start);
            assert_eq!(accepted(&mut gate, &socket, start).await, 4);
            gate.keep(Some(4), start);
            assert_eq!(accepted(&mut gate, &socket, start).await, 0, "options that stay give no new burst");
            assert_eq!(accepted(&mut gate, &socket, later).await, 4);
            gate.keep(None, later);
            assert_eq!(accepted(&mut gate, &socket, later).await, 2, "and the rest where there is no rate");
            drop(clients);
        });
    }
}
