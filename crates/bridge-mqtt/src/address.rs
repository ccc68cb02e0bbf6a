//! Where a broker is, as people write it: `mqtts://user:secret@broker.example:8883`.

use crate::Secret;
use std::fmt;
use tidegate_bridge::{Place, PlaceError, percent_decoded};

/// One address. Prints without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// As whom.
    pub user: Option<String>,
    /// What proves it.
    pub password: Option<Secret>,
}

/// Why a text is no address. Says nothing of what stands there: it may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("the address of an MQTT broker begins with `mqtt://` or `mqtts://`")]
    Scheme,
    /// There is no host, or it has characters that no host has.
    #[error("the host of the address is missing or malformed")]
    Host,
    /// What stands behind the colon is no port.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// Something stands behind the port.
    #[error("nothing may stand behind the host and the port")]
    Path,
    /// A `%` that stands for no character.
    #[error("a `%` in the user or the password is followed by two hexadecimal digits, which are UTF-8")]
    Escape,
}

impl From<PlaceError> for AddressError {
    fn from(error: PlaceError) -> AddressError {
        match error {
            PlaceError::Host => AddressError::Host,
            PlaceError::Port => AddressError::Port,
        }
    }
}

impl MqttAddress {
    /// Reads an address. In the user and the password `%` and two digits stand for a byte.
    pub fn parse(text: &str) -> Result<MqttAddress, AddressError> {
        let (is_encrypted, rest) = match (text.strip_prefix("mqtt://"), text.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(AddressError::Scheme),
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(AddressError::Path);
        }
        let Place { host, port } = Place::parse(place)?;
        let port = port.unwrap_or(if is_encrypted { 8883 } else { 1883 });
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => (None, None),
            Some((user, password)) => (Some(unescaped(user)?), Some(unescaped(password)?)),
        };
        let password = password.filter(|password| !password.is_empty()).map(Secret::from);
        Ok(MqttAddress { host, port, is_encrypted, user, password })
    }
}

fn unescaped(text: &str) -> Result<String, AddressError> {
    percent_decoded(text).ok_or(AddressError::Escape)
}

impl fmt::Display for MqttAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(formatter, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(formatter, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_printed_without_its_secrets() {
        for (text, printed, user, password) in [
            ("mqtt://broker", "mqtt://broker:1883", None, None),
            ("mqtts://broker.example/", "mqtts://broker.example:8883", None, None),
            ("mqtt://u:p%40ss@10.0.0.1:1884", "mqtt://10.0.0.1:1884", Some("u"), Some("p@ss")),
            ("mqtt://user@[::1]:5", "mqtt://[::1]:5", Some("user"), None),
            ("mqtt://a:b@c@host", "mqtt://host:1883", Some("a"), Some("b@c")),
        ] {
            let address = MqttAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.user.as_deref(), user);
            assert_eq!(address.password.as_ref().map(Secret::expose), password.map(str::as_bytes));
            assert!(!format!("{address:?}").contains("p@ss"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("amqp://x", AddressError::Scheme),
            ("broker:1883", AddressError::Scheme),
            ("mqtt://", AddressError::Host),
            ("mqtt://u:p@", AddressError::Host),
            ("mqtt://[::1", AddressError::Host),
            ("mqtt://h:0", AddressError::Port),
            ("mqtt://h:70000", AddressError::Port),
            ("mqtt://[::1]x", AddressError::Host),
            ("mqtt://a b", AddressError::Host),
            ("mqtt://h/path", AddressError::Path),
            ("mqtt://u:%4@h", AddressError::Escape),
            ("mqtt://u:%zz@h", AddressError::Escape),
            ("mqtt://u:%ff@h", AddressError::Escape),
        ] {
            assert_eq!(MqttAddress::parse(text), Err(error), "{text}");
        }
    }
}
