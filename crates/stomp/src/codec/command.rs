//! The first line of a frame.

use super::Version;
use std::fmt;

/// The commands of all versions: what a frame is for, and who may send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// A client opens the connection.
    Connect,
    /// The same as [`Command::Connect`], so that STOMP can be told from HTTP's CONNECT.
    Stomp,
    /// A client publishes a message.
    Send,
    /// A client asks for the messages of a destination.
    Subscribe,
    /// A client ends a subscription.
    Unsubscribe,
    /// A client has consumed a message.
    Ack,
    /// A client did not consume a message.
    Nack,
    /// A client begins a transaction.
    Begin,
    /// A client commits a transaction.
    Commit,
    /// A client rolls a transaction back.
    Abort,
    /// A client says goodbye.
    Disconnect,
    /// The server accepts the connection.
    Connected,
    /// The server delivers a message.
    Message,
    /// The server has handled the frame that asked for a receipt.
    Receipt,
    /// The server gives up on the connection.
    Error,
}

impl Command {
    /// All commands, clients' first.
    pub const ALL: [Command; 15] = [
        Command::Connect,
        Command::Stomp,
        Command::Send,
        Command::Subscribe,
        Command::Unsubscribe,
        Command::Ack,
        Command::Nack,
        Command::Begin,
        Command::Commit,
        Command::Abort,
        Command::Disconnect,
        Command::Connected,
        Command::Message,
        Command::Receipt,
        Command::Error,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Connect => "CONNECT",
            Command::Stomp => "STOMP",
            Command::Send => "SEND",
            Command::Subscribe => "SUBSCRIBE",
            Command::Unsubscribe => "UNSUBSCRIBE",
            Command::Ack => "ACK",
            Command::Nack => "NACK",
            Command::Begin => "BEGIN",
            Command::Commit => "COMMIT",
            Command::Abort => "ABORT",
            Command::Disconnect => "DISCONNECT",
            Command::Connected => "CONNECTED",
            Command::Message => "MESSAGE",
            Command::Receipt => "RECEIPT",
            Command::Error => "ERROR",
        }
    }

    /// The command with this word; commands are case-sensitive ([STOMP-1.2/Augmented BNF]).
    pub fn parse(word: &str) -> Option<Command> {
        Some(match word {
            "CONNECT" => Command::Connect,
            "STOMP" => Command::Stomp,
            "SEND" => Command::Send,
            "SUBSCRIBE" => Command::Subscribe,
            "UNSUBSCRIBE" => Command::Unsubscribe,
            "ACK" => Command::Ack,
            "NACK" => Command::Nack,
            "BEGIN" => Command::Begin,
            "COMMIT" => Command::Commit,
            "ABORT" => Command::Abort,
            "DISCONNECT" => Command::Disconnect,
            "CONNECTED" => Command::Connected,
            "MESSAGE" => Command::Message,
            "RECEIPT" => Command::Receipt,
            "ERROR" => Command::Error,
            _ => return None,
        })
    }

    /// Whether its frames may have a body ([STOMP-1.2/Body]: only SEND, MESSAGE and ERROR).
    pub fn may_have_body(self) -> bool {
        matches!(self, Command::Send | Command::Message | Command::Error)
    }

    /// Whether its headers are escaped ([STOMP-1.2/Value Encoding]: not those of CONNECT and CONNECTED, for the sake of 1.0).
    pub fn has_escaped_headers(self) -> bool {
        !matches!(self, Command::Connect | Command::Stomp | Command::Connected)
    }

    /// Whether a version has it: NACK and STOMP came with 1.1.
    pub fn is_of(self, version: Version) -> bool {
        version > Version::V1_0 || !matches!(self, Command::Nack | Command::Stomp)
    }

    /// Whether a client may send it; the other ones are the server's.
    pub fn is_client(self) -> bool {
        !matches!(self, Command::Connected | Command::Message | Command::Receipt | Command::Error)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [STOMP-1.2/STOMP Frames] [STOMP-1.2/Augmented BNF]
    #[test]
    fn every_command_is_found_by_its_word() {
        for command in Command::ALL {
            assert_eq!(Command::parse(command.as_str()), Some(command));
        }
        assert_eq!(Command::parse("send"), None);
        assert_eq!(Command::parse(""), None);
    }
}
