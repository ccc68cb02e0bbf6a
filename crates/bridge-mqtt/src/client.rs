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
        Err(error) => return Lost::Broken(error.to_string()),
    };
    match Conversation::new(options.clone(), number) {
        Ok(conversation) => {
            let (read_half, write_half) = split(stream);
            let client = Client {
                conversation,
                line,
                read_half,
                write_half,
                input: BytesMut::new(),
                written: 0,
                wrote_at: Instant::now(),
                is_ending: false,
            };
            client.run().await
        }
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
    Ok(Box::new(TlsConnector::from(config).connect(name, socket).await?))
}

/// What a client waits for.
enum Happened {
    Written(io::Result<usize>),
    Read(io::Result<usize>),
    Ordered(Option<Order>),
    /// The bridge can hear more.
    HasRoom,
    BridgeGone,
    /// Nothing was sent for so long that the broker might give the client up.
    Silence,
}

struct Client {
    conversation: Conversation,
    line: Line,
    read_half: ReadHalf<Box<dyn Stream>>,
    write_half: WriteHalf<Box<dyn Stream>>,
    input: BytesMut,
    /// How much of the conversation's output is in the socket.
    written: usize,
    wrote_at: Instant,
    /// The bridge has closed its end.
    is_ending: bool,
}

impl Client {
    async fn run(mut self) -> Lost {
        loop {
            if self.is_ending && self.conversation.is_finished() {
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
                self.write_half.flush().await.map_err(broken)?;
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
        }
        let consumed = self.conversation.handle_bytes(&self.input, Instant::now())?;
        self.input.advance(consumed);
        self.input.reserve(READ_BYTES);
        Ok(())
    }

    async fn wait(&mut self) -> Happened {
        let unsent = self.conversation.output.get(self.written..).unwrap_or_default();
        let has_unsent = !unsent.is_empty();
        let can_take = self.conversation.can_take_orders() && !self.is_ending;
        let (can_listen, has_news) = (self.conversation.can_listen(), !self.conversation.reports.is_empty());
        tokio::select! {
            written = self.write_half.write(unsent), if has_unsent => Happened::Written(written),
            permit = self.line.reports.reserve(), if has_news => match permit {
                Ok(_) => Happened::HasRoom,
                Err(_) => Happened::BridgeGone,
            },
            read = self.read_half.read_buf(&mut self.input), if can_listen => Happened::Read(read),
            order = self.line.orders.recv(), if can_take => Happened::Ordered(order),
            () = tokio::time::sleep_until((self.wrote_at + SILENCE_MAX).into()), if !has_unsent => Happened::Silence,
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
