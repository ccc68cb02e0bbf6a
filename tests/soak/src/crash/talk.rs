//! What the STOMP clients of a crash audit have in common: a connection that was let in, and its frames.

use super::mqtt::Fault;
use super::process::Ports;
use super::scene::{Event, Link, PATIENCE, Scene};
use crate::violations::Kind;
use tidegate_stomp::codec::{Command, Decoder, Frame, FrameLimits, Version, encode};
use tidegate_testkit::random::Random;
use tokio::time::timeout;

const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 64 << 10, header_line_bytes: 64 << 10, headers: 100, body_bytes: 1 << 20 };

/// One connection.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) link: Link,
    decoder: Decoder,
}

impl Talk {
    /// Connects under this name, and waits until it is let in. Nothing where that failed.
    pub(crate) async fn open(scene: &Scene, random: &mut Random, who: &str) -> Option<Talk> {
        let link = scene.connect(who, |ports: Ports| ports.stomp).await?;
        let mut talk = Talk { link, decoder: Decoder::new(Version::V1_2, LIMITS) };
        let headers =
            [("accept-version", "1.2"), ("host", "crash"), ("heart-beat", "0,0"), ("client-id", who)];
        talk.say(Command::Connect, headers, b"");
        match timeout(PATIENCE, talk.await_connected(scene, random, who)).await {
            Ok(is_connected) => is_connected.then_some(talk),
            Err(_) => {
                scene.accuse(Kind::Silence, || format!("{who}: no CONNECTED in time"));
                None
            }
        }
    }

    async fn await_connected(&mut self, scene: &Scene, random: &mut Random, who: &str) -> bool {
        loop {
            let mut is_connected = false;
            let is_right = self.read(scene, who, |_, frame| match frame.command {
                Command::Connected => {
                    is_connected = true;
                    Ok(())
                }
                other => Err((Kind::Protocol, format!("{other} in place of CONNECTED"))),
            });
            if is_connected || !is_right {
                return is_right;
            }
            if self.link.next(scene, random, who).await == Event::End {
                return false;
            }
        }
    }

    /// Writes a frame.
    pub(crate) fn say<'a>(
        &mut self,
        command: Command,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) {
        say(&mut self.link.wire.output, command, headers, body);
    }

    /// Lets `handle` have every frame that has arrived; says so where one of them must not be, and is false then.
    pub(crate) fn read(
        &mut self,
        scene: &Scene,
        who: &str,
        mut handle: impl FnMut(&mut Vec<u8>, &Frame<'_>) -> Result<(), Fault>,
    ) -> bool {
        let input = std::mem::take(&mut self.link.wire.input);
        let mut used = 0;
        let outcome = loop {
            match self.decoder.decode(&input[used..]) {
                Ok(decoded) if decoded.consumed == 0 && decoded.frame.is_none() => break Ok(()),
                Ok(decoded) => {
                    used += decoded.consumed;
                    let handled = decoded.frame.map_or(Ok(()), |frame| match frame.command {
                        // What it says when it is told to end.
                        Command::Error if scene.ports.get().is_none() => Ok(()),
                        _ => handle(&mut self.link.wire.output, &frame),
                    });
                    if let Err(fault) = handled {
                        break Err(fault);
                    }
                }
                Err(error) => break Err((Kind::Protocol, format!("the gateway sent no STOMP: {error}"))),
            }
        };
        self.link.wire.input = input[used..].to_vec();
        match outcome {
            Ok(()) => true,
            Err((kind, what)) => {
                scene.accuse(kind, || format!("{who}: {what}"));
                false
            }
        }
    }
}

/// Writes a frame.
pub(crate) fn say<'a>(
    output: &mut Vec<u8>,
    command: Command,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) {
    encode(output, Version::V1_2, command, headers, body).expect("the frame is valid");
}

/// A frame that nobody waits for.
pub(crate) fn unexpected(frame: &Frame<'_>) -> Fault {
    let words = frame.headers.get("message").unwrap_or_default();
    (Kind::Protocol, format!("an unexpected {} {words}", frame.command))
}
