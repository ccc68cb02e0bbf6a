//! The task of one connection: socket, TLS, and when to write and to listen.

use crate::MqttAddress;
use crate::conversation::{Conversation, KEEP_ALIVE_SECONDS};
use crate::options::MqttOptions;
use bytes::{Buf, BytesMut};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{Line, Lost, Order};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// How long may pass without a word from here.
const SILENCE_MAX: Duration = Duration::from_secs(KEEP_ALIVE_SECONDS as u64 / 2);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Serves one connection.
pub(crate) async fn serve(options: Arc<MqttOptions>, number: usize, line: Line) -> Lost {
    let Some(address) = options.addresses.get(number) else {
        return Lost::Refused("the bridge has no such address".to_owned());
    };
    let stream = match connect(&options, address).await {
        Ok(stream) => stream,
        Err(error) => return Lost::Broken(format!("cannot connect to {address}: {error}")),
    };
    match Conversation::new(options.clone(), number) {
        Ok(conversation) => Client::new(conversation, line, stream).run().await,
        Err(lost) => lost,
    }
}

async fn connect(options: &MqttOptions, address: &MqttAddress) -> io::Result<Box<dyn Stream>> {
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
    socket.set_nodelay(true)?;
    if !address.is_encrypted {
        return Ok(Box::new(socket));
    }
    let Some(config) = options.tls.clone() else {
        return Err(io::Error::other("the address asks for encryption, and nothing says whom to trust"));
    };
    let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
    let with_tls = |error| io::Error::new(io::Error::kind(&error), format!("TLS: {error}"));
    Ok(Box::new(TlsConnector::from(config).connect(name, socket).await.map_err(with_tls)?))
}

/// What a client waits for.
enum Happened {
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
    Read(io::Result<usize>),
    Ordered(Option<Order>),
    /// The bridge can hear more.
    HasRoom,
    BridgeGone,
    /// Nothing was sent for so long that the broker might give the client up.
    Silence,
    /// The conversation has waited for long enough.
    Time,
}

struct Client {
    conversation: Conversation,
    line: Line,
    read_half: ReadHalf<Box<dyn Stream>>,
    write_half: WriteHalf<Box<dyn Stream>>,
    input: BytesMut,
    /// How much of the conversation's output is in the socket.
    written: usize,
    /// Whether something that was written may be held back: by TLS, in records that the socket had no room for.
    is_unflushed: bool,
    wrote_at: Instant,
    /// The bridge has closed its end.
    is_ending: bool,
}

impl Client {
    fn new(conversation: Conversation, line: Line, stream: Box<dyn Stream>) -> Client {
        let (read_half, write_half) = split(stream);
        Client {
            conversation,
            line,
            read_half,
            write_half,
            input: BytesMut::new(),
            written: 0,
            is_unflushed: false,
            wrote_at: Instant::now(),
            is_ending: false,
        }
    }

    async fn run(mut self) -> Lost {
        loop {
            if self.is_ending && self.conversation.is_finished() && !self.is_unflushed {
                return self.leave().await;
            }
            if let Err(lost) = self.step().await {
                return lost;
            }
        }
    }

    /// Waits for one thing, and does it.
    async fn step(&mut self) -> Result<(), Lost> {
        let broken = |error: io::Error| Lost::Broken(error.to_string());
        match self.wait().await {
            Happened::Written(written) => {
                self.note_written(written.map_err(broken)?);
                self.is_unflushed = true;
            }
            Happened::Flushed(flushed) => {
                flushed.map_err(broken)?;
                self.is_unflushed = false;
            }
            Happened::Read(read) => {
                if read.map_err(broken)? == 0 {
                    return Err(Lost::Broken("the broker has closed the connection".to_owned()));
                }
            }
            Happened::Ordered(order) => {
                self.take(order);
                while self.conversation.can_take_orders()
                    && let Ok(order) = self.line.orders.try_recv()
                {
                    self.take(Some(order));
                }
            }
            Happened::HasRoom => self.report(),
            Happened::BridgeGone => return Err(Lost::Closed),
            Happened::Silence => self.conversation.ping(),
            Happened::Time => {}
        }
        let consumed = self.conversation.handle_bytes(&self.input, Instant::now())?;
        self.input.advance(consumed);
        self.input.reserve(READ_BYTES);
        Ok(())
    }

    async fn wait(&mut self) -> Happened {
        let unsent = self.conversation.output.get(self.written..).unwrap_or_default();
        let has_unsent = !unsent.is_empty();
        let (write_half, has_to_send) = (&mut self.write_half, has_unsent || self.is_unflushed);
        // Waited for beside everything else: a broker may read nothing before it is read from.
        let send = async move {
            match has_unsent {
                true => Happened::Written(write_half.write(unsent).await),
                false => Happened::Flushed(write_half.flush().await),
            }
        };
        let can_take = self.conversation.can_take_orders() && !self.is_ending;
        let (can_listen, has_news) = (self.conversation.can_listen(), !self.conversation.reports.is_empty());
        let wake_at = self.conversation.wake_at();
        let wake = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now).into());
        tokio::select! {
            sent = send, if has_to_send => sent,
            permit = self.line.reports.reserve(), if has_news => match permit {
                Ok(_) => Happened::HasRoom,
                Err(_) => Happened::BridgeGone,
            },
            read = self.read_half.read_buf(&mut self.input), if can_listen => Happened::Read(read),
            order = self.line.orders.recv(), if can_take => Happened::Ordered(order),
            () = tokio::time::sleep_until((self.wrote_at + SILENCE_MAX).into()), if !has_unsent => Happened::Silence,
            () = wake, if wake_at.is_some() => Happened::Time,
        }
    }

    fn take(&mut self, order: Option<Order>) {
        match order {
            Some(order) => self.conversation.handle_order(order, Instant::now()),
            None => self.is_ending = true,
        }
    }

    /// Tells the bridge what there is room for.
    fn report(&mut self) {
        while !self.conversation.reports.is_empty()
            && let Ok(permit) = self.line.reports.try_reserve()
            && let Some(report) = self.conversation.reports.pop_front()
        {
            permit.send(report);
        }
    }

    fn note_written(&mut self, written: usize) {
        self.wrote_at = Instant::now();
        self.written += written;
        if self.written >= self.conversation.output.len() {
            self.conversation.output.clear();
            self.written = 0;
        }
    }

    /// Says goodbye; nobody is hurt where it does not arrive.
    async fn leave(&mut self) -> Lost {
        while let Some(report) = self.conversation.reports.pop_front() {
            if self.line.reports.send(report).await.is_err() {
                break;
            }
        }
        self.conversation.say_goodbye();
        let _ = self.write_half.write_all(&self.conversation.output).await;
        let _ = self.write_half.shutdown().await;
        Lost::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Forwarded, Version};
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tidegate_bridge::{Form, Report, Template, Vocabulary};
    use tokio::io::{DuplexStream, ReadBuf, duplex};
    use tokio::sync::mpsc;

    fn options(address: &str) -> Arc<MqttOptions> {
        let topic = Template::parse("{topic}", &Vocabulary::FORWARD, Form::Topic).unwrap();
        Arc::new(MqttOptions {
            addresses: vec![MqttAddress::parse(address).unwrap()],
            tls: None,
            version: Version::V5,
            client_id: "edge-1-central".to_owned(),
            node: "edge-1".into(),
            forwards: vec![Forwarded { topic, retain: false }],
            receives: Vec::new(),
            packet_bytes_max: 1 << 20,
        })
    }

    /// TLS towards a broker that takes nothing before it is read from: what was written is held back until then.
    struct HeldBack {
        inner: DuplexStream,
        is_read: bool,
    }

    impl AsyncRead for HeldBack {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let read = Pin::new(&mut self.inner).poll_read(context, buffer);
            self.is_read |= read.is_ready();
            read
        }
    }

    impl AsyncWrite for HeldBack {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.inner).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.is_read {
                true => Pin::new(&mut self.inner).poll_flush(context),
                false => Poll::Pending,
            }
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn a_broker_that_takes_nothing_before_it_is_read_from_is_read_from() {
        let (here, mut there) = duplex(1 << 16);
        let (orders, taken) = mpsc::channel(1);
        let (reports, mut reported) = mpsc::channel(1);
        let conversation = Conversation::new(options("mqtt://h"), 0).unwrap();
        let stream = Box::new(HeldBack { inner: here, is_read: false });
        let client = Client::new(conversation, Line { orders: taken, reports }, stream);
        there.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        let heard = async {
            tokio::select! {
                lost = client.run() => panic!("{lost:?}"),
                report = reported.recv() => report,
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(60), heard).await;
        assert!(matches!(heard, Ok(Some(Report::Ready))), "{heard:?}");
        drop(orders);
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("mqtt://user:secret@{}", listener.local_addr().unwrap());
        drop(listener);
        let (_orders, taken) = mpsc::channel(1);
        let (reports, _reported) = mpsc::channel(1);
        let lost = serve(options(&address), 0, Line { orders: taken, reports }).await;
        let said = address.replace("user:secret@", "");
        let Lost::Broken(why) = lost else { panic!("{lost:?}") };
        assert!(why.starts_with(&format!("cannot connect to {said}: ")), "{why}");
    }
}
