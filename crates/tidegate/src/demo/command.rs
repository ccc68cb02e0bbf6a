//! What a machine can be asked for, and what it answers: JSON both ways.

use super::machine::Machine;
use serde_json::{Value, json};

/// Longer commands are not looked at.
const COMMAND_BYTES_MAX: usize = 4096;

/// The commands that there are.
const NAMES: [&str; 3] = ["report", "repair", "cut-link"];

/// A command that was understood, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Say how you are.
    Report,
    /// End the fault that you have.
    Repair,
    /// Lose your connection without a word, as if a cable were pulled.
    CutLink,
    /// Something else.
    Unknown,
}

impl Command {
    /// Reads `{"command":"report"}`; the same word alone will do for people who type.
    pub(crate) fn parse(payload: &[u8]) -> Command {
        if payload.len() > COMMAND_BYTES_MAX {
            return Command::Unknown;
        }
        let parsed: Option<Value> = serde_json::from_slice(payload).ok();
        let in_json = parsed.as_ref().and_then(|value| value.get("command")).and_then(Value::as_str);
        match in_json.or_else(|| std::str::from_utf8(payload).ok().map(str::trim)) {
            Some("report") => Command::Report,
            Some("repair") => Command::Repair,
            Some("cut-link") => Command::CutLink,
            _ => Command::Unknown,
        }
    }

    /// Does what can be done to the machine, and says what came of it.
    pub(crate) fn answer(self, machine: &mut Machine) -> Value {
        match self {
            Command::Report => machine.report(),
            Command::Repair => json!({ "repaired": machine.repair() }),
            Command::CutLink => json!({ "cut": true }),
            Command::Unknown => json!({ "error": "unknown command", "commands": NAMES }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_json_and_from_a_bare_word() {
        for (payload, expected) in [
            (r#"{"command":"report"}"#, Command::Report),
            (r#"{"command":"cut-link","why":"to see it"}"#, Command::CutLink),
            ("repair\n", Command::Repair),
            (r#"{"command":7}"#, Command::Unknown),
            ("\"report\"", Command::Unknown),
            ("", Command::Unknown),
        ] {
            assert_eq!(Command::parse(payload.as_bytes()), expected, "{payload}");
        }
        assert_eq!(Command::parse(&[0xff; 8]), Command::Unknown);
        let padded = format!("report{}", " ".repeat(COMMAND_BYTES_MAX));
        assert_eq!(Command::parse(padded.as_bytes()), Command::Unknown);
    }

    /// Every name that an unknown command is answered with is a command.
    #[test]
    fn every_name_is_understood() {
        for name in NAMES {
            assert_ne!(Command::parse(name.as_bytes()), Command::Unknown, "{name}");
        }
    }
}
